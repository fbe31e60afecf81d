"""From scores to anomalies that are said once: events, cool-down, budget, grade, confidence.

A record whose score reaches the threshold belongs to an *event*. The event goes on until its
series has stayed below the threshold for more than `cool_down` records; its first record is the
anomaly that is said, and the others are held back. So a level shift or a drift is said once while
the forest learns it, and a long anomaly is one.

A second anomaly inside an event is said too: once the records themselves (not their trailing mean,
which remembers) had been ordinary again, one of at least `_AGAIN` thresholds and of `_AS_MUCH` of
the event's largest score is as good as the first.

Drift goes on: for `_LEARNING` records after one that reached the threshold, an event begins
silently where its record is an ordinary one beside the last few dozen, however far they have come
from what the forest knows.

An anomaly is also held back where the record changes nothing in a flat series (`rcf.flat`; it
begins no event), and where the budget of alerts is used up: of any two alerts with `budget` others
between them, the second comes `window` or more after the first.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from rcf import flat, smooth, threshold, usual
from rcf.flat import Tolerance, is_still
from rcf.jit import kernel
from rcf.state import F64, Int
from rcf.threshold import Bar, threshold_of

#: Why a record at or above the threshold is no anomaly.
NOTHING, COOL_DOWN, FLAT, BUDGET, DRIFT = range(5)
HELD_BACK = {
    NOTHING: "",
    COOL_DOWN: "cool_down",
    FLAT: "flat",
    BUDGET: "budget",
    DRIFT: "drift",
}

MOST_ALERTS = 1000  #: the largest budget

_LEARNING = 1024.0
_BESIDE = 2.0  # deviations of the last records
_AGAIN = 1.5
_AS_MUCH = 0.5
_STEPS = 16.0  # of the grade
_FULL = 2.0  # thresholds that make a grade of 1
_GAP_MEMORY = 256.0  # records, of the mean time between them


class Policy(NamedTuple):
    """What is said.

    Attributes:
        bar: What sets the threshold.
        tolerance: What counts as no change in a flat series.
        cool_down: Records below the threshold that end an event.
        budget: Alerts allowed in a window; 0 for any number.
        window: In the unit of the records' times, or records.
    """

    bar: Bar
    tolerance: Tolerance
    cool_down: Int
    budget: Int
    window: float


class Memory(NamedTuple):
    """The state of a series, sections of float64 (`rcf.memory` says where they lie).

    Attributes:
        event: (WORDS,), see the words below.
        scores: (rcf.threshold.WORDS,).
        usual: (rcf.usual.WORDS,).
        still: (rcf.flat.WORDS x features,).
        alerts: (budget,), when the last ones were; a ring.
        rows: (before x features,), the last records; zeros where the series has had fewer.
        clock: (before,), their times.
    """

    event: F64
    scores: F64
    usual: F64
    still: F64
    alerts: F64
    rows: F64
    clock: F64


#: Words of the event: records judged, record at which the event began (-1: none), last record that
#: reached the threshold (-1: none), largest score of the event, whether the newest point was
#: ordinary, alerts said, latest time of a record, mean time between records, when the event began.
COUNT, BEGAN, REACHED, PEAK, CALM, SAID, TIME, GAP, STARTED = range(9)
WORDS = 9


@kernel
def grade_of(score: float, bar: float) -> float:
    """Grade of a score at or above the threshold: 1/16 at it, 1 from `_FULL` thresholds on."""
    if not bar > 0.0:
        return 1.0
    over = (score / bar - 1.0) / (_FULL - 1.0)
    return min(1.0, (1.0 + math.floor(_STEPS * over)) / _STEPS)


@kernel
def keep_time(event: F64, time: float) -> None:
    """Follow the mean time between records; one that is late adds nothing."""
    if event[COUNT] > 0.0:
        gap = max(0.0, time - event[TIME])
        event[GAP] += (gap - event[GAP]) / min(event[COUNT], _GAP_MEMORY)
        event[TIME] = max(event[TIME], time)
    else:
        event[TIME] = time


@kernel
def alerts_a_record(policy: Policy, event: F64) -> float:
    """Alerts that the budget allows a record, on average; infinite without a budget."""
    if policy.budget == 0:
        return math.inf
    return policy.budget * event[GAP] / policy.window if event[GAP] > 0.0 else 0.0


@kernel
def spend(policy: Policy, memory: Memory, time: float) -> bool:
    """Whether the budget has an alert left at `time`; it is then taken."""
    if policy.budget > 0:
        place = np.int64(memory.event[SAID]) % policy.budget
        if time < memory.alerts[place] + policy.window:
            return False
        memory.alerts[place] = time
    memory.event[SAID] += 1.0
    return True


@kernel
def is_drift(memory: Memory, values: F64) -> bool:
    """Whether a record is an ordinary one beside the last few dozen, soon after an event."""
    event = memory.event
    if event[REACHED] < 0.0 or event[COUNT] - event[REACHED] > _LEARNING:
        return False
    for i in range(len(values)):
        level, spread = flat.recent(memory.still, flat.WORDS * i)
        if not abs(values[i] - level) <= _BESIDE * spread:
            return False
    return True


@kernel
def all_still(policy: Policy, still: F64, values: F64) -> bool:
    """Whether a record changes nothing in a flat series. float64 (features,)."""
    for i in range(len(values)):
        if not is_still(still, flat.WORDS * i, policy.tolerance, values[i]):
            return False
    return True


@kernel
def say(
    policy: Policy,
    memory: Memory,
    values: F64,
    bar: float,
    score: float,
    point: float,
    time: float,
) -> Int:
    """NOTHING if a record at or above the threshold is to be said, else why it is held back.

    Args:
        policy: What is said.
        memory: The state; its event is brought up to date but for where it began.
        values: float64 (features,), the record.
        bar: The threshold.
        score: The record's score.
        point: That of the record itself, without its trailing mean.
        time: When.
    """
    event = memory.event
    begins = event[BEGAN] < 0.0
    again = event[CALM] > 0.0 and point >= _AGAIN * bar and point >= _AS_MUCH * event[PEAK]
    drifts = begins and is_drift(memory, values)
    event[REACHED] = event[COUNT]
    event[PEAK] = score if begins else max(event[PEAK], score)
    if not (begins or again):
        return COOL_DOWN
    if drifts:
        return DRIFT
    return NOTHING if spend(policy, memory, time) else BUDGET


@kernel
def judge(
    policy: Policy,
    memory: Memory,
    window: F64,
    clock: F64,
    at: Int,
    length: Int,
    score: float,
    point: float,
) -> tuple[float, float, float, Int, float, float]:
    """(threshold, grade, confidence, why held back, records since the event began, when it did).

    The state then learns it. Arguments as for `say`, scores on the scale of inverse depth; the
    record is ``window[at]``, at ``clock[at]``, with ``length - 1`` of its series before it.
    """
    event, time = memory.event, float(clock[at])
    keep_time(event, time)
    bar = threshold_of(policy.bar, memory.scores, memory.usual, alerts_a_record(policy, event))
    confidence = 1.0 - usual.share_above(memory.usual, score)
    if event[BEGAN] >= 0.0 and event[COUNT] - event[REACHED] > policy.cool_down:
        event[BEGAN] = -1.0
    grade, held, since, started = 0.0, NOTHING, np.nan, np.nan
    if score >= bar:
        if all_still(policy, memory.still, window[at]):
            held = FLAT
        else:
            held = say(policy, memory, window[at], bar, score, point, time)
            if event[BEGAN] < 0.0:
                late = smooth.changed_since(window, at, length)
                event[BEGAN], event[STARTED] = event[COUNT] - late, clock[at - late]
            since, started = event[COUNT] - event[BEGAN], event[STARTED]
            if held == NOTHING:
                grade = grade_of(score, bar)
    event[CALM] = 1.0 if point < bar else 0.0
    threshold.observe(memory.scores, score)
    usual.learn(memory.usual, score)
    event[COUNT] += 1.0
    return bar, grade, confidence, held, since, started
