"""Which columns of a table are scored, which one tells the time, and why others are left out."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

from service.cli.cells import is_gap, is_time, to_number
from service.cli.errors import USAGE, CommandError
from service.engine.times import time_column

LABEL_NAMES = frozenset(
    {"label", "labels", "anomaly", "is_anomaly", "changepoint", "outlier", "class", "target"}
)
UNNAMED = "Unnamed: "
"""How pandas calls a column without a name, such as the index that its `to_csv` writes."""
TIME, KEPT, COUNTING = "time", "kept", "rises by 1 with every row"
LIKE_TIME = "looks like a time"
ENOUGH = 10
"""Rows from which on a column that rises by 1 with each of them is no value but their number."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of the file play which part.

    Attributes:
        names: The header.
        features: Indices of the columns that are scored, in order.
        time: Index of the time column, or None.
        skipped: Index and reason of each column left out.
    """

    names: tuple[str, ...]
    features: tuple[int, ...]
    time: int | None
    skipped: tuple[tuple[int, str], ...]

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the scored columns."""
        return tuple(self.names[index] for index in self.features)

    @property
    def like_time(self) -> str | None:
        """Name of the first column left out that could be the time column."""
        return next((self.names[index] for index, why in self.skipped if why == LIKE_TIME), None)

    @property
    def left_out(self) -> str:
        """For people: the columns that have no part, and why; empty where all have one."""
        idle = [(self.names[index], why) for index, why in self.skipped if why not in (TIME, KEPT)]
        return f"left out {listed([f'{name!r} ({why})' for name, why in idle])}" if idle else ""


def choose_columns(
    names: Sequence[str],
    cells: Sequence[str],
    *,
    time: str | None,
    columns: Sequence[str] | None,
    kept: Sequence[str] = (),
    counting: Collection[int] = (),
) -> Columns:
    """Settle which columns are scored.

    Columns asked for are taken as they are. Otherwise every column whose first value, of `cells`,
    is a number, except the time column, columns without a name or named like labels, and those of
    `kept`; those of `counting` only where there is no other.

    Raises:
        CommandError: A column asked for is not in the header, none is left, or two that are scored
            have one name.
    """
    time_index = index_of(names, time) if time is not None else time_column(names)
    if columns:
        chosen = tuple(index_of(names, name) for name in columns)
        return _distinct(Columns(tuple(names), chosen, time_index, ()))
    reasons = {
        index: KEPT if name in kept else _why_skipped(name, cells[index], index == time_index)
        for index, name in enumerate(names)
    }
    if any(why is None and index not in counting for index, why in reasons.items()):
        reasons |= {index: reasons[index] or COUNTING for index in counting}
    features = tuple(index for index, why in reasons.items() if why is None)
    if not features:
        raise CommandError(
            f"no column with numbers to score among {', '.join(map(repr, names))}; "
            "name one with --columns",
        )
    skipped = tuple((index, why) for index, why in reasons.items() if why is not None)
    return _distinct(Columns(tuple(names), features, time_index, skipped))


def data_in(names: Sequence[str], row: Sequence[str]) -> str | None:
    """The first number or time in a header that seems to be a row; None where it is a header.

    Columns may be named by numbers: a word above a number or a time tells that these are names, and
    so does nothing in the first place, where pandas writes its index.
    """
    above = zip(names, row, strict=False)
    if not names[0] or any(_is_word(name) and _is_datum(cell) for name, cell in above):
        return None
    return next(filter(_is_datum, names), None)


def _is_datum(cell: str) -> bool:
    return to_number(cell) is not None or is_time(cell)


def _is_word(cell: str) -> bool:
    return bool(cell) and not _is_datum(cell)


def first_values(rows: Sequence[Sequence[str]]) -> list[str]:
    """The first cell of each column that holds a value; empty where none of the rows does."""
    return [
        next((cell for cell in column if not is_gap(cell)), "")
        for column in zip(*rows, strict=True)
    ]


def counting_columns(rows: Sequence[Sequence[str]]) -> frozenset[int]:
    """The columns that rise by exactly 1 with every row, as an id or a row number does.

    To a forest each of their values is the farthest yet, which would hide all else that is odd.
    Of few rows nothing is said.
    """
    if len(rows) < ENOUGH:
        return frozenset()
    columns = enumerate(zip(*rows, strict=True))
    return frozenset(index for index, cells in columns if _counts(cells))


def _counts(cells: Sequence[str]) -> bool:
    return all(
        before is not None and after is not None and after - before == 1
        for before, after in pairwise(map(to_number, cells))
    )


def _distinct(columns: Columns) -> Columns:
    """The same columns.

    Raises:
        CommandError: Two that are scored have one name, so that results could not tell them apart.
    """
    name, count = Counter(columns.feature_names).most_common(1)[0]
    if count > 1:
        raise CommandError(f"{count} scored columns are named {name!r}: each needs its own name")
    return columns


def _why_skipped(name: str, cell: str, tells_time: bool) -> str | None:
    if tells_time:
        return TIME
    if is_time(cell):
        return LIKE_TIME
    if not name or name.startswith(UNNAMED):
        return "has no name"
    if name.lower() in LABEL_NAMES:
        return "looks like a label"
    if is_gap(cell):
        return "empty"
    return "not numeric" if to_number(cell) is None else None


def index_of(names: Sequence[str], name: str) -> int:
    """Where a column stands in the header.

    Raises:
        CommandError: It is not there, or more than once.
    """
    count = names.count(name)
    if count == 1:
        return names.index(name)
    if count:
        raise CommandError(f"{count} columns are named {name!r}: which one is meant?", USAGE)
    known = ", ".join(map(repr, names))
    raise CommandError(f"no column {name!r} in the header; there are {known}", USAGE)


def listed(names: Sequence[str], most: int = 6) -> str:
    """Names for people, the first of them where there are many."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
