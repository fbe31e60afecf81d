"""Numbers as text: one, or one line of them with commas in the order of the features.

Looser than JSON, for devices write `+21.5`, `021` or `.5`; but no NaN, no infinity, no `1_000`.
"""

from __future__ import annotations

import csv
import math

from service.adapters.codec.flat import NONE, OBJECT, JsonDecoder, first_byte
from service.adapters.codec.refusals import EMPTY, cut, unreadable, wrong_length
from service.engine.config import StreamConfig
from service.engine.errors import InvalidRecord
from service.engine.records import Decoded

MISSING = ("", "nan", "null", "na")
"""What a cell says, in any case of letters, where its value is missing and that is allowed."""


class TextDecoder:
    """Reads the text records of one stream, and flat JSON."""

    def __init__(self, config: StreamConfig) -> None:
        self._features = config.features
        self._separated = config.decoder == "csv"
        self._gaps = config.missing != "refuse"
        self._flat = JsonDecoder(config)

    def __call__(self, value: bytes) -> Decoded:
        """Read one record's value; see `service.engine.ports.Decoder`."""
        first = first_byte(value)
        if first == OBJECT:
            return self._flat(value)
        if first == NONE:
            raise InvalidRecord("", None, EMPTY)
        if not value.isascii():
            unreadable(value, "neither numbers nor flat JSON")
        text = value.decode().strip()
        cells = self._cells(value, text) if self._separated else [text]
        if len(cells) != len(self._features):
            wrong_length(self._features, len(cells))
        return Decoded(None, None, list(map(self._number, self._features, cells)))

    def _cells(self, value: bytes, text: str) -> list[str]:
        lines = text.splitlines()
        if len(lines) != 1:
            unreadable(value, f"{len(lines)} lines; a record has one")
        try:
            (cells,) = csv.reader(lines, strict=True)
        except csv.Error as error:
            unreadable(value, f"not CSV: {error}")
        return cells

    def _number(self, name: str, cell: str) -> float:
        if self._gaps and cell.strip().lower() in MISSING:
            return math.nan
        try:
            number = math.nan if "_" in cell else float(cell)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise InvalidRecord(f"values.{cut(name)}", cut(cell), "not a finite number")
        return number
