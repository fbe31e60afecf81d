"""Flat JSON as posted to HTTP, a bare array, a bare number.

The fast path is one typed msgspec decode (about 0.5 µs). A record with other fields is read once
more, to keep those as they came. Only when that fails too is it read loosely, to say what is wrong.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

import msgspec

from service.adapters.codec.refusals import EMPTY, LONG, cut, show, unreadable, wrong_length
from service.engine.config import StreamConfig
from service.engine.errors import InvalidRecord
from service.engine.records import Decoded
from service.engine.times import parse_time
from service.messages.record import MEANT, PlainRecord, Record, RecordWithGaps

OBJECT, ARRAY = ord("{"), ord("[")
BLANK = b" \t\r\n"
NONE = -1


UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are no such JSON: besides its own errors, for broken UTF-8
inside a name and for too deep a nesting."""


# Made here, once: msgspec crashes when two threads are the first to ask for a type's decoder.
_decode_plain = msgspec.json.Decoder(PlainRecord).decode
_decode_open = msgspec.json.Decoder(Record).decode
_decode_gaps = msgspec.json.Decoder(RecordWithGaps).decode
_decode_gaps_array = msgspec.json.Decoder(list[float | None]).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_array = msgspec.json.Decoder(list[float]).decode
_decode_number = msgspec.json.Decoder(float).decode

READ = {
    "auto": "flat JSON, an array or a number",
    "json": "flat JSON",
    "array": "an array, or flat JSON",
    "number": "flat JSON",
    "csv": "flat JSON",
}
"""What is read here of the records of a stream with each decoder."""


