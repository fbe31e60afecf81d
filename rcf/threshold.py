"""From scores to thresholds and grades, one stream of scores at a time.

A score must pass two bars. The first is AWS's basic thresholder (random-cut-forest-by-aws 4.3.0,
BasicThresholder), which knows inverse-depth scores: 0.5 for a repeated value, about 1 for ordinary
ones, log2(N + 1) at most. It takes the scores of a calm stream for normal; the scores of many real
streams have long tails and pass it every twentieth time. So the second bar is the score that only a
share `anomaly_rate` of the stream's own scores exceeds, followed step by step: up by (1 - rate)
where a score exceeds it, down by the rate where not (Robbins and Monro 1951, on the logarithm).
That takes tens of thousands of scores from a bar that is far too high, so the bar falls faster
while it stands well above what the broad tail foretells: the score that one in twenty exceeds, and
the mean excess over it (Hill 1975), which a few hundred scores tell.

Displacement scores run from 0 to N; `scale_for` lays that range over the other, ends on ends, so
one rule serves every score. Thresholds are reported in the unit of the score.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from rcf.jit import entry, kernel
from rcf.state import F64


class Rule(NamedTuple):
    """Constants of the rule; scores are meant on the scale of inverse depth.

    Attributes:
        decay: Discount a score of the long-run statistics, 0 to 1.
        memory: Discount of the statistics of score differences (AWS: anomalyRate).
        anomaly_rate: Share of scores expected to begin an anomaly in the long run.
        z_factor: Deviations above the mean that make a threshold, at least 2.
        lower_threshold: No score below it is an anomaly.
        initial_threshold: Threshold until ten scores are known.
        shingle_size: Records a point; points overlap where it is above 1.
        normalized: Whether values were normalised before the forest saw them.
        offset, scale: A raw score s stands for offset + scale s.
    """

    decay: float
    memory: float
    anomaly_rate: float
    z_factor: float
    lower_threshold: float
    initial_threshold: float
    shingle_size: int
    normalized: bool
    offset: float
    scale: float


#: Words of the state: weight, sum and sum of squares of three statistics, scores seen, last score,
#: logarithm of the score that a share of `anomaly_rate` exceeds, records that echo the last one,
#: logarithm of the score that a share of `_BROAD_SHARE` exceeds, mean excess over it, their number.
LEVEL, STEP, BELOW = 0, 3, 6
COUNT, LAST, TAIL, ECHO, BROAD, EXCESS, EXCEEDED = range(9, 16)
WORDS = 16

#: Numbers that a `Rule` makes, and when `rcf.step.run` is to stop: they precede the state where
#: scores are judged one by one.
RULE = 11
NEVER, AT_ANOMALIES, AT_SCORES = range(3)

_CAP = 2.0
_FEW, _ENOUGH = 10.0, 20.0
_FLOOR = 0.9
_LOWEST = 1e-9  # of a score whose logarithm is taken
_DIFFERENCING = 0.5
_HIGHEST_TAIL = math.log(5.0)  # a score five times the ordinary one is always an anomaly
_BROAD_SHARE = 0.05
_EXCESSES, _EXCESS_MEMORY = 10.0, 1000.0  # fewest that tell a mean, most that it is taken over
_DOUBT = 2.0  # tails are heavier than their beginning foretells
_HURRY = 10.0
_TAIL_STEP = 0.05  # 5 % a score: a burst is learnt within a day of minutes, forgotten in days


def scale_for(score: str, sample_size: int) -> tuple[float, float]:
    """(offset, scale) that lay a score's range over that of inverse depth.

    A repeated value has depth score 0.5 and displacement 0; the first other value after it has
    log2(N + 1) and N.
    """
    if score == "depth":
        return 0.0, 1.0
    return 0.5, (math.log2(sample_size + 1) - 0.5) / sample_size


def bench_for(rule: Rule, state: F64, stop: int) -> F64:
    """What `rcf.step.run` judges with: float64 (RULE + WORDS,), the state at ``[RULE:]``.

    Args:
        rule: The rule.
        state: float64 (WORDS,), copied.
        stop: NEVER, AT_ANOMALIES (grades above 0) or AT_SCORES (all that are not NaN).
    """
    return np.concatenate([[*rule, stop], state])


@kernel
def rule_of(bench: F64) -> Rule:
    """The rule that `bench_for` has written."""
    return Rule(
        bench[0],
        bench[1],
        bench[2],
        bench[3],
        bench[4],
        bench[5],
        int(bench[6]),
        bench[7] != 0.0,
        bench[8],
        bench[9],
    )


@kernel
def add(state: F64, at: int, discount: float, value: float) -> None:
    """Add a value to the discounted statistic at `state[at:]`."""
    state[at] = (1.0 - discount) * state[at] + 1.0
    state[at + 1] = (1.0 - discount) * state[at + 1] + value
    state[at + 2] = (1.0 - discount) * state[at + 2] + value * value


@kernel
def mean(state: F64, at: int) -> float:
    """Mean of a discounted statistic; 0 before its first value."""
    return state[at + 1] / state[at] if state[at] > 0.0 else 0.0


@kernel
def deviation(state: F64, at: int) -> float:
    """Standard deviation of a discounted statistic; 0 before its first value."""
    if state[at] <= 0.0:
        return 0.0
    average = state[at + 1] / state[at]
    return math.sqrt(max(0.0, state[at + 2] / state[at] - average * average))


@kernel
def limits(state: F64, rule: Rule) -> tuple[float, float]:
    """(threshold, width): a score `width` above the threshold is as anomalous as can be."""
    average, level = mean(state, LEVEL), deviation(state, LEVEL)
    step, below = deviation(state, STEP), deviation(state, BELOW)
    factor = rule.z_factor
    if rule.normalized and average < _FLOOR:
        factor = max(2.0, factor * average / _FLOOR)
    long_run = min(math.sqrt(2.0) * below, level)
    if rule.shingle_size > 1:
        spread = min(level, max(step, math.sqrt(2.0) * below))
        long_run = _DIFFERENCING * spread + (1.0 - _DIFFERENCING) * step
    width = (factor - 1.0) * long_run + level
    count = state[COUNT]
    if count < _FEW:
        return max(rule.initial_threshold, rule.lower_threshold), width
    trust = min(1.0, (count - _FEW) / (_ENOUGH - _FEW))
    learnt = trust * (average + width) + (1.0 - trust) * rule.initial_threshold
    return max(rule.lower_threshold, learnt), width


@kernel
def grade_of(score: float, threshold: float, width: float, ready: bool, lowest: float) -> float:
    """Grade in [0, 1] in steps of 1/16; 0 below the threshold, 1 from 0.8 widths above it."""
    if score < threshold:
        return 0.0
    if not ready:
        excess = (score - lowest) / lowest
    elif width > 0.0:
        excess = (score - threshold) / width
    else:
        excess = 1.0
    return min(math.floor(20.0 * min(1.0, max(0.0, excess))) / 16.0, 1.0)


@kernel
def follow_broad(state: F64, height: float) -> None:
    """Follow the score that a share of `_BROAD_SHARE` exceeds, and the mean excess over it."""
    excess = height - state[BROAD]
    if excess > 0.0:
        state[EXCEEDED] = min(state[EXCEEDED] + 1.0, _EXCESS_MEMORY)
        state[EXCESS] += (excess - state[EXCESS]) / state[EXCEEDED]
        state[BROAD] += _TAIL_STEP * (1.0 - _BROAD_SHARE)
    else:
        state[BROAD] -= _TAIL_STEP * _BROAD_SHARE


@kernel
def foretold_tail(state: F64, rule: Rule) -> float:
    """Where the broad tail lets one expect the bar, on the safe side; infinite while unknown.

    Logarithms of scores beyond a high one are about exponential with its mean excess.
    """
    if state[EXCEEDED] < _EXCESSES:
        return math.inf
    further = max(0.0, math.log(_BROAD_SHARE / rule.anomaly_rate))
    return state[BROAD] + _DOUBT * state[EXCESS] * further


@kernel
def follow_tail(state: F64, rule: Rule, value: float) -> None:
    """Move the bar that a share `anomaly_rate` of scores exceeds.

    A record stays in the shingle after it has exceeded the bar; these echoes are not counted.
    """
    if state[ECHO] > 0.0:
        state[ECHO] -= 1.0
        return
    height = math.log(max(value, _LOWEST))
    follow_broad(state, height)
    if height > state[TAIL]:
        state[TAIL] += _TAIL_STEP * (1.0 - rule.anomaly_rate)
        state[ECHO] = rule.shingle_size - 1.0
    else:
        fall = rule.anomaly_rate
        if state[TAIL] > foretold_tail(state, rule):
            fall = max(fall, min(_HURRY * fall, _BROAD_SHARE))
        state[TAIL] -= _TAIL_STEP * fall
    state[TAIL] = min(state[TAIL], _HIGHEST_TAIL)


@kernel
def judge(state: F64, rule: Rule, score: float) -> tuple[float, float]:
    """(threshold, grade) of a raw score, in its own unit; the state then learns it."""
    value = rule.offset + rule.scale * score
    if state[COUNT] == 0.0:
        state[TAIL] = state[BROAD] = math.log(rule.initial_threshold)
    threshold, width = limits(state, rule)
    threshold = max(threshold, math.exp(state[TAIL]))
    grade = grade_of(value, threshold, width, state[COUNT] >= _FEW, rule.lower_threshold)
    if value >= threshold and grade == 0.0:
        threshold = value
    capped = min(value, _CAP)
    gap = mean(state, LEVEL) - value
    if state[COUNT] > 0.0 and gap > 0.0:
        add(state, BELOW, rule.decay / 2.0, gap)
    add(state, LEVEL, rule.decay, capped)
    add(
        state,
        STEP,
        rule.memory,
        value - (state[LAST] if rule.shingle_size > 1 else 0.0),
    )
    follow_tail(state, rule, value)
    state[LAST] = value
    state[COUNT] += 1.0
    return (threshold - rule.offset) / rule.scale, grade


@kernel
def judge_one(bench: F64, rule: Rule, judged: F64, row: int, rows: int) -> bool:
    """Judge the score ``judged[row]``; tell whether to stop behind it.

    Args:
        bench: See `bench_for`; its state changes.
        rule: `rule_of` the same.
        judged: float64 (3 rows,): scores, then room for thresholds, then for grades; all three NaN
            while warming.
        row: Which score.
        rows: How many there are.
    """
    threshold, grade = np.nan, np.nan
    score = judged[row]
    if not np.isnan(score):
        threshold, grade = judge(bench[RULE:], rule, score)
    judged[rows + row], judged[2 * rows + row] = threshold, grade
    stop = bench[RULE - 1]
    return grade > 0.0 if stop == AT_ANOMALIES else grade >= 0.0 and stop == AT_SCORES


@entry
def judge_rows(state: F64, rule: Rule, scores: F64, thresholds: F64, grades: F64) -> None:
    """`judge` for each score in turn; where a score is NaN (warming) so is the judgement."""
    for row in range(len(scores)):
        if np.isnan(scores[row]):
            thresholds[row] = np.nan
            grades[row] = np.nan
        else:
            thresholds[row], grades[row] = judge(state, rule, scores[row])
