"""From scores to anomalies that are said once: events, cool-down, budget, grade, confidence.

A record whose score reaches the threshold belongs to an *event*. The event goes on until its
series has stayed below the threshold for `cool_down` records; its first record is the anomaly that
is said, and the others are held back. So a level shift or a drift is said once while
the forest learns it, and a long anomaly is one.

A second anomaly inside an event is said too: once the records themselves (not their trailing mean,
which remembers) had been ordinary again, one of at least `_AGAIN` thresholds and of `_AS_MUCH` of
the event's largest score is as good as the first.

Drift goes on: for `_LEARNING` records after one that reached the threshold, an event begins
silently where its record is an ordinary one beside the last few dozen, however far they have come
from what the forest knows.

With a `multi_mode` the distance of a record (`rcf.density`) has a say, by a threshold of its own:
for "precision" an event does not begin, and is not said again, where the distance is an ordinary
one; for "recall" a record reaches the threshold by its distance, too, but an event that goes on is
said again only by its score.

An anomaly is also held back where the record changes nothing in a flat series (`rcf.flat`; it
begins no event), and where the budget of alerts is used up: of any two alerts with `budget` - 1
others between them, the second comes `window` or more after the first.

Source of the modes: random-cut-forest-by-aws 4.3.0, PredictorCorrector, scoring strategies
MULTI_MODE and MULTI_MODE_RECALL. There an anomaly ends with its shingle; here with its event.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from rcf import flat, smooth, threshold, usual
from rcf.flat import Tolerance, is_still
from rcf.jit import kernel
from rcf.state import F64, Int
from rcf.threshold import Bar, distance_above, threshold_of

#: Why a record at or above the threshold is no anomaly.
NOTHING, COOL_DOWN, FLAT, BUDGET, DRIFT, DISTANCE = range(6)
HELD_BACK = {
    NOTHING: "",
    COOL_DOWN: "cool_down",
    FLAT: "flat",
    BUDGET: "budget",
    DRIFT: "drift",
    DISTANCE: "distance",
}

#: What the distance has a say in: nothing, what is held back, what is found.
SCORE_ALONE, PRECISION, RECALL = range(3)
MULTI_MODES = {"none": SCORE_ALONE, "precision": PRECISION, "recall": RECALL}

MOST_ALERTS = 1000  #: the largest budget

_LEARNING = 1024.0
_BESIDE = 2.0  # deviations of the last records
_AGAIN = 1.5
_AS_MUCH = 0.5
_STEPS = 16.0  # of the grade
_FULL = 2.0  # thresholds that make a grade of 1
_GAP_MEMORY = 256.0  # records, of the mean time between them
_ODD_GAP = 0.5  # mean times between records


class Policy(NamedTuple):
    """What is said.

    Attributes:
        bar: What sets the threshold.
        tolerance: What counts as no change in a flat series.
        cool_down: Records below the threshold that end an event.
        budget: Alerts allowed in a window; 0 for any number.
        window: In the unit of the records' times, or records.
        timed: Whether a gap in time may make a record odd.
        multi_mode: A number of `MULTI_MODES`.
    """

    bar: Bar
    tolerance: Tolerance
    cool_down: Int
    budget: Int
    window: float
    timed: bool
    multi_mode: Int


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
        transform: (rcf.transform.words(features),).
        seen: (before x coordinates,), what the forest over points saw of the last records.
        distances: (rcf.threshold.WORDS,) where distances have a say, else without items.
    """

    event: F64
    scores: F64
    usual: F64
    still: F64
    alerts: F64
    rows: F64
    clock: F64
    transform: F64
    seen: F64
    distances: F64


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
def is_odd_gap(event: F64, time: float) -> bool:
    """Whether the gap before a record is far from the mean time between records."""
    if event[COUNT] == 0.0:
        return False
    return abs(time - event[TIME] - event[GAP]) > _ODD_GAP * event[GAP]


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
    odd_gap: bool,
    near: bool,
) -> Int:
    """NOTHING if a record that reaches the threshold is to be said, else why it is held back.

    Args:
        policy: What is said.
        memory: The state; its event is brought up to date but for where it began.
        values: float64 (features,), the record.
        bar: The threshold.
        score: The record's score.
        point: That of the record itself, without its trailing mean.
        time: When.
        odd_gap: Whether the record may be odd for its time, whatever its values.
        near: Whether its distance keeps it from being a second anomaly of the event.
    """
    event = memory.event
    begins = event[BEGAN] < 0.0
    strong = point >= _AGAIN * bar and point >= _AS_MUCH * event[PEAK]
    again = event[CALM] > 0.0 and strong and not near
    drifts = begins and not odd_gap and is_drift(memory, values)
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
    distance: float,
) -> tuple[float, float, float, Int, float, float, float]:
    """What is said of a record, which the state then learns.

    Arguments as for `say`, scores on the scale of inverse depth; the record is ``window[at]``, at
    ``clock[at]``, with ``length - 1`` of its series before it. Its distance is NaN where that has
    no say.

    Returns:
        (threshold, grade, confidence, why held back, records since the event began, when it did,
        threshold of the distance)
    """
    event, time = memory.event, float(clock[at])
    odd_gap = policy.timed and is_odd_gap(event, time)
    keep_time(event, time)
    bar = threshold_of(policy.bar, memory.scores, memory.usual, alerts_a_record(policy, event))
    confidence = 1.0 - usual.share_above(memory.usual, score)
    if event[BEGAN] >= 0.0 and event[COUNT] - event[REACHED] > policy.cool_down:
        event[BEGAN] = -1.0
    limit, measured = np.nan, policy.multi_mode != SCORE_ALONE
    if measured:
        limit = distance_above(policy.bar, memory.distances)
    near = policy.multi_mode == PRECISION and distance <= limit
    far = policy.multi_mode == RECALL and distance > limit
    grade, held, since, started = 0.0, NOTHING, np.nan, np.nan
    if score >= bar or far:
        if not odd_gap and all_still(policy, memory.still, window[at]):
            held = FLAT
        elif near and event[BEGAN] < 0.0:
            held = DISTANCE
        else:
            held = say(policy, memory, window[at], bar, score, point, time, odd_gap, near)
            if event[BEGAN] < 0.0:
                late = smooth.changed_since(window, at, length)
                # It may have begun before the first record that was judged.
                event[BEGAN], event[STARTED] = max(0.0, event[COUNT] - late), clock[at - late]
                since = float(late)
            else:
                since = event[COUNT] - event[BEGAN]
            started = event[STARTED]
            if held == NOTHING:
                grade = grade_of(score, bar) if score >= bar else grade_of(distance, limit)
    event[CALM] = 1.0 if point < bar else 0.0
    threshold.observe(memory.scores, score)
    if measured:
        threshold.observe(memory.distances, distance)
    usual.learn(memory.usual, score)
    event[COUNT] += 1.0
    return bar, grade, confidence, held, since, started, limit
