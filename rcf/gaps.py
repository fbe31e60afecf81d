"""Missing values: what stands in their place.

    refuse    nothing: a missing value is an error
    previous  the feature's last known value
    zero      0
    fixed     a value given for each feature
    forest    the conditional field: what the forest's trees would put there, given the rest of the
              record and the records before it (`rcf.field`)
    forecast  what the value was expected to be (`rcf.forecast`)

and, of a history that lies there as a whole, where what comes after a gap is known:

    next      the next known value
    linear    the straight line between the known values before and behind

Before the first known value `previous` says 0, and so do `forest` and `forecast` while they know
nothing. `next` behind the last known value repeats that, and so does `linear` at either end.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from rcf.arguments import as_rows_with_gaps
from rcf.errors import InvalidParameter
from rcf.state import F64

#: Methods that need nothing of what comes after.
METHODS = ("refuse", "previous", "zero", "fixed", "forest", "forecast")
#: Methods for a history.
OFFLINE = ("previous", "next", "linear", "zero", "fixed")


def fixed_values(fill: ArrayLike | None, features: int) -> F64:
    """The values of `fixed`, float64 (features,); InvalidParameter unless there is one for each."""
    allowed = f"{features} finite numbers, one for each feature"
    if fill is None:
        raise InvalidParameter("fill", fill, allowed)
    values = np.asarray(fill)
    if values.dtype.kind not in "fiu" or values.size != features:
        raise InvalidParameter("fill", fill, allowed)
    if not np.isfinite(values).all():
        raise InvalidParameter("fill", fill, allowed)
    return as_rows_with_gaps(values.reshape(1, -1), features, "fill")[0]


def filled(values: ArrayLike, features: int, method: str, *, fill: ArrayLike | None = None) -> F64:
    """A history without gaps.

    Args:
        values: (n, features), NaN where a value is missing.
        features: Values a record.
        method: One of `OFFLINE`.
        fill: (features,), the values of `fixed`.

    Returns:
        float64 (n, features), finite.

    Raises:
        InvalidParameter: The method is not one of these, or a value is infinite or too large.
    """
    if method not in OFFLINE:
        raise InvalidParameter("method", method, ", ".join(OFFLINE))
    rows = as_rows_with_gaps(values, features).copy()
    if method == "fixed":
        return np.where(np.isnan(rows), fixed_values(fill, features), rows)
    if method != "zero":
        for feature in range(features):
            _bridge(rows[:, feature], method)
    return np.nan_to_num(rows, nan=0.0)


def _bridge(column: F64, method: str) -> None:
    """Fill the gaps of one feature in place, where it has any known value."""
    known = np.flatnonzero(~np.isnan(column))
    if len(known) == 0:
        return
    at = np.arange(len(column))
    if method == "linear":
        column[:] = np.interp(at, known, column[known])
        return
    before = np.searchsorted(known, at, side="right") - 1
    if method == "next":
        column[:] = column[known[np.minimum(np.searchsorted(known, at), len(known) - 1)]]
    else:
        reached = before >= 0
        column[reached] = column[known[before[reached]]]
