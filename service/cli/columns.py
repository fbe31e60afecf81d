"""Which columns of a table are scored, which one tells the time, and why others are left out."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.cli.cells import to_number
from service.cli.errors import USAGE, CommandError
from service.engine.times import time_column

LABEL_NAMES = frozenset(
    {"label", "labels", "anomaly", "is_anomaly", "changepoint", "outlier", "class", "target"}
)


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


def choose_columns(
    names: Sequence[str],
    first_row: Sequence[str],
    *,
    time: str | None,
    columns: Sequence[str] | None,
    kept: Sequence[str] = (),
) -> Columns:
    """Settle which columns are scored.

    Columns asked for are taken as they are. Otherwise every column whose first value is a number,
    except the time column, columns that are named like labels, and those of `kept`.

    Raises:
        CommandError: A column asked for is not in the header, or none is left.
    """
    time_index = index_of(names, time) if time is not None else time_column(names)
    if columns:
        chosen = tuple(index_of(names, name) for name in columns)
        return Columns(tuple(names), chosen, time_index, ())
    features, skipped = [], []
    for index, name in enumerate(names):
        reason = "kept" if name in kept else _why_skipped(index, name, first_row, time_index)
        if reason:
            skipped.append((index, reason))
        else:
            features.append(index)
    if not features:
        raise CommandError(
            f"no column with numbers to score among {', '.join(map(repr, names))}; "
            "name one with --columns",
        )
    return Columns(tuple(names), tuple(features), time_index, tuple(skipped))


def _why_skipped(
    index: int, name: str, first_row: Sequence[str], time_index: int | None
) -> str | None:
    if index == time_index:
        return "time"
    if name.lower() in LABEL_NAMES:
        return "looks like a label"
    if index < len(first_row) and to_number(first_row[index]) is None:
        return "not numeric"
    return None


def index_of(names: Sequence[str], name: str) -> int:
    """Where a column stands in the header.

    Raises:
        CommandError: It is not there.
    """
    if name in names:
        return names.index(name)
    known = ", ".join(map(repr, names))
    raise CommandError(f"no column {name!r} in the header; there are {known}", USAGE)
