"""The guard of flat series: a forest that has seen one value panics at any other.

After constant data every change, however small, gets the largest score there is. So where all
features have been flat, a record within a tolerance of their level is no anomaly. Flat means that
the deviation over the last hundred records or so is within the tolerance, the largest of

    * `relative` times the level's magnitude,
    * the smallest step that the feature has been seen to make, if that is a small share of the
      level (a sensor that flickers between two readings), and
    * `absolute`.

A real change, beyond the tolerance, keeps its grade.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from rcf.jit import kernel
from rcf.state import F64


class Tolerance(NamedTuple):
    """What counts as no change.

    Attributes:
        relative: Share of the level's magnitude.
        absolute: In the unit of the feature.
    """

    relative: float
    absolute: float


#: Words a feature: weight, sum, sum of squares, last value, smallest step (0: none seen).
WEIGHT, SUM, SQUARES, LAST, STEP = range(5)
WORDS = 5

_MEMORY = 64.0  # records; short, so that a level shift is soon the level
_STEP_SHARE = 0.01  # a step counts as flicker up to this share of the level
_FEWEST = 16.0  # weight of records below which nothing is called flat


@kernel
def recent(state: F64, at: int) -> tuple[float, float]:
    """(mean, deviation) of a feature's last records, of which there must be some."""
    weight = state[at + WEIGHT]
    level = state[at + SUM] / weight
    return level, math.sqrt(max(0.0, state[at + SQUARES] / weight - level * level))


@kernel
def is_still(state: F64, at: int, tolerance: Tolerance, value: float) -> bool:
    """Whether a feature has been flat and `value` is within its tolerance."""
    weight = state[at + WEIGHT]
    if weight < _FEWEST:
        return False
    level, spread = recent(state, at)
    magnitude = abs(level)
    allowed = max(tolerance.absolute, tolerance.relative * magnitude)
    if state[at + STEP] <= _STEP_SHARE * magnitude:
        allowed = max(allowed, state[at + STEP])
    return spread <= allowed and abs(value - level) <= 1.5 * allowed


@kernel
def observe(state: F64, at: int, value: float) -> None:
    """Add a value to a feature's statistics."""
    if state[at + WEIGHT] > 0.0:
        step = abs(value - state[at + LAST])
        if step > 0.0 and (state[at + STEP] == 0.0 or step < state[at + STEP]):
            state[at + STEP] = step
    keep = 1.0 - 1.0 / _MEMORY
    state[at + WEIGHT] = keep * state[at + WEIGHT] + 1.0
    state[at + SUM] = keep * state[at + SUM] + value
    state[at + SQUARES] = keep * state[at + SQUARES] + value * value
    state[at + LAST] = value
