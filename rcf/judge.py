"""The border of decisions: records and scores of many series, in segments; judgements come back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rcf import flat
from rcf.alert import NOTHING, Policy, judge
from rcf.jit import entry, kernel
from rcf.memory import Size, memory_at
from rcf.pointer import block_at
from rcf.run import longest
from rcf.smooth import smooth
from rcf.state import F64, HEADER, I64, RECORDS, Int
from rcf.step import first_invalid, header_of
from rcf.transform import NONE, transform_row
from rcf.transform import Policy as Change


class Judgements(NamedTuple):
    """What a detector says of records, one item each; NaN while warming.

    Attributes:
        score: float64 (n,), the larger of the forests' numbers, unbounded.
        threshold: float64 (n,), the score from which on a record was to be an anomaly.
        grade: float64 (n,), in [0, 1]; above 0 the record is an anomaly, said now. 1/16 at the
            threshold, 1 from twice the threshold on. With the multi mode "recall" a record is an
            anomaly by its distance alone where its score is below the threshold: then its grade is
            told by distance and threshold of the distance, in the same way.
        confidence: float64 (n,), above 0 and below 1: the share of the series' own records that
            score lower. Of ordinary records a share 1 - c has a confidence above c.
        held_back: int64 (n,), why a record at or above the threshold has grade 0, a key of
            `rcf.alert.HELD_BACK`; 0 for all others. With "recall" also why one does that is above
            the threshold of the distance.
        since: float64 (n,), records since the event began to which the record belongs: 0 where it
            is the first itself, more where a slow change is found late; NaN where it is in none.
        started: float64 (n,), the time of the event's first record, or its number where no times
            are given; NaN where it is in none.
        distance: float64 (n,), AWS's DISTANCE score (`rcf.Forest.distance`) of the record's point
            before it was learnt; NaN without a multi mode.
        distance_threshold: float64 (n,), above it the distance is out of the ordinary; NaN without
            a multi mode, and until a few distances are known.
    """

    score: F64
    threshold: F64
    grade: F64
    confidence: F64
    held_back: I64
    since: F64
    started: F64
    distance: F64
    distance_threshold: F64


@kernel
def fill_window(window: F64, last: F64, before: Int, values: F64) -> None:
    """Write the last records of a series, end to end, then those that follow. float64 (…, n)."""
    width = window.shape[1]
    for at in range(before):
        for i in range(width):
            window[at, i] = last[at * width + i]
    for row in range(len(values)):
        for i in range(width):
            window[before + row, i] = values[row, i]


@kernel
def keep_newest(window: F64, last: F64, before: Int, count: Int) -> None:
    """Keep the last `before` of a window with `count` records behind its front, end to end."""
    width = window.shape[1]
    for at in range(before):
        for i in range(width):
            last[at * width + i] = window[count + at, i]


@entry
def see_rows(
    blocks: I64,
    memories: I64,
    size: Size,
    change: Change,
    width: Int,
    starts: I64,
    values: F64,
    times: F64,
    learn: bool,
    points: F64,
    means: F64,
    seen: I64,
) -> Int:
    """What forests see of records: the records transformed, and the trailing means of these.

    Args:
        blocks: int64 (segments,), addresses of the blocks of the series' first forests.
        memories: int64 (segments,), addresses of their memories, of which what transforms records
            and what was seen of the last ones is brought up to date.
        size: That of the memories.
        change: What is done to records.
        width: Records a mean; at most one more than are kept.
        starts: int64 (segments + 1,), where the records of each begin, and their number.
        values: float64 (n, features).
        times: float64 (n,), or without items where time is no coordinate.
        learn: Whether what transforms records learns them.
        points: float64 (n, coordinates), out.
        means: float64 (n, coordinates), out.
        seen: int64 (segments,), out: records of each series before these.

    Returns:
        0; below 0 where a value is no finite float32: -1 minus its flat index, nothing was done.
    """
    bad = first_invalid(values)
    if bad >= 0:
        return -1 - bad
    before = size.before
    window = np.empty((before + longest(starts), size.coordinates))
    for part in range(len(blocks)):
        seen[part] = header_of(block_at(blocks[part], HEADER * 8))[RECORDS]
        start, stop = starts[part], starts[part + 1]
        memory = memory_at(memories[part], size)
        if change.method == NONE and change.time_weight == 0.0:
            points[start:stop] = values[start:stop]
        else:
            for row in range(start, stop):
                time = times[row] if len(times) > 0 else 0.0
                transform_row(change, memory.transform, values[row], time, points[row], learn)
        fill_window(window, memory.seen, before, points[start:stop])
        smooth(window, before, width, seen[part], means[start:stop])
        keep_newest(window, memory.seen, before, stop - start)
    return 0


@kernel
def warm_up(said: Judgements, row: Int) -> None:
    """Say nothing of a record without a score."""
    said.threshold[row] = said.grade[row] = said.confidence[row] = np.nan
    said.since[row] = said.started[row] = said.distance_threshold[row] = np.nan
    said.held_back[row] = NOTHING


@entry
def judge_rows(
    policy: Policy,
    memories: I64,
    size: Size,
    starts: I64,
    values: F64,
    times: F64,
    seen: I64,
    views: F64,
    distances: F64,
    said: Judgements,
) -> None:
    """`rcf.alert.judge` for each record in turn; where a score is NaN (warming), so is all else.

    Args:
        policy: What is said.
        memories: int64 (segments,), addresses of the series' memories; changed in place.
        size: That of the memories.
        starts: int64 (segments + 1,), where the records of each begin, and their number.
        values: float64 (n, features).
        times: float64 (n,); without items, a record's number in its series is its time.
        seen: int64 (segments,), records of each series before these.
        views: float64 (1 or 2, n), raw scores of the points and, if there are two, of their
            trailing means; those of the points are NaN at least as long.
        distances: float64 (n,), of the points; without items where they have no say.
        said: Out.
    """
    bar, before, most = policy.bar, size.before, longest(starts)
    window, clock = np.empty((before + most, size.features)), np.empty(before + most)
    for part in range(len(memories)):
        memory, start, stop = memory_at(memories[part], size), starts[part], starts[part + 1]
        fill_window(window, memory.rows, before, values[start:stop])
        for at in range(before):
            clock[at] = memory.clock[at]
        for row in range(start, stop):
            at, number = before + row - start, seen[part] + row - start
            clock[at] = times[row] if len(times) > 0 else float(number)
            point, mean = views[0, row], views[len(views) - 1, row]
            raw = mean if mean > point else point
            said.score[row] = raw
            said.distance[row] = distances[row] if len(distances) > 0 else np.nan
            if np.isnan(raw):
                warm_up(said, row)
            else:
                found = judge(
                    policy,
                    memory,
                    window,
                    clock,
                    at,
                    min(before, number) + 1,
                    bar.offset + bar.scale * raw,
                    bar.offset + bar.scale * point,
                    said.distance[row],
                )
                said.threshold[row] = (found[0] - bar.offset) / bar.scale
                said.grade[row] = found[1]
                said.confidence[row] = found[2]
                said.held_back[row] = found[3]
                said.since[row] = found[4]
                said.started[row] = found[5]
                said.distance_threshold[row] = found[6]
            for i in range(size.features):
                flat.observe(memory.still, flat.WORDS * i, window[at, i])
        keep_newest(window, memory.rows, before, stop - start)
        for at in range(before):
            memory.clock[at] = clock[stop - start + at]
