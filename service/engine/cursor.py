"""A reader's place in all partitions of a stream, as text: next offsets, joined by commas."""

from __future__ import annotations

from service.engine.errors import InvalidParameter

ALLOWED = "the text that an earlier answer of the same stream gave"


def encode_cursor(offsets: list[int]) -> str:
    """Write the next offset of every partition."""
    return ",".join(map(str, offsets))


def decode_cursor(text: str, partitions: int, field: str = "cursor") -> list[int]:
    """Read what `encode_cursor` wrote.

    Raises:
        InvalidParameter: the text is no cursor of a stream with so many partitions.
    """
    parts = text.split(",")
    if len(parts) != partitions or not all(
        part.isascii() and part.isdigit() and len(part) <= 18 for part in parts
    ):
        raise InvalidParameter(field, text, ALLOWED)
    return [int(part) for part in parts]
