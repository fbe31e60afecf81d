"""A workload: for each stream, steps in order, all derived from one seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from service.engine.config import StreamConfig
from service.engine.records import NewRecord

POISON = (
    b"",
    b"{",
    b"\xff\xfe",
    b'{"values":[1]}',
    b'{"values":[1,null]}',
    b'{"values":{"x":1,"z":2}}',
    b'{"values":[1e39,0]}',
    b'"text"',
)
HARSH = (
    *POISON,
    b'{"values":[NaN,1]}',
    b'{"values":[1,-Infinity]}',
    b'{"values":[1,2,3]}',
    b'{"values":[[1,2]]}',
    b"[" * 100_000,
    b'{"values":[' + b"9" * 5000 + b",1]}",
    bytes(range(256)),
)
"""What crashes a decoder that is not careful."""

LARGE = b'{"values":[1,2' + b" " * 5_000_000
"""A record of five megabytes, broken at its end."""


@dataclass(frozen=True, slots=True)
class Append:
    """Append these records in one call."""

    records: tuple[NewRecord, ...]


@dataclass(frozen=True, slots=True)
class Update:
    """Change the stream; `reset` starts its detectors afresh."""

    config: StreamConfig
    reset: bool


Step = Append | Update


@dataclass(frozen=True, slots=True)
class Workload:
    """Streams and what happens to each."""

    streams: tuple[StreamConfig, ...]
    steps: dict[str, tuple[Step, ...]]

    def step_at(self, stream: str, records: int) -> int:
        """Return the number of steps that put so many records into the log."""
        config = next(config for config in self.streams if config.name == stream)
        total = 0
        for index, step in enumerate(self.steps[stream]):
            if total == records:
                return index
            total += len(step.records) if isinstance(step, Append) else config.partitions
        assert total == records, f"{stream}: {records} records are no whole number of steps"
        return len(self.steps[stream])


def make_workload(
    seed: int,
    records: int,
    *,
    trees: int = 10,
    sample_size: int = 32,
    poison: Sequence[bytes] = POISON,
) -> Workload:
    """Make about so many records over three streams of 1 to 3 partitions; 1 % is poison."""
    rng = random.Random(seed)
    base = {"trees": trees, "sample_size": sample_size, "features": ("x", "y")}
    streams = (
        StreamConfig(name="one", partitions=1, shingle_size=2, seed=seed, **base),
        StreamConfig(
            name="two", partitions=2, shingle_size=1, seed=seed + 1, new_series="shared", **base
        ),
        StreamConfig(
            name="three", partitions=3, shingle_size=3, seed=seed + 2, max_series=12, **base
        ),
    )
    share = records // len(streams)
    return Workload(
        streams, {config.name: _steps(rng, config, share, poison) for config in streams}
    )


def _steps(
    rng: random.Random, config: StreamConfig, records: int, poison: Sequence[bytes]
) -> tuple[Step, ...]:
    numbers = np.random.default_rng(rng.getrandbits(63))
    steps: list[Step] = []
    done, generation = 0, 1
    while done < records:
        size = min(rng.choice((1, 7, 60, 150, 400)), records - done)
        values = numbers.normal(size=(size, 2))
        values[numbers.random(size) < 0.01] *= 20
        rows = (_record(rng, row, done + i, poison) for i, row in enumerate(values))
        steps.append(Append(tuple(rows)))
        before, done = done, done + size
        for share in (0.3, 0.6):
            if before < share * records <= done:
                reset = share == 0.6
                generation += reset
                steps.append(Update(_changed(config, reset), reset))
    return tuple(steps)


def _changed(config: StreamConfig, reset: bool) -> StreamConfig:
    values = {name: getattr(config, name) for name in StreamConfig.__slots__}
    values |= {"max_series": 30, "time_decay": 0.02} | (
        {"seed": config.seed + 100} if reset else {}
    )
    return StreamConfig(**values)


def _record(rng: random.Random, row: np.ndarray, number: int, poison: Sequence[bytes]) -> NewRecord:
    key = f"series-{min(int(rng.expovariate(0.4)), 19)}"
    time_ms = 1_700_000_000_000 + number * 10 + rng.choice((0, 0, 0, -500))  # some run backward
    if rng.random() < 0.01:
        return NewRecord(rng.choice(poison), key, time_ms)
    x, y = (repr(value).encode() for value in row.tolist())
    if number % 3 == 0:  # other fields, now and then more of them than are carried
        note = b"n" * (5000 if number % 99 == 0 else 5)
        return NewRecord(b'{"host":"h","values":[%b,%b],"note":"%b"}' % (x, y, note), key, time_ms)
    if rng.random() < 0.5:
        return NewRecord(b'{"values":[%b,%b]}' % (x, y), key, time_ms)
    return NewRecord(b'{"values":{"y":%b,"x":%b}}' % (y, x), key, time_ms)
