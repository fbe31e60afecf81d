"""Checks of what callers hand over; each names the field, the value and what is allowed."""

from __future__ import annotations

from typing import NoReturn

import numpy as np
from numpy.typing import ArrayLike

from rcf.errors import InvalidParameter
from rcf.state import F64, I64

#: Largest magnitude a value may have: the largest finite float32.
LARGEST = float(np.finfo(np.float32).max)

_FLOAT64 = np.dtype(np.float64)


def whole(field: str, value: object, low: int, high: int) -> int:
    """`value` as int; InvalidParameter unless it is a whole number from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise InvalidParameter(field, value, f"a whole number from {low} to {high}")
    if not low <= value <= high:
        raise InvalidParameter(field, value, f"a whole number from {low} to {high}")
    return int(value)


def real(field: str, value: object, low: float, high: float) -> float:
    """`value` as float; InvalidParameter unless it is a number from `low` to `high`."""
    allowed = f"a number from {low:g} to {high:g}"
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise InvalidParameter(field, value, allowed)
    if not low <= value <= high:
        raise InvalidParameter(field, value, allowed)
    return float(value)


def as_rows(values: ArrayLike, features: int, field: str = "values") -> F64:
    """Records as float64 (n, features), C order; values are not looked at.

    Args:
        values: (n, features); for one feature also (n,); for several also one record (features,).
        features: Values a record.
        field: What the caller calls them.

    Raises:
        InvalidParameter: Wrong shape or type.
    """
    if type(values) is np.ndarray and values.dtype is _FLOAT64 and values.flags.carray:
        # What most callers hand over, without the checks that one record's time would notice.
        # What cannot be written is of another type to compiled code, which is there for this one.
        shape = values.shape
        if len(shape) == 2 and shape[1] == features:
            return values
        if len(shape) == 1 and (features == 1 or shape[0] == features):
            return values.reshape(-1, features)
    allowed = f"numbers in the shape (records, {features})"
    try:
        rows = np.asarray(values)
        if rows.dtype.kind not in "fiub" or rows.dtype.kind == "b":
            raise InvalidParameter(field, f"of type {rows.dtype}", allowed)
        rows = np.require(np.atleast_1d(rows), np.float64, ["C", "A", "W"])
    except (TypeError, ValueError) as error:
        if isinstance(error, InvalidParameter):
            raise
        raise InvalidParameter(field, values, allowed) from error
    if rows.ndim == 1:
        rows = rows.reshape(-1, 1) if features == 1 else rows.reshape(1, -1)
    if rows.ndim != 2 or rows.shape[1] != features:
        raise InvalidParameter(field, f"of shape {np.shape(values)}", allowed)
    return rows


def as_times(times: ArrayLike, count: int) -> F64:
    """Times of records as float64 (count,).

    Raises:
        InvalidParameter: Wrong shape or type, or a time that is not finite.
    """
    allowed = f"finite numbers in the shape ({count},)"
    found = np.asarray(times)
    if found.dtype.kind not in "fiu" or found.shape != (count,):
        raise InvalidParameter("times", f"{found.dtype} of shape {found.shape}", allowed)
    found = found.astype(np.float64)
    if not np.isfinite(found).all():
        raise InvalidParameter("times", "not all finite", allowed)
    return found


def as_starts(starts: ArrayLike, parts: int, count: int) -> I64:
    """Where the records of each of so many parts begin, and their number, as int64 (parts + 1,).

    Raises:
        InvalidParameter: Wrong shape or type, or a part without records.
    """
    allowed = f"{parts + 1} whole numbers from 0 to {count}, each above the one before"
    found = np.asarray(starts)
    if found.dtype.kind not in "iu" or found.shape != (parts + 1,):
        raise InvalidParameter("starts", f"{found.dtype} of shape {found.shape}", allowed)
    found = found.astype(np.int64)
    if found[0] != 0 or found[-1] != count or (np.diff(found) < 1).any():
        raise InvalidParameter("starts", found.tolist(), allowed)
    return found


def as_rows_with_gaps(values: ArrayLike, features: int, field: str = "values") -> F64:
    """`as_rows`, of values that are finite float32 numbers, or NaN where they are missing."""
    rows = as_rows(values, features, field)
    bad = np.flatnonzero(np.abs(rows) > LARGEST)
    if len(bad):
        refuse_value(rows, int(bad[0]), field)
    return rows


def refuse_invalid(rows: F64, field: str = "values") -> None:
    """InvalidParameter for the first value of records (n, features) that is no finite float32."""
    valid = np.abs(rows) <= LARGEST  # false for NaN too
    if not valid.all():
        refuse_value(rows, int(np.argmin(valid)), field)


def refuse_value(rows: F64, place: int, field: str = "values") -> NoReturn:
    """InvalidParameter for the value at a flat index of records (n, features)."""
    row, feature = divmod(place, rows.shape[1])
    raise InvalidParameter(
        f"{field}[{row}][{feature}]", float(rows[row, feature]), "a finite number within ±3.4e38"
    )
