"""What of a record travels on with its result, and how much of it.

Law: a function of the record alone, so that a repetition carries the same bytes. What fits is taken
in the record's order; what does not fit is left out whole and counted. The bound keeps one record
with a document in it from filling the results' topic and the memory that readers wait in.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import UNSET, Raw, UnsetType

from service.engine.records import Headers

MOST_BYTES = 4096
"""Bytes of all other fields of a record as one JSON object; and bytes of all its headers, names and
values together."""

_encode = msgspec.json.Encoder().encode
Count = int | UnsetType


def carried_fields(others: Mapping[str, Raw]) -> tuple[Raw | UnsetType, Count]:
    """Return the fields that are carried as one JSON object, and how many are not."""
    whole = _encode(others)
    if len(whole) <= MOST_BYTES:
        return Raw(whole), UNSET
    kept: dict[str, Raw] = {}
    size = 2  # the braces
    for name, value in others.items():
        more = len(_encode(name)) + len(bytes(value)) + 2  # a colon and a comma
        if size + more <= MOST_BYTES:
            kept[name] = value
            size += more
    return Raw(_encode(kept)) if kept else UNSET, len(others) - len(kept)


def carried_headers(headers: Headers) -> tuple[Headers, Count]:
    """Return the headers that are carried, and how many are not."""
    if sum(4 * len(name) + len(value or b"") for name, value in headers) <= MOST_BYTES:
        return headers, UNSET  # whatever the names are as UTF-8
    kept, size = [], 0
    for header in headers:
        more = size_of_header(header)
        if size + more <= MOST_BYTES:
            kept.append(header)
            size += more
    left_out = len(headers) - len(kept)
    return tuple(kept), left_out or UNSET


def size_of_header(header: tuple[str, bytes | None]) -> int:
    """Return the bytes of a header's name and value."""
    name, value = header
    return len(name.encode()) + len(value or b"")
