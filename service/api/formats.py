"""Record bodies taken apart: JSON, NDJSON and CSV become the bytes that the log keeps.

Nothing is judged here except the envelope; whether a record is valid is the engine's decoder's
business, so HTTP refuses exactly what scoring would refuse. A CSV row becomes a flat JSON record; a
cell that is no number stays text, and the decoder names it.
"""

import csv
import io
import math
from collections.abc import Callable, Collection
from typing import NamedTuple

import msgspec

from service.api.names import refuse_repeated_in
from service.api.problems import Problem, shorten
from service.engine.times import is_bare_date, time_column, why_ambiguous

JSON = "application/json"
NDJSON = (
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/jsonlines",
)
CSV = ("text/csv", "application/csv")
MEDIA_TYPES = (JSON, *NDJSON, *CSV)

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are no such JSON: besides its own errors, for broken UTF-8
inside a name and for too deep a nesting."""

KEY_COLUMN = "key"


class Row(NamedTuple):
    """One record of a body: its number from 1, its line in the body, its bytes."""

    number: int
    line: int | None
    value: bytes

    @property
    def place(self) -> str:
        """Where it stands in the body, for a message."""
        return f"row {self.number}" + ("" if self.line is None else f" (line {self.line})")


class _Envelope(msgspec.Struct):
    records: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET


class _Batch(msgspec.Struct, forbid_unknown_fields=True):
    records: list[msgspec.Raw]


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_batch = msgspec.json.Decoder(_Batch).decode
_encode = msgspec.json.Encoder().encode


def split(media_type: str, body: bytes, features: Collection[str] = ()) -> list[Row]:
    """The records of a body, in order; at least one.

    Args:
        media_type: One of MEDIA_TYPES.
        body: The whole of it.
        features: Of the stream, where it is there: a column of such a name holds no times.

    Raises:
        Problem: `malformed-body`, when the body as a whole cannot be read, holds no record, or says
            a name twice where that can be told cheaply; `invalid-records`, when a cell of times in
            CSV may be a date as well as a number.
    """
    if media_type in CSV:
        rows = _split_csv(body, features)
    else:
        rows = _split_lines(body) if media_type in NDJSON else _split_json(body)
    if not rows:
        raise Problem("malformed-body", "the body holds no records; at least one is needed")
    if media_type not in CSV:
        refuse_repeated_in(body, rows)
    return rows


def _split_json(body: bytes) -> list[Row]:
    if not body.strip():
        return []
    try:
        records = _records(body)
    except UNREADABLE as error:
        raise Problem("malformed-body", _json_advice(error)) from error
    if records is None:
        return [Row(1, None, body)]
    return [Row(number, None, bytes(raw)) for number, raw in enumerate(records, 1)]


def _records(body: bytes) -> list[msgspec.Raw] | None:
    """The records of a batch; None where the body is one record.

    A key or a value beside `records` would belong to none of them, and be lost without a word.
    """
    try:
        return _decode_batch(body).records
    except msgspec.ValidationError:
        if isinstance(_decode_envelope(body).records, msgspec.UnsetType):
            return None
        raise


def _json_advice(error: Exception) -> str:
    hint = 'expected one record {"values": [...]} or {"records": [...]}'
    if isinstance(error, msgspec.ValidationError):
        return f"{error}; {hint}"
    if isinstance(error, RecursionError):
        return f"nested too deeply; {hint}"
    return f"not JSON: {error}; NaN and Infinity are no JSON numbers; {hint}"


def _split_lines(body: bytes) -> list[Row]:
    rows: list[Row] = []
    for line, text in enumerate(body.split(b"\n"), 1):
        value = text.strip()
        if value:
            rows.append(Row(len(rows) + 1, line, value))
    return rows


def _split_csv(body: bytes, features: Collection[str]) -> list[Row]:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise Problem("malformed-body", f"line {line}: not UTF-8: {error.reason}") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[Row] = []
    time: int | None = None
    to_value: Callable[[list[str]], bytes] | None = None
    try:
        for cells in reader:
            if not cells:
                continue
            if to_value is None:
                names = _header(cells, features)
                time = time_column(names, features)
                to_value = _row_encoder(names, _key_column(names, features), time)
                if names:
                    continue
            if time is not None and time < len(cells) and is_bare_date(cells[time].strip()):
                raise _ambiguous(len(rows) + 1, reader.line_num, cells[time].strip())
            rows.append(Row(len(rows) + 1, reader.line_num, to_value(cells)))
    except csv.Error as error:
        raise Problem("malformed-body", f"line {reader.line_num}: not CSV: {error}") from error
    return rows


def _header(cells: list[str], features: Collection[str]) -> list[str]:
    """Names; none when the first line holds numbers alone, which are data.

    Data with a key or a time in front has numbers among texts: taken for names, they would be lost.
    """
    names = [cell.strip() for cell in cells]
    numbers = [name for name in names if _number(name) is not None]
    if len(numbers) == len(names):
        return []
    strange = [name for name in numbers if name not in features]
    if strange:
        raise Problem(
            "malformed-body",
            f"line 1 looks like data: {shorten(strange[0])} is a number; allowed: a header of "
            "names, or values alone in the order of the features",
        )
    if len(set(names)) < len(names):
        raise Problem("malformed-body", "line 1: a column name stands there twice")
    return names


def _key_column(names: list[str], features: Collection[str]) -> int | None:
    """Which column holds the keys; as of times, in any case of letters, and no feature is one."""
    for index, name in enumerate(names):
        if name.lower() == KEY_COLUMN and name not in features:
            return index
    return None


def _ambiguous(number: int, line: int, cell: str) -> Problem:
    reason = why_ambiguous(cell)
    row = {"row": number, "line": line, "field": "timestamp", "value": cell, "reason": reason}
    place = f"row {number} (line {line}), timestamp {cell}"
    return Problem("invalid-records", f"{place}: {reason}", rows=[row])


def _row_encoder(
    names: list[str], key: int | None, time: int | None
) -> Callable[[list[str]], bytes]:
    def bare(cells: list[str]) -> bytes:
        return _encode({"values": [_value(cell) for cell in cells]})

    def named(cells: list[str]) -> bytes:
        if len(cells) != len(names):
            return bare(cells)  # the decoder then says how many values there are and should be
        values: dict[str, float | str | None] = {}
        record: dict[str, object] = {"values": values}
        for index, (name, cell) in enumerate(zip(names, cells, strict=True)):
            if index == key:
                record["key"] = cell
            elif index == time:
                record["timestamp"] = _cell(cell)
            else:
                values[name] = _value(cell)
        return _encode(record)

    return named if names else bare


def _value(cell: str) -> float | str | None:
    """What a cell says of a value: nothing where it is empty."""
    return _cell(cell) if cell.strip() else None


def _cell(cell: str) -> float | str:
    number = _number(cell)
    return cell if number is None or not math.isfinite(number) else number


def _number(cell: str) -> float | None:
    if "_" in cell:  # Python reads 1_000 as a number; nobody writes it into CSV on purpose
        return None
    try:
        return float(cell)
    except ValueError:
        return None
