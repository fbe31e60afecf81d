"""What is said of a record that cannot be read: the field, what stands there, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import msgspec

from service.engine.errors import InvalidRecord

SHORT = 100
LONG = 300
EMPTY = "empty: a tombstone, or a record without a value"


def wrong_length(features: Sequence[str], length: int) -> NoReturn:
    """Refuse a record with too many values, or too few."""
    wanted = f"{len(features)} ({', '.join(features)})"
    reason = f"has {length} numbers; the stream has {wanted}"
    raise InvalidRecord("values", str(length), cut(reason, LONG))


def unreadable(value: bytes, reason: str) -> NoReturn:
    """Refuse bytes of which nothing can be told."""
    raise InvalidRecord("", cut(value[: SHORT * 4].decode("utf-8", "replace")), reason)


def show(value: object) -> str:
    """Show a value as JSON, shortened."""
    return cut(msgspec.json.encode(value).decode())


def cut(text: str, limit: int = SHORT) -> str:
    """Shorten a text."""
    return text if len(text) <= limit else f"{text[:limit]}…"
