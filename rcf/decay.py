"""Three ways to say how soon a forest forgets."""

from __future__ import annotations

import math

from rcf.arguments import real
from rcf.errors import InvalidParameter

#: Mean lifetimes after which 95 % of the points sampled are gone: ages are about exponential.
FORGOTTEN = 3.0

#: Highest rate in force, times the sample size. At it a sample is its last points, give or take
#: some. Keys grow by e^(rate x age) while ages reach the sample size, and float32 ends at e^88.
FASTEST = 64.0


def decay_of(
    time_decay: float | None, half_life: float | None, window: float | None
) -> float | None:
    """The rate that one of three ways to say it means; None if none is given.

    Raises:
        InvalidParameter: Two are given, or one is outside what is allowed.
    """
    given = {"time_decay": time_decay, "half_life": half_life, "window": window}
    names = [name for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise InvalidParameter(names[1], given[names[1]], f"given without {names[0]}")
    if half_life is not None:
        return math.log(2.0) / real("half_life", half_life, 1.0, 1e18)
    if window is not None:
        return FORGOTTEN / real("window", window, 3.0, 1e18)
    return time_decay


def decay_in_force(decay: float, sample_size: int) -> float:
    """The rate at which points lose weight where `decay` is asked for: at most `FASTEST`."""
    return min(decay, FASTEST / sample_size)
