"""What a feature's values are measured by: a centre and a scale, learnt from values as they come.

The scale is the deviation of the values, but at least

    * a quarter of the smallest step that the feature has been seen to make, so that a command that
      is rarely given, or a reading that flickers between two values, is four scales wide, and
    * what float32 tells apart at the feature's level.

A feature that has not moved has no scale: its first step counts as four. Among a feature's first
`_FIRST` values the one that is measured is part of the deviation, so it lies within
``sqrt(1 + values seen)`` scales whatever came before it.

Nothing here knows a unit: values times any factor have the same place on their scale. Beyond
`_KNEE` scales places grow with the logarithm of the distance, which keeps single values from
stretching the boxes of a forest, and still tells the far from the farther.
"""

from __future__ import annotations

import math

from rcf.jit import kernel
from rcf.state import F64, Int

#: Words a feature: its weight, values learnt, last value, smallest step (0: none seen), centre,
#: spread (the variance; of the method "log" a mean logarithm).
WEIGHT, COUNT, LAST, STEP, CENTRE, SPREAD = range(6)
WORDS = 6

_FIRST = 10.0  # values
_STEPS = 0.25  # scales are at least this share of the smallest step
_RESOLUTION = 1e-6  # of float32, with a reserve; a share of the level
_KNEE = 4.0
_CLIP = 3.0  # scales that a value counts as at most, where spikes are to move nothing


@kernel
def bend(place: float) -> float:
    """A distance in scales, of either sign; beyond the knee its logarithm, as steep there."""
    far = abs(place)
    if far <= _KNEE:
        return place
    return math.copysign(_KNEE * (1.0 + math.log(far / _KNEE)), place)


@kernel
def unbend(place: float) -> float:
    """The inverse of `bend`; infinite beyond what float64 holds."""
    far = abs(place)
    if far <= _KNEE:
        return place
    return math.copysign(_KNEE * math.exp(far / _KNEE - 1.0), place)


@kernel
def least_scale(state: F64, at: Int) -> float:
    """What the scale of a feature is at least; 0 before its first step."""
    if state[at + STEP] == 0.0:
        return 0.0
    return max(_STEPS * state[at + STEP], _RESOLUTION * abs(state[at + CENTRE]))


@kernel
def place_of(state: F64, at: Int, value: float) -> float:
    """Where a value lies: its distance from the centre in scales, not bent.

    Args:
        state: float64, of which a feature's words begin at `at`.
        at: Where.
        value: What is measured: the feature's value or its step.
    """
    count, spread = state[at + COUNT], state[at + SPREAD]
    away = value - state[at + CENTRE]
    if count == 0.0 or away == 0.0:
        return 0.0
    if state[at + STEP] == 0.0:
        return math.copysign(1.0 / _STEPS, away)
    if count < _FIRST:
        spread = (count * spread + away * away) / (count + 1.0)
    return away / max(math.sqrt(spread), least_scale(state, at))


@kernel
def value_at(state: F64, at: Int, place: float) -> float:
    """The inverse of `place_of`; the centre where the feature has no scale."""
    count, spread, least = state[at + COUNT], state[at + SPREAD], least_scale(state, at)
    away = place * max(math.sqrt(spread), least)
    left = count + 1.0 - place * place
    if count < _FIRST and spread > 0.0 and left > 0.0:
        # place = away / sqrt((count spread + away^2) / (count + 1)), solved for away.
        away = place * math.sqrt(count * spread / left)
        if count * spread + away * away < (count + 1.0) * least * least:
            away = place * least
    return state[at + CENTRE] + (away if least > 0.0 else 0.0)


@kernel
def learn_place(state: F64, at: Int, value: float, decay: float, robust: bool) -> None:
    """Let centre and deviation follow a value.

    Each value counts for one part in ``1 / decay``, and for more while there were fewer.

    Args:
        state: As for `place_of`.
        at: Where.
        value: What was measured.
        decay: 0 to 1.
        robust: Whether a value counts as `_CLIP` scales from the centre at most.
    """
    count = state[at + COUNT]
    if count == 0.0:
        state[at + CENTRE] = value
    away = value - state[at + CENTRE]
    if robust and count >= _FIRST:
        reach = _CLIP * max(math.sqrt(state[at + SPREAD]), least_scale(state, at))
        if reach > 0.0:
            away = min(max(away, -reach), reach)
    share = max(decay, 1.0 / (count + 1.0))
    state[at + CENTRE] += share * away
    state[at + SPREAD] = (1.0 - share) * (state[at + SPREAD] + share * away * away)
    state[at + COUNT] = count + 1.0


@kernel
def learn_step(state: F64, at: Int, step: float) -> None:
    """Keep the smallest step that is none."""
    if step > 0.0 and (state[at + STEP] == 0.0 or step < state[at + STEP]):
        state[at + STEP] = step


@kernel
def size_of(state: F64, at: Int, value: float) -> float:
    """Logarithm of a value beside the feature's usual magnitude, with the value's sign; 0 for 0."""
    if value == 0.0:
        return 0.0
    if state[at + COUNT] == 0.0:
        return math.copysign(math.log(2.0), value)
    return math.copysign(math.log1p(abs(value) / math.exp(state[at + SPREAD])), value)


@kernel
def value_of_size(state: F64, at: Int, size: float) -> float:
    """The inverse of `size_of`; 0 before the first value that is not 0."""
    if state[at + COUNT] == 0.0:
        return 0.0
    return math.copysign(math.expm1(abs(size)) * math.exp(state[at + SPREAD]), size)


@kernel
def learn_size(state: F64, at: Int, value: float, decay: float) -> None:
    """Let the usual magnitude, a geometric mean, follow a value; 0 says nothing of it."""
    if value != 0.0:
        share = max(decay, 1.0 / (state[at + COUNT] + 1.0))
        state[at + SPREAD] += share * (math.log(abs(value)) - state[at + SPREAD])
        state[at + COUNT] += 1.0
