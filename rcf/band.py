"""Bands around a forecast that hold the stated share of values, whatever the errors' law.

The band is ``[expected - s e^a, expected + s e^b]``: s is the mean absolute error of late, and a
and b follow the errors' own quantiles step by step: down by ``eta tail`` where a value lies within
its side of the band, up by ``eta (1 - tail)`` where it does not. These steps telescope, so the
share of values beyond a side differs from `tail` by at most (range of a) / (eta n) after n values,
without any assumption about the series. Where a value repeats the forecast exactly, it lies in any
band: of a feature that hardly moves, more values are held than stated.

Source: Gibbs and Candès 2021, "Adaptive conformal inference under distribution shift", section 2;
Angelopoulos, Candès and Tibshirani 2023, "Conformal PID control for time series prediction",
section 2.1 (quantile tracking). On the logarithm, a band stays a band whatever the scale.
"""

from __future__ import annotations

import math

from rcf.jit import kernel
from rcf.state import F64, Int

#: Words of a band: weight and sum of absolute errors, logarithms of both sides, values seen.
WEIGHT, SUM, BELOW, ABOVE, SEEN = range(5)
WORDS = 5

_MEMORY = 50.0  # errors that the scale is a mean of
_CLIP = 5.0  # an error counts as this many scales at most, or more where the band is wide already
_STEP, _FIRST_STEPS = 0.1, 5.0  # eta; larger at first
_START = math.log(2.0)  # 5 % of normal errors exceed 2.06 mean absolute ones
_LEAST, _MOST = -4.0, 5.0


@kernel
def start_band(state: F64, at: Int) -> None:
    """Begin as if errors were normal."""
    state[at + WEIGHT] = state[at + SUM] = state[at + SEEN] = 0.0
    state[at + BELOW] = state[at + ABOVE] = _START


@kernel
def scale_of_errors(state: F64, at: Int) -> float:
    """Mean absolute error of late; 0 before the first."""
    return state[at + SUM] / state[at + WEIGHT] if state[at + WEIGHT] > 0.0 else 0.0


@kernel
def band(state: F64, at: Int, expected: float) -> tuple[float, float]:
    """(lower, upper) around a forecast."""
    scale = scale_of_errors(state, at)
    lower = expected - scale * math.exp(state[at + BELOW])
    return lower, expected + scale * math.exp(state[at + ABOVE])


@kernel
def follow_band(
    state: F64, at: Int, expected: float, lower: float, upper: float, value: float, tail: float
) -> None:
    """Learn how a forecast and its band came out; `tail` is the share of values beyond each side.

    The band may have been said a while ago: the steps telescope all the same. NaN: there was none.
    """
    wide = math.exp(max(state[at + BELOW], state[at + ABOVE], _START) - _START)
    state[at + SEEN] += 1.0
    step = max(_STEP, 1.0 / (1.0 + state[at + SEEN] / _FIRST_STEPS))
    if state[at + WEIGHT] > 0.0 and lower <= upper:
        below = step * ((1.0 if value < lower else 0.0) - tail)
        above = step * ((1.0 if value > upper else 0.0) - tail)
        state[at + BELOW] = min(max(state[at + BELOW] + below, _LEAST), _MOST)
        state[at + ABOVE] = min(max(state[at + ABOVE] + above, _LEAST), _MOST)
    error, scale = abs(value - expected), scale_of_errors(state, at)
    if scale > 0.0:
        error = min(error, _CLIP * wide * scale)
    keep = 1.0 - 1.0 / _MEMORY
    state[at + WEIGHT] = keep * state[at + WEIGHT] + 1.0
    state[at + SUM] = keep * state[at + SUM] + error
