"""The threshold: from which score on a record is an anomaly. Five rules, of which one is chosen.

    automatic   a floor (`floor_for`), or the score that `_SHARE` of the series' own records exceed
                if that is higher: scores of different series are comparable, so one bar serves them
                all, and a restless series raises it for itself
    budget      the score that as many of the series' records exceed as make the alerts allowed, but
                not below `_CALM`
    percentile  the score that a given percentage of the series' records stays below
    sigma       mean and a number of deviations of the series' scores (3 in SageMaker's examples)
    fixed       a given score

Scores are meant on the scale of inverse depth: 0.5 for a repeated value, about 0.75 for ordinary
ones, log2(N + 1) at most. Displacement runs from 0 to N; `scale_for` lays that range over the
other, ends on ends, so one rule serves every score. Thresholds are reported in the unit of the
score.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from rcf.jit import kernel
from rcf.state import F64, Int
from rcf.usual import score_above

AUTOMATIC, BUDGET, PERCENTILE, SIGMA, FIXED = range(5)
MODES = {
    "automatic": AUTOMATIC,
    "budget": BUDGET,
    "percentile": PERCENTILE,
    "sigma": SIGMA,
    "fixed": FIXED,
}

_FLOOR, _FLOOR_OF_MANY = 2.5, 2.0  # one record in 150 of public series exceeds them
_SHARE = 0.008
_CALM = 1.5  # one record in thirty exceeds it
_RECORDS_AN_ALERT = 4.0  # above the bar, in the events of public series
_LARGEST_SHARE = 0.05
_SIGMA_MEMORY = 1.0 / 4096.0
_FEW = 10.0  # scores that tell no deviation
_DEVIATIONS = 3.0  # of the distances, as in AWS's library


class Bar(NamedTuple):
    """What sets the threshold.

    Attributes:
        mode: A number of `MODES`.
        level: Percentage, deviations or score, in the modes that have one.
        offset: A raw score s stands for offset + scale s on the scale of inverse depth.
        scale: See `offset`.
        floor: The automatic threshold is not below it.
    """

    mode: Int
    level: float
    offset: float
    scale: float
    floor: float


#: Words of the state: weight, sum and sum of squares of the scores.
WEIGHT, SUM, SQUARES = range(3)
WORDS = 3


def scale_for(score: str, sample_size: int) -> tuple[float, float]:
    """(offset, scale) that lay a score's range over that of inverse depth.

    A repeated value has depth score 0.5 and displacement 0; the first other value after it has
    log2(N + 1) and N.
    """
    if score in ("depth", "blend"):
        return 0.0, 1.0
    return 0.5, (math.log2(sample_size + 1) - 0.5) / sample_size


def lowest_threshold(bar: Bar) -> float:
    """The raw score below which no record can be an anomaly; minus infinity where there is none."""
    lowest = {AUTOMATIC: bar.floor, BUDGET: _CALM}
    if bar.mode == FIXED:
        return bar.level
    if bar.mode in lowest:
        return (lowest[bar.mode] - bar.offset) / bar.scale
    return -math.inf


def floor_for(dimensions: int) -> float:
    """The lowest automatic threshold for points of so many dimensions.

    Cuts in other dimensions blur the depth of a point that is odd in one.
    """
    return _FLOOR if dimensions == 1 else _FLOOR_OF_MANY


@kernel
def observe(state: F64, value: float) -> None:
    """Count a score, on the scale of inverse depth, for mean and deviation."""
    keep = 1.0 - _SIGMA_MEMORY
    state[WEIGHT] = keep * state[WEIGHT] + 1.0
    state[SUM] = keep * state[SUM] + value
    state[SQUARES] = keep * state[SQUARES] + value * value


@kernel
def deviations_above(state: F64, factor: float, floor: float) -> float:
    """The mean score and `factor` deviations; `floor` until there are a few scores."""
    weight = state[WEIGHT]
    if weight < _FEW:
        return floor
    average = state[SUM] / weight
    spread = math.sqrt(max(0.0, state[SQUARES] / weight - average * average))
    return average + factor * spread


@kernel
def distance_above(bar: Bar, distances: F64) -> float:
    """The distance above which the next record's is out of the ordinary; NaN while that is unknown.

    Deviations above the mean, as many as `bar` says where it counts deviations, else
    `_DEVIATIONS`: distances have the unit of the values, so no level that is told of scores, and
    no floor, is one of theirs.

    Args:
        bar: What sets the threshold of scores.
        distances: float64 (WORDS,), of the distances so far.

    Source: random-cut-forest-by-aws 4.3.0, BasicThresholder for DISTANCE.
    """
    factor = bar.level if bar.mode == SIGMA else _DEVIATIONS
    return deviations_above(distances, factor, math.nan)


@kernel
def threshold_of(bar: Bar, state: F64, usual: F64, alerts_a_record: float) -> float:
    """The threshold for the next record, on the scale of inverse depth.

    Args:
        bar: What sets it.
        state: float64 (WORDS,), of the scores so far.
        usual: State of `rcf.usual`.
        alerts_a_record: What the budget allows on average; infinite without one.
    """
    if bar.mode == FIXED:
        return bar.offset + bar.scale * bar.level
    if bar.mode == SIGMA:
        return deviations_above(state, bar.level, bar.floor)
    if bar.mode == PERCENTILE:
        return score_above(usual, 1.0 - bar.level / 100.0)
    if bar.mode == BUDGET:
        share = min(_LARGEST_SHARE, _RECORDS_AN_ALERT * alerts_a_record)
        return max(_CALM, score_above(usual, share))
    return max(bar.floor, score_above(usual, _SHARE))
