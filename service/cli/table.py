"""CSV in: header, rows of numbers; errors name line and column."""

import csv
import gzip
import io
import math
import re
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import IO, NamedTuple

from service.cli.cells import is_gap, to_number
from service.cli.columns import (
    choose_columns,
    counting_columns,
    data_in,
    first_values,
    index_of,
)
from service.cli.errors import CommandError
from service.engine.config import LARGEST

OTHERS = (";", "\t", "|")
"""What separates columns elsewhere; in the name of a single column it is taken for that."""
_SHOWN = 40
_NOT_UTF8 = re.compile("[\udc80-\udcff]")
"""What stands for bytes that are no UTF-8 in text that was read with `surrogateescape`."""


class Row(NamedTuple):
    """One row.

    Attributes:
        time: As written; None without a time column.
        values: (features,).
        kept: The cells that were asked for besides, as written.
    """

    time: str | None
    values: list[float]
    kept: list[str]


class Table:
    """A CSV text with one header line, read once from front to back.

    Args:
        text: Its lines.
        time: Name of the time column; None: the one that is named like it.
        columns: Names of those to score; None, or none: all that can be.
        kept: Names of columns that are wanted besides, as they are written.
        gaps: Whether values may be missing, which are NaN then.
        ahead: Rows that are looked at before the columns are chosen, at least 1: as many as may be
            waited for.
    """

    def __init__(
        self,
        text: IO[str],
        *,
        time: str | None = None,
        columns: Sequence[str] | None = None,
        kept: Sequence[str] = (),
        gaps: bool = False,
        ahead: int = 1,
    ) -> None:
        self._gaps = gaps
        self._reader = csv.reader(_utf8(text), strict=True)
        line, names = self._header()
        first = list(islice(self._reader_rows(), ahead))
        datum = data_in(names, first[0][1] if first else ())
        if datum is not None:
            raise CommandError(
                f"line {line} looks like data: {datum!r} is no name; put a line above it with the "
                "names of the columns"
            )
        if not first:
            raise CommandError("the file has a header but no rows")
        _check_width(*first[0], len(names))
        rows = [cells for _, cells in first if len(cells) == len(names)]
        counting = counting_columns(rows)
        self.columns = choose_columns(
            names, first_values(rows), time=time, columns=columns, kept=kept, counting=counting
        )
        self._kept = [index_of(names, name) for name in kept]
        self._left = chain(first, self._reader_rows())

    def rows(self) -> Iterator[Row]:
        """The rows that are left, in order, none read before it is asked for.

        Raises:
            CommandError: A cell is not a number that can be scored, or a row is too short or too
                long.
        """
        for line, cells in self._left:
            yield self._row(line, cells)

    def has_more(self) -> bool:
        """Tell whether a row is left, by passing over it."""
        return next(self._left, None) is not None

    def _header(self) -> tuple[int, tuple[str, ...]]:
        """The line of the names, and the names."""
        for line, cells in self._reader_rows():
            other = next((each for each in OTHERS if each in cells[0]), None)
            if len(cells) == 1 and other is not None:
                raise CommandError(
                    f"line {line}: columns must be separated by commas, not by {other!r}"
                )
            return line, tuple(cell.strip() for cell in cells)
        raise CommandError("the file is empty: expected CSV with one header line")

    def _reader_rows(self) -> Iterator[tuple[int, list[str]]]:
        while True:
            try:
                cells = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise CommandError(f"line {self._reader.line_num}: not CSV: {error}") from error
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise CommandError(
                    f"after line {self._reader.line_num}: broken gzip file: {error}"
                ) from error
            if cells:
                yield self._reader.line_num, cells

    def _row(self, line: int, cells: list[str]) -> Row:
        _check_width(line, cells, len(self.columns.names))
        time = self.columns.time
        return Row(
            None if time is None else cells[time],
            [self._number(line, index, cells) for index in self.columns.features],
            [cells[index] for index in self._kept],
        )

    def _number(self, line: int, index: int, cells: list[str]) -> float:
        if self._gaps and is_gap(cells[index]):
            return math.nan
        number = to_number(cells[index])
        if number is None or not abs(number) <= LARGEST:  # NaN compares as false
            shown = cells[index] if len(cells[index]) <= _SHOWN else cells[index][:_SHOWN] + "…"
            raise CommandError(
                f"line {line}, column {self.columns.names[index]!r}: "
                f"{shown!r} is not a finite number within ±3.4e38"
                + ("; --missing says what stands in a gap" if is_gap(cells[index]) else "")
            )
        return number


def _check_width(line: int, cells: list[str], width: int) -> None:
    if len(cells) != width:
        raise CommandError(f"line {line}: {len(cells)} columns, but the header has {width}")


def _utf8(lines: Iterable[str]) -> Iterator[str]:
    """The lines as they are.

    Raises:
        CommandError: One is no UTF-8; a decoder that refused by itself would know the block alone.
    """
    for number, line in enumerate(lines, 1):
        if not line.isascii() and _NOT_UTF8.search(line):
            raise CommandError(f"line {number}: not UTF-8 text: save as UTF-8")
        yield line


@contextmanager
def open_text(path: str) -> Iterator[IO[str]]:
    """The file as UTF-8 text; `-` is standard input, gzip is recognised by its first bytes.

    Bytes that are no UTF-8 come as lone surrogates, for whoever knows the line to refuse.

    Raises:
        CommandError: The file cannot be opened.
    """
    if path == "-":
        yield io.TextIOWrapper(
            sys.stdin.buffer, encoding="utf-8-sig", errors="surrogateescape", newline=""
        )
        return
    try:
        with Path(path).open("rb") as probe:
            zipped = probe.read(2) == b"\x1f\x8b"
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}", code=2) from error
    opener = gzip.open if zipped else open
    with opener(path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        yield text
