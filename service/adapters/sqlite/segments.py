"""Many records in one row: MessagePack arrays end to end.

A row per record would cost SQLite about 3 µs each, and Python's sqlite3 hands the interpreter
lock over at every row, which beside a busy thread costs up to 5 ms a time. A row per batch
costs 0.3 µs a record. Small segments grow before another begins, so that single appends do not
leave a row each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import msgspec

from service.engine.records import DeadLetter, Record, Result

T = TypeVar("T")
SMALL = 16_384
"""A segment of fewer bytes grows; above, another begins."""


class Segments(Generic[T]):
    """Writes and reads items of one type."""

    def __init__(self, kind: type[T]) -> None:
        self._encoder = msgspec.msgpack.Encoder()
        of_items: Any = list[kind]  # type: ignore[valid-type]  # a type made at run time
        self._decoder: msgspec.msgpack.Decoder[list[T]] = msgspec.msgpack.Decoder(of_items)

    def encode(self, items: Sequence[T]) -> bytes:
        """Write items; the bytes of two segments end to end are a segment too."""
        encoded = self._encoder.encode(list(items))
        return encoded[_header_length(encoded[0]) :]

    def decode(self, body: bytes, count: int) -> list[T]:
        """Read what `encode` wrote for `count` items."""
        return self._decoder.decode(b"\xdd" + count.to_bytes(4, "big") + body)


def _header_length(first: int) -> int:
    """Return the length of a MessagePack array's header from its first byte."""
    return {0xDC: 3, 0xDD: 5}.get(first, 1)


RECORDS = Segments(Record)
RESULTS = Segments(Result)
DEAD_LETTERS = Segments(DeadLetter)
