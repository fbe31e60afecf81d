"""Timestamps: milliseconds since 1970 UTC inside, RFC 3339 outside."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from service.engine.errors import InvalidRecord

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST_MS = -62_135_596_800_000
"""0001-01-01T00:00:00.000Z, the first moment that RFC 3339 writes and Python knows."""
LATEST_MS = 253_402_300_799_999
"""9999-12-31T23:59:59.999Z."""
LEAST_MS = 1e11
"""Numbers from here on are milliseconds, not seconds."""
ALLOWED = (
    "RFC 3339 text such as 2026-01-31T12:00:00Z (UTC when no offset is given), or seconds since "
    "1970 (milliseconds from 1e11 on)"
)
TIME_NAMES = ("timestamp", "time", "datetime", "date", "ts", "t")
"""What a column of times is called, in any case of letters."""
_BARE_DATE = re.compile(
    r"(?:19[0-9]{2}|20[0-9]{2}|2100)(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])", re.ASCII
)
_MILLISECONDS = tuple(f".{millisecond:03d}Z" for millisecond in range(1000))


def time_column(names: Sequence[str], features: Collection[str] = ()) -> int | None:
    """Return which column of a table holds the times: `timestamp`, or the first of TIME_NAMES.

    What a stream knows as one of its `features` is none: `t` may be a temperature.
    """
    found = None
    for index, name in enumerate(names):
        if name in features or name.lower() not in TIME_NAMES:
            continue
        if name.lower() == TIME_NAMES[0]:
            return index
        found = index if found is None else found
    return found


def is_bare_date(text: str) -> bool:
    """Tell whether digits alone read as a date, as 20260131 does; as seconds they mean 1970."""
    return len(text) == 8 and _BARE_DATE.fullmatch(text) is not None


def why_ambiguous(bare_date: str) -> str:
    """Say what a bare date may mean, and how each of it is said."""
    year, month, day = bare_date[:4], bare_date[4:6], bare_date[6:]
    return (
        f"a date, or seconds since 1970? allowed: {year}-{month}-{day} for the date, "
        f"{bare_date}.0 for the seconds"
    )


def format_ms(timestamp_ms: int) -> str:
    """Write milliseconds since 1970 as RFC 3339 in UTC with milliseconds.

    Moments outside the years 1 to 9999 are moved to the nearest one inside.
    """
    try:
        return _format_second(timestamp_ms // 1000) + _MILLISECONDS[timestamp_ms % 1000]
    except OverflowError:
        return format_ms(EARLIEST_MS if timestamp_ms < 0 else LATEST_MS)


def is_zone(name: str) -> bool:
    """Tell whether there is a time zone of this name."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def parse_time(value: str | float, zone: tzinfo = UTC) -> int:
    """Read RFC 3339 text, or a number of seconds or milliseconds since 1970, as milliseconds.

    Text without an offset is what clocks of the zone show; where they showed it twice, because
    they were put back, the first time counts. Numbers from 1e11 on are milliseconds (as seconds
    they would lie beyond the year 5000), smaller ones seconds.

    Raises:
        InvalidRecord: it is neither, or lies outside the years 1 to 9999.
    """
    try:
        timestamp_ms = _parse_text(value, zone) if isinstance(value, str) else _parse_number(value)
    except (ValueError, OverflowError):
        raise InvalidRecord("timestamp", str(value)[:100], f"not a time; use {ALLOWED}") from None
    if not EARLIEST_MS <= timestamp_ms <= LATEST_MS:
        raise InvalidRecord("timestamp", str(value)[:100], "outside the years 1 to 9999")
    return timestamp_ms


def _parse_number(value: float) -> int:
    return round(value if abs(value) >= LEAST_MS else value * 1000)


def _parse_text(text: str, zone: tzinfo) -> int:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    return (moment - EPOCH) // timedelta(milliseconds=1)


@lru_cache(maxsize=4096)
def _format_second(second: int) -> str:
    return (EPOCH + timedelta(seconds=second)).isoformat()[:19]
