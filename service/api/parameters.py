"""Parameters that several resources share."""

import math
import re
from datetime import datetime, tzinfo
from typing import Annotated

from fastapi import Path, Request
from fastapi.routing import APIRoute

from service.api.errors import invalid_parameter

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"

StreamName = Annotated[
    str,
    Path(
        pattern=NAME_PATTERN,
        description="1 to 100 letters, digits, `.`, `_`, `-`; a letter or digit first.",
        examples=["machines"],
    ),
]

# A `+` that was not escaped in a query string arrives as a space.
_LOST_PLUS = re.compile(r"(\d\d:\d\d(?::\d\d(?:\.\d+)?)?) (\d\d:?\d\d)$")
_MILLISECONDS_FROM = 1e11
_LATEST_MS = 253_402_300_799_999  # the end of the year 9999
_EARLIEST_MS = -62_135_596_800_000  # the start of the year 1
_ALLOWED = (
    "ISO 8601 such as 2026-01-31T12:00:00Z (of the stream's zone when no offset is given), or "
    "seconds since 1970 (milliseconds from 1e11 on)"
)


async def only_known(request: Request) -> None:
    """Refuse query parameters that an operation does not have: a typo would go unnoticed.

    Raises:
        Problem: `invalid-parameter`.
    """
    route = request.scope["route"]
    if not request.url.query or not isinstance(route, APIRoute):
        return
    known = sorted(parameter.alias for parameter in route.dependant.query_params)
    for name, value in request.query_params.items():
        if name not in known:
            allowed = f"only the parameters {', '.join(known)}" if known else "no parameters"
            raise invalid_parameter(name, value, allowed)


def time_ms(field: str, text: str | None, zone: tzinfo) -> int | None:
    """A time parameter in milliseconds since 1970 UTC; None stays None.

    Without an offset it is what clocks of the zone show, as the times of records are.

    Raises:
        Problem: `invalid-parameter`.
    """
    if text is None:
        return None
    moment = _number_ms(text)
    if moment is None:
        moment = _iso_ms(text, zone)
    if moment is None or not _EARLIEST_MS <= moment <= _LATEST_MS:
        raise invalid_parameter(field, text, _ALLOWED)
    return round(moment)


def _number_ms(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    if not math.isfinite(number):
        return math.inf
    return number if abs(number) >= _MILLISECONDS_FROM else number * 1000


def _iso_ms(text: str, zone: tzinfo) -> float | None:
    try:
        moment = datetime.fromisoformat(_LOST_PLUS.sub(r"\1+\2", text.strip()))
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    return moment.timestamp() * 1000
