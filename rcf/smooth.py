"""The trailing mean of a series, and since when its newest records differ from those before."""

from __future__ import annotations

import numpy as np

from rcf.arguments import LARGEST
from rcf.jit import kernel
from rcf.state import F64, Int


@kernel
def smooth(window: F64, before: Int, width: Int, seen: Int, means: F64) -> None:
    """Mean of each record and those before it, `width` in all where there are so many.

    Summed afresh for each record, so it does not depend on where a batch began.

    Args:
        window: float64 (before + n or more, features), the last records of the series, then n more.
        before: Records in the window's front.
        width: Records a mean.
        seen: Records of the series before those n.
        means: float64 (n, features), out.
    """
    for row in range(len(means)):
        last = before + row
        length = min(width, seen + row + 1)
        for i in range(window.shape[1]):
            total = 0.0
            # Each is divided first, because a sum of large values may overflow.
            for at in range(last - length + 1, last + 1):
                total += window[at, i] / length
            means[row, i] = min(max(total, -LARGEST), LARGEST)  # rounding may lead beyond


@kernel
def changed_since(window: F64, last: Int, length: Int) -> Int:
    """How many records before `window[last]` its change began, judged by the last `length` records.

    The records are parted where the means of the two parts differ most against the spread inside
    them, summed over features: the split of largest likelihood for one change of mean.

    Args:
        window: float64 (records, features).
        last: The newest record looked at.
        length: Records looked at, at least 1.

    Returns:
        From 0, the newest record alone, to ``length - 2``; 0 if nothing changed.
    """
    best, found = 0.0, 0
    features = window.shape[1]
    for newer in range(1, length):
        gain = 0.0
        for i in range(features):
            gain += parted(window[last - length + 1 : last + 1, i], newer)
        if gain > best:
            best, found = gain, newer - 1
    return found


@kernel
def parted(values: F64, newer: Int) -> float:
    """Share of the spread of values that goes when their last `newer` ones get a mean of their own.

    0 to 1; 0 for values without spread.
    """
    count = len(values)
    low, high = np.min(values), np.max(values)
    if not high > low:
        return 0.0
    old = new = squares = 0.0
    for at in range(count):
        value = values[at] / (high - low) - low / (high - low)
        squares += value * value
        if at < count - newer:
            old += value
        else:
            new += value
    average = (old + new) / count
    spread = squares - count * average * average
    gap = new / newer - old / (count - newer)
    return gap * gap * newer * (count - newer) / count / spread if spread > 0.0 else 0.0