class JsonDecoder:
    """Reads the JSON records of one stream."""

    def __init__(self, config: StreamConfig) -> None:
        self._features = config.features
        self._width = len(config.features)
        self._names = frozenset(config.features)
        self._arrays = config.decoder in ("auto", "array")
        self._numbers = config.decoder == "auto"
        self._gaps = config.missing != "refuse"
        self._zone = ZoneInfo(config.zone)
        self._plain = True
        self._read = READ[config.decoder]

    def __call__(self, value: bytes) -> Decoded:
        """Read one record's value; see `service.engine.ports.Decoder`."""
        others = None
        try:
            first = value[0] if value and value[0] not in BLANK else first_byte(value)
            if first == OBJECT:
                flat, others = self._flat(value)
                key, time, values = flat.key, flat.timestamp, flat.values
            else:
                key, time = None, None
                values = self._bare(value, first)
        except UNREADABLE as error:
            self._explain(value, error)
        if isinstance(values, dict):
            values = self._ordered(values)
        elif len(values) != self._width:
            wrong_length(self._features, len(values))
        return Decoded(key, None if time is None else parse_time(time, self._zone), values, others)

    def _flat(self, value: bytes) -> tuple[Record, dict[str, msgspec.Raw] | None]:
        """Read a record and its other fields, NaN where a value is missing."""
        if not self._gaps:
            return self._without_gaps(value)
        try:
            return self._without_gaps(value)
        except msgspec.ValidationError:
            flat, others = _decode_gaps(value), _others(value)
            pairs = flat.values
            known = (
                {name: nan_for(number) for name, number in pairs.items()}
                if isinstance(pairs, dict)
                else list(map(nan_for, pairs))
            )
            return Record(known, flat.key, flat.timestamp), others

    def _without_gaps(self, value: bytes) -> tuple[Record, dict[str, msgspec.Raw] | None]:
        """Read a record without gaps; which way is tried first decides only the time."""
        if self._plain:
            try:
                return _decode_plain(value), None
            except msgspec.ValidationError:  # other fields too, or none that can be read
                pass
        flat, others = _decode_open(value), _others(value)
        self._plain = others is None
        return flat, others

    def _bare(self, value: bytes, first: int) -> list[float]:
        if first == ARRAY and self._arrays:
            if self._gaps:
                return list(map(nan_for, _decode_gaps_array(value)))
            return _decode_array(value)
        if first != ARRAY and self._numbers:
            return [_decode_number(value)]
        if first == NONE:
            raise InvalidRecord("", None, EMPTY)
        unreadable(value, f"not {self._read}, which the stream's decoder reads")

    def _ordered(self, values: dict[str, float]) -> list[float]:
        if values.keys() != self._names:
            if self._gaps and values.keys() <= self._names:
                return [values.get(name, math.nan) for name in self._features]
            self._wrong_names(values)
        return [values[name] for name in self._features]

    def _wrong_names(self, values: dict[str, Any]) -> NoReturn:
        for name in values:
            if name not in self._names:
                known = ", ".join(self._features)
                raise InvalidRecord(
                    f"values.{cut(name)}", None, cut(f"no such feature; there are: {known}", LONG)
                )
        missing = next(name for name in self._features if name not in values)
        raise InvalidRecord(f"values.{missing}", None, "missing")

    def _explain(self, value: bytes, error: Exception) -> NoReturn:
        """Read a refused record loosely and raise what is wrong with it."""
        try:
            loose = _decode_loosely(value)
        except (msgspec.MsgspecError, UnicodeDecodeError) as broken:
            if first_byte(value) == NONE:
                raise InvalidRecord("", None, EMPTY) from None
            unreadable(value, f"not JSON: {broken}")
        except RecursionError:
            raise InvalidRecord("", None, "nested too deeply") from None
        values = loose
        if isinstance(loose, dict):
            if "values" not in loose:
                raise InvalidRecord("values", None, "missing")
            self._explain_names(loose)
            values = loose["values"]
        self._explain_values(values)
        raise InvalidRecord("", show(loose), str(error))

    def _explain_names(self, loose: dict[str, Any]) -> None:
        if not isinstance(loose.get("key"), str | None):
            raise InvalidRecord("key", show(loose["key"]), "not a text")
        time = loose.get("timestamp")
        if isinstance(time, bool) or not isinstance(time, str | int | float | None):
            raise InvalidRecord("timestamp", show(time), "neither a text nor a number")

    def _explain_values(self, values: object) -> None:
        if isinstance(values, dict):
            if not values.keys() <= self._names:
                self._wrong_names(values)
            pairs = list(values.items())
        elif isinstance(values, list):
            names = [*self._features, *map(str, range(self._width, len(values)))]
            pairs = list(zip(names, values, strict=False))
        elif _is_number(values):
            pairs = [(self._features[0], values)]
        else:
            raise InvalidRecord("values", show(values), "neither an array nor an object of numbers")
        for name, number in pairs:
            if not (_is_number(number) or (self._gaps and number is None)):
                raise InvalidRecord(f"values.{cut(name)}", show(number), "not a finite number")


def float_or_decimal(text: str) -> float | Decimal:
    """Return a number as a float, or as a Decimal where it is too large for one."""
    number = float(text)
    return number if math.isfinite(number) else Decimal(text)


# msgspec itself would name no place of a number too large for a float.
_decode_loosely = msgspec.json.Decoder(float_hook=float_or_decimal).decode


def nan_for(number: float | None) -> float:
    """Return the number, NaN for one that is missing."""
    return math.nan if number is None else number


def first_byte(value: bytes) -> int:
    """Return the first byte that is not blank; NONE where there is none."""
    text = value.lstrip(BLANK)
    return text[0] if text else NONE


def _others(value: bytes) -> dict[str, msgspec.Raw] | None:
    """Return the fields of a flat record that mean nothing here, as they came.

    Raises:
        UNREADABLE: a field is no UTF-8, which is looked over where fields are skipped.
    """
    if not value.isascii():
        value.decode()
    if b"\n" in value or b"\r" in value:  # between fields; a result stands on one line
        value = msgspec.json.format(value, indent=-1)
    fields = _decode_fields(value)
    for name in MEANT:
        fields.pop(name, None)
    return fields or None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
