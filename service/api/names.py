"""Names that stand twice in a JSON object: of two values readers keep the last, and tell nobody."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from service.api.problems import Problem, shorten

if TYPE_CHECKING:
    from service.api.formats import Row

_ONCE = (b'"values"', b'"key"')
"""What a record says once. Names of features are not looked at: that would cost a second read."""


class _Repeated(Exception):  # noqa: N818  (what happened)
    pass


def refuse_repeated(body: bytes, place: str = "") -> None:
    """Refuse a body that says a name twice in one object, however deep; others are not judged.

    Raises:
        Problem: `malformed-body`.
    """
    try:
        json.loads(body, object_pairs_hook=_each_once)
    except _Repeated as repeated:
        (name,) = repeated.args
        said = f"{place}the name {shorten(name)!r} stands twice in one object"
        raise Problem("malformed-body", said, field=shorten(name)) from None
    except (ValueError, RecursionError):  # no JSON: whoever decodes it says why
        return


def refuse_repeated_in(body: bytes, rows: Sequence[Row]) -> None:
    """Likewise of a body of records, where bytes show that a name may stand there twice.

    Counting costs 0.1 to 0.3 µs a record, reading strictly several: only what says a name more
    often than its records may is read so.

    Raises:
        Problem: `malformed-body`.
    """
    if body.count(b'"records"') > 1:
        refuse_repeated(body)
    for name in _ONCE:
        if body.count(name) <= len(rows):
            continue
        for row in rows:
            if row.value.count(name) > 1:
                refuse_repeated(row.value, f"{row.place}: ")


def _each_once(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise _Repeated(name)
        seen.add(name)
