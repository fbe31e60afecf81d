"""Labelled demonstration series: a pure function of (seed, key, step).

Every value depends on its absolute step alone, so a restarted process goes on in the same series
without stored state, and two readers agree on every value and every label. Each key shows one kind
of anomaly once per cycle; the keys take turns, so over all keys the next one is never more than
`MAX_GAP_STEPS` away.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["spike", "level_shift", "broken_period", "noise_burst", "drop_to_zero"]
Values = NDArray[np.float64]

STEP_S = 0.2
"""Seconds between two records of one key."""

CYCLE_STEPS = 960
"""Steps in which each key has exactly one anomaly. A detector expects one in a thousand records to
begin an anomaly; what happens more often, it would come to take for normal."""

JITTER_STEPS = 8
"""The start of an anomaly moves by up to this many steps, so it cannot be learnt as periodic."""

_HURRY = 3.3
"""How much faster a wave swings, and wider too, once its period is broken."""

_BLOCK_STEPS = 1024


@dataclass(frozen=True, slots=True)
class Shape:
    """One key: a wave with noise, and the anomaly that it shows.

    base, amplitude, noise: in the unit of the series; period: steps of one wave.
    """

    key: str
    kind: Kind
    base: float
    amplitude: float
    period: int
    noise: float


SHAPES = (
    Shape("checkout-orders", "spike", 240.0, 40.0, 60, 5.0),
    Shape("pump-pressure", "broken_period", 6.0, 2.0, 16, 0.08),
    Shape("api-latency-ms", "level_shift", 120.0, 4.0, 40, 3.0),
    Shape("ticket-sales", "drop_to_zero", 80.0, 12.0, 48, 2.0),
    Shape("bearing-vibration", "noise_burst", 0.0, 0.4, 24, 0.25),
    Shape("queue-depth", "spike", 30.0, 6.0, 36, 1.5),
    Shape("heater-current", "broken_period", 12.0, 3.0, 20, 0.15),
    Shape("door-sensor-volts", "drop_to_zero", 4.9, 0.0, 24, 0.02),
)

MAX_GAP_STEPS = CYCLE_STEPS // len(SHAPES) + JITTER_STEPS
"""The longest wait, over all keys together, from any step to the next start of an anomaly."""

_LENGTH_STEPS: dict[Kind, int] = {
    "spike": 1,
    "level_shift": 24,
    "broken_period": 24,
    "noise_burst": 12,
    "drop_to_zero": 5,
}


@dataclass(frozen=True, slots=True)
class Label:
    """A true anomaly of `key`: steps `start` to `end`, both inclusive."""

    key: str
    kind: Kind
    start: int
    end: int


def values(shape: Shape, start: int, count: int, *, seed: int = 7) -> Values:
    """Values of one key.

    Args:
        shape: The series, one of `SHAPES` or a shape of the caller's.
        start: First step, at least 0.
        count: Number of steps, at least 0.
        seed: Any integer from 0; another seed is another world.

    Returns:
        float64 (count,), finite. The same arguments give the same bits.
    """
    steps = np.arange(start, start + count)
    noise = _noise(shape, start, count, seed)
    series = _wave(shape, steps) + shape.noise * noise
    for label in labels(shape, start, count, seed=seed):
        inside = (steps >= label.start) & (steps <= label.end)
        series[inside] = _disturbed(shape, label, steps[inside], noise[inside], seed)
    return series


def labels(shape: Shape, start: int, count: int, *, seed: int = 7) -> Iterator[Label]:
    """The anomalies of one key that touch steps [start, start + count), in order."""
    length = _LENGTH_STEPS[shape.kind]
    for cycle in range(max(0, start - length) // CYCLE_STEPS, (start + count) // CYCLE_STEPS + 1):
        first = cycle * CYCLE_STEPS + _offset(shape, cycle, seed)
        if first < start + count and first + length > start:
            yield Label(shape.key, shape.kind, first, first + length - 1)


def _offset(shape: Shape, cycle: int, seed: int) -> int:
    turn = _turn(shape) * (CYCLE_STEPS // len(SHAPES))
    return turn + int(_draw(shape, cycle, seed).integers(0, JITTER_STEPS + 1))


def _turn(shape: Shape) -> int:
    keys = [each.key for each in SHAPES]
    return keys.index(shape.key) if shape.key in keys else 0


def _draw(shape: Shape, number: int, seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, number, *shape.key.encode()])


def _wave(shape: Shape, steps: NDArray[np.int64]) -> Values:
    wave: Values = shape.base + shape.amplitude * np.sin(2 * np.pi * steps / shape.period)
    return wave


def _noise(shape: Shape, start: int, count: int, seed: int) -> Values:
    first, last = start // _BLOCK_STEPS, (start + count) // _BLOCK_STEPS
    blocks = [_noise_block(shape, block, seed) for block in range(first, last + 1)]
    begin = start - first * _BLOCK_STEPS
    return np.concatenate(blocks)[begin : begin + count]


@lru_cache(maxsize=64)
def _noise_block(shape: Shape, block: int, seed: int) -> Values:
    # The second number keeps these draws apart from those of `_offset` and `_disturbed`.
    generator = np.random.default_rng([seed, block, len(shape.key), *shape.key.encode(), 1])
    return generator.standard_normal(_BLOCK_STEPS)


def _disturbed(
    shape: Shape, label: Label, steps: NDArray[np.int64], noise: Values, seed: int
) -> Values:
    size = 1.0 + 0.5 * float(_draw(shape, label.start, seed).random())
    usual = _wave(shape, steps) + shape.noise * noise
    reach = shape.amplitude + 3 * shape.noise
    if shape.kind == "spike":
        return usual + 3 * size * reach
    if shape.kind == "level_shift":
        return usual + 2 * size * reach
    if shape.kind == "noise_burst":
        return usual + 8 * size * shape.noise * noise
    if shape.kind == "broken_period":
        fast = np.sin(2 * np.pi * _HURRY * steps / shape.period)
        return shape.base + 1.8 * size * shape.amplitude * fast + shape.noise * noise
    return np.zeros(len(steps))
