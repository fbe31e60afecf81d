"""What every forest that is measured must do, and how several take turns.

Machines are noisy in phases longer than a block, so contenders take turns in short blocks, the
order rotates with the rounds, and each round gives one ratio.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from statistics import median
from typing import NamedTuple, Protocol

from rcf.state import F64

BLOCK_S = 0.3
_TRY_S = 0.02  # a first block as long as this foretells how many records take `BLOCK_S`


class Setup(NamedTuple):
    """One configuration; everything else is everyone's default (decay 1 / (10 sample size)).

    `box_mass` is ours alone: see `rcf.Forest`.
    """

    features: int
    shingle: int
    trees: int
    sample_size: int
    seed: int = 7
    box_mass: int = 1

    @property
    def warm(self) -> int:
        """Records until reservoirs are full and sampled points have their steady ages."""
        return 47 * self.sample_size

    @property
    def size(self) -> str:
        """Trees x sample size, as tables show it."""
        return f"{self.trees} x {self.sample_size}"

    @property
    def shape(self) -> str:
        """Features x shingle, as tables show it."""
        return f"{self.features} x {self.shingle}"


class Do(Enum):
    """What is done with each record; `BOTH` scores, then updates."""

    SCORE = 1
    UPDATE = 2
    BOTH = 3


class Contender(Protocol):
    """A forest that goes through records and says how long it took.

    It first converts the records, untimed, into whatever form it likes best.
    """

    def run(self, rows: F64, do: Do = Do.BOTH) -> float:
        """Seconds for the records, float64 (n, features), in the order of the stream."""

    def close(self) -> None:
        """Let go of processes and threads."""


class Entry(NamedTuple):
    """A contender that has learnt its stream up to record `start`."""

    contender: Contender
    start: int


def interleaved(
    entries: Mapping[str, Entry], values: F64, rounds: int, do: Do = Do.BOTH
) -> dict[str, list[float]]:
    """Seconds a record of each contender in each round.

    Args:
        entries: Each begins at its own `start`, and again there where the stream ends.
        values: The stream, float64 (n, features).
        rounds: Blocks of about `BLOCK_S` of each contender.
        do: What is done with each record.
    """
    runners = {name: _Runner(entry, values, do) for name, entry in entries.items()}
    seconds: dict[str, list[float]] = {name: [] for name in entries}
    for names in orders(list(entries), rounds):
        for name in names:
            seconds[name].append(runners[name].block())
    return seconds


def orders(names: list[str], rounds: int) -> list[list[str]]:
    """The order of each round: everyone begins in turn."""
    turns = [turn % len(names) for turn in range(rounds)]
    return [names[turn:] + names[:turn] for turn in turns]


def ratios(
    seconds: Mapping[str, list[float]], pairs: Iterable[tuple[str, str]]
) -> dict[str, float]:
    """How many times as long the first of each pair takes: the median of the rounds' ratios.

    Pairs are left out where one of the two did not take part.
    """
    return {
        f"{slow} / {fast}": median(a / b for a, b in zip(seconds[slow], seconds[fast], strict=True))
        for slow, fast in pairs
        if slow in seconds and fast in seconds
    }


def micros(seconds: list[float]) -> float:
    """Median, in µs."""
    return 1e6 * median(seconds)


class _Runner:
    """A contender's place in the stream, and the length of its blocks."""

    def __init__(self, entry: Entry, values: F64, do: Do) -> None:
        self._contender, self._start = entry
        self._values, self._do = values, do
        self._at, self._size = self._start, 4
        self._settle()

    def block(self) -> float:
        """Seconds a record, over the next block."""
        if self._at + self._size > len(self._values):
            self._at = self._start
        rows = self._values[self._at : self._at + self._size]
        self._at += len(rows)
        return self._contender.run(rows, self._do) / len(rows)

    def _settle(self) -> None:
        """Find a block that takes about `BLOCK_S`, by growing ones that do not count."""
        most = len(self._values) - self._start
        while True:
            each = self.block()
            if each * self._size >= _TRY_S or self._size >= most:
                break
            self._size = min(4 * self._size, most)
        self._size = max(1, min(most, int(BLOCK_S / each)))
