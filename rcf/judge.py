"""The border of decisions: records and scores of many series, in segments; verdicts come back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rcf import flat
from rcf.alert import NOTHING, Memory, Policy, judge
from rcf.jit import entry, kernel
from rcf.memory import Size, memory_at
from rcf.pointer import block_at, keep_alive
from rcf.run import longest
from rcf.smooth import smooth
from rcf.state import F64, HEADER, I64, RECORDS, Int
from rcf.step import header_of


class Verdicts(NamedTuple):
    """What is said of n records; the fields of `rcf.Judgements` but the score."""

    threshold: F64
    grade: F64
    confidence: F64
    held_back: I64
    since: F64
    started: F64


@kernel
def fill_window(window: F64, memory: Memory, before: Int, values: F64) -> None:
    """Write the last records of a series, then those that follow. float64 (…, features)."""
    features = window.shape[1]
    for at in range(before):
        for i in range(features):
            window[at, i] = memory.rows[at * features + i]
    for row in range(len(values)):
        for i in range(features):
            window[before + row, i] = values[row, i]


@kernel
def keep_newest(window: F64, clock: F64, memory: Memory, before: Int, count: Int) -> None:
    """Keep the last `before` of a window with `count` records behind its front."""
    features = window.shape[1]
    for at in range(before):
        for i in range(features):
            memory.rows[at * features + i] = window[count + at, i]
        memory.clock[at] = clock[count + at]


@entry
def mean_rows(
    blocks: I64,
    memories: I64,
    size: Size,
    width: Int,
    starts: I64,
    values: F64,
    means: F64,
    seen: I64,
) -> None:
    """Trailing means of records, each together with those of its series before it.

    Args:
        blocks: int64 (segments,), addresses of the blocks of the series' first forests.
        memories: int64 (segments,), addresses of their memories.
        size: That of the memories.
        width: Records a mean; at most one more than are kept.
        starts: int64 (segments + 1,), where the records of each begin, and their number.
        values: float64 (n, features).
        means: float64 (n, features), out.
        seen: int64 (segments,), out: records of each series before these.
    """
    window = np.empty((size.before + longest(starts), size.features))
    for part in range(len(blocks)):
        seen[part] = header_of(block_at(blocks[part], HEADER * 8))[RECORDS]
        start, stop = starts[part], starts[part + 1]
        fill_window(window, memory_at(memories[part], size), size.before, values[start:stop])
        smooth(window, size.before, width, seen[part], means[start:stop])
    keep_alive(values)


@kernel
def warm_up(verdicts: Verdicts, row: Int) -> None:
    """Say nothing of a record without a score."""
    verdicts.threshold[row] = verdicts.grade[row] = verdicts.confidence[row] = np.nan
    verdicts.since[row] = verdicts.started[row] = np.nan
    verdicts.held_back[row] = NOTHING


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
    scores: F64,
    verdicts: Verdicts,
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
        scores: float64 (n,), out: the larger of the two.
        verdicts: Out.
    """
    bar, before, most = policy.bar, size.before, longest(starts)
    window, clock = np.empty((before + most, size.features)), np.empty(before + most)
    for part in range(len(memories)):
        memory, start, stop = memory_at(memories[part], size), starts[part], starts[part + 1]
        fill_window(window, memory, before, values[start:stop])
        for at in range(before):
            clock[at] = memory.clock[at]
        for row in range(start, stop):
            at, number = before + row - start, seen[part] + row - start
            clock[at] = times[row] if len(times) > 0 else float(number)
            point, mean = views[0, row], views[len(views) - 1, row]
            raw = mean if mean > point else point
            scores[row] = raw
            if np.isnan(raw):
                warm_up(verdicts, row)
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
                )
                verdicts.threshold[row] = (found[0] - bar.offset) / bar.scale
                verdicts.grade[row] = found[1]
                verdicts.confidence[row] = found[2]
                verdicts.held_back[row] = found[3]
                verdicts.since[row] = found[4]
                verdicts.started[row] = found[5]
            for i in range(size.features):
                flat.observe(memory.still, flat.WORDS * i, window[at, i])
        keep_newest(window, clock, memory, before, stop - start)
