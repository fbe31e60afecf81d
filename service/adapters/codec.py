"""Bytes to values: flat JSON as posted to HTTP, a bare array, a bare number.

The fast path is one typed msgspec decode (about 0.5 µs). Only when it fails is the record
read a second time, loosely, to say what is wrong with it.
"""

from __future__ import annotations

from typing import Any, NoReturn

import msgspec

from service.engine.config import StreamConfig
from service.engine.errors import InvalidRecord
from service.engine.records import Decoded
from service.engine.times import parse_time

OBJECT, ARRAY = ord("{"), ord("[")
BLANK = b" \t\r\n"
SHORT = 100


UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are no such JSON: besides its own errors, for broken UTF-8
inside a name and for too deep a nesting."""


class _Flat(msgspec.Struct, gc=False):
    values: list[float] | dict[str, float]
    key: str | None = None
    timestamp: str | int | float | None = None


# Made here, once: msgspec crashes when two threads are the first to ask for a type's decoder.
_decode_flat = msgspec.json.Decoder(_Flat).decode
_decode_array = msgspec.json.Decoder(list[float]).decode
_decode_number = msgspec.json.Decoder(float).decode


class JsonDecoder:
    """Reads the JSON records of one stream."""

    def __init__(self, config: StreamConfig) -> None:
        self._features = config.features
        self._width = len(config.features)
        self._names = frozenset(config.features)

    def __call__(self, value: bytes) -> Decoded:
        """Read one record's value; see `service.engine.ports.Decoder`."""
        try:
            first = value[0] if value and value[0] not in BLANK else _first(value)
            if first == OBJECT:
                flat = _decode_flat(value)
                key, time, values = flat.key, flat.timestamp, flat.values
            else:
                key, time = None, None
                values = _decode_array(value) if first == ARRAY else [_decode_number(value)]
        except UNREADABLE as error:
            self._explain(value, error)
        if isinstance(values, dict):
            values = self._ordered(values)
        elif len(values) != self._width:
            self._wrong_length(len(values))
        return Decoded(key, None if time is None else parse_time(time), values)

    def _ordered(self, values: dict[str, float]) -> list[float]:
        if values.keys() != self._names:
            self._wrong_names(values)
        return [values[name] for name in self._features]

    def _wrong_length(self, length: int) -> NoReturn:
        wanted = f"{self._width} ({', '.join(self._features)})"
        reason = f"has {length} numbers; the stream has {wanted}"
        raise InvalidRecord("values", str(length), _cut(reason, 300))

    def _wrong_names(self, values: dict[str, Any]) -> NoReturn:
        for name in values:
            if name not in self._names:
                known = ", ".join(self._features)
                raise InvalidRecord(
                    f"values.{_cut(name)}", None, _cut(f"no such feature; there are: {known}", 300)
                )
        missing = next(name for name in self._features if name not in values)
        raise InvalidRecord(f"values.{missing}", None, "missing")

    def _explain(self, value: bytes, error: Exception) -> NoReturn:
        """Read a refused record loosely and raise what is wrong with it."""
        try:
            loose = msgspec.json.decode(value)
        except (msgspec.MsgspecError, UnicodeDecodeError) as broken:
            text = _cut(value[: SHORT * 4].decode("utf-8", "replace"))
            raise InvalidRecord("", text, f"not JSON: {broken}") from None
        except RecursionError:
            raise InvalidRecord("", None, "nested too deeply") from None
        values = loose
        if isinstance(loose, dict):
            if "values" not in loose:
                raise InvalidRecord("values", None, "missing")
            self._explain_names(loose)
            values = loose["values"]
        self._explain_values(values)
        raise InvalidRecord("", _show(loose), str(error))

    def _explain_names(self, loose: dict[str, Any]) -> None:
        if not isinstance(loose.get("key"), str | None):
            raise InvalidRecord("key", _show(loose["key"]), "not a text")
        time = loose.get("timestamp")
        if isinstance(time, bool) or not isinstance(time, str | int | float | None):
            raise InvalidRecord("timestamp", _show(time), "neither a text nor a number")

    def _explain_values(self, values: object) -> None:
        if isinstance(values, dict):
            pairs = list(values.items())
        elif isinstance(values, list):
            names = [*self._features, *map(str, range(self._width, len(values)))]
            pairs = list(zip(names, values, strict=False))
        elif _is_number(values):
            pairs = [(self._features[0], values)]
        else:
            raise InvalidRecord(
                "values", _show(values), "neither an array nor an object of numbers"
            )
        for name, number in pairs:
            if not _is_number(number):
                raise InvalidRecord(f"values.{_cut(name)}", _show(number), "not a finite number")


def _first(value: bytes) -> int:
    text = value.lstrip(BLANK)
    return text[0] if text else 0


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _show(value: object) -> str:
    return _cut(msgspec.json.encode(value).decode())


def _cut(text: str, limit: int = SHORT) -> str:
    return text if len(text) <= limit else f"{text[:limit]}…"
