"""The input: flat JSON, as HTTP and producers post it. The codec reads with these types."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

MEANT = ("values", "key", "timestamp")
"""The fields that mean something here; all others are carried along."""

_MEANING = "One finite number per feature: in order, or by name. At most 3.4e38 in magnitude."
Values = Annotated[
    Annotated[list[float], Meta(extra_json_schema={"minItems": 1})] | dict[str, float],
    Meta(description=_MEANING),
]
ValuesWithGaps = Annotated[
    Annotated[list[float | None], Meta(extra_json_schema={"minItems": 1})]
    | dict[str, float | None],
    Meta(
        description=f"{_MEANING} Null, or without its name, where one is missing and the stream's "
        "`missing` allows it."
    ),
]
Key = Annotated[
    str | None,
    Meta(description="Names the series. Each has a detector of its own. A key of the log wins."),
]
Timestamp = Annotated[
    str | int | float | None,
    Meta(
        description="ISO 8601 (UTC when no offset is given), or seconds since 1970 (milliseconds "
        "from 1e11 on); the time of arrival when left out."
    ),
]


class Record(msgspec.Struct, gc=False):
    """One record. Other fields are carried along into the result's `fields`."""

    values: Values
    key: Key = None
    timestamp: Timestamp = None


class PlainRecord(Record, gc=False, forbid_unknown_fields=True):
    """A record without other fields: most are, and telling so costs nothing while decoding."""


class RecordWithGaps(msgspec.Struct, gc=False):
    """One record. Other fields are carried along into the result's `fields`."""

    values: ValuesWithGaps
    key: Key = None
    timestamp: Timestamp = None
