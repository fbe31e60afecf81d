"""`--plot`: scored rows as one self-contained HTML file, drawn by the page's own chart."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from string import Template

import numpy as np
from numpy.typing import NDArray

from service.cli.errors import USAGE, CommandError

MAX_POINTS = 20_000
"""More rows than this are thinned to their extremes: a screen has fewer columns of dots."""

_MILLISECONDS_FROM = 1e11
_EPOCH_FROM = 1e8


@dataclass(frozen=True, slots=True)
class Series:
    """Scored rows. times: (n,) as written in the file, or empty; values: (n, features)."""

    title: str
    summary: str
    features: tuple[str, ...]
    times: list[str]
    values: NDArray[np.float64]
    score: NDArray[np.float64]
    threshold: NDArray[np.float64]
    grade: NDArray[np.float64]


def check_place(path: Path) -> None:
    """Find out whether a file can stand there, before there is anything to draw.

    Raises:
        CommandError: It is a directory, or in none that is there.
    """
    if path.is_dir():
        raise CommandError(f"--plot {path}: is a directory; allowed: a file in one", USAGE)
    if not path.parent.is_dir():
        raise CommandError(f"--plot {path}: {path.parent} is no directory", USAGE)


def write_html(series: Series, path: Path) -> None:
    """Write the file: data, style and script inline, so that it opens offline anywhere."""
    page = files("service.api") / "page"
    template = Template((files("service.cli") / "plot.html").read_text("utf-8"))
    # `<` is escaped inside the data: a feature named `</script>` must not end the script.
    data = json.dumps(_data(series), allow_nan=False).replace("<", "\\u003c")
    module = (page / "chart.js").read_text("utf-8").replace("export function", "function")
    text = template.substitute(
        title=_escape(series.title),
        style=(page / "vendor" / "uPlot.min.css").read_text("utf-8")
        + (page / "style.css").read_text("utf-8"),
        library=(page / "vendor" / "uPlot.iife.min.js").read_text("utf-8"),
        chart=module,
        data=data,
    )
    path.write_text(text, encoding="utf-8")


def _data(series: Series) -> dict[str, object]:
    keep = extremes(
        np.column_stack([series.values, np.nan_to_num(series.score)]), series.grade > 0, MAX_POINTS
    )
    x, is_time = axis(series.times, len(series.score))
    times = [series.times[index] for index in keep] if series.times else []
    return {
        "title": series.title,
        "summary": series.summary,
        "features": series.features,
        "isTime": is_time,
        "x": x[keep].tolist(),
        "times": times,
        "rows": (keep + 1).tolist(),
        "values": [_numbers(column[keep]) for column in series.values.T],
        "score": _numbers(series.score[keep]),
        "threshold": _numbers(series.threshold[keep]),
        "grade": _numbers(series.grade[keep]),
        "total": len(series.score),
    }


def _numbers(array: NDArray[np.float64]) -> list[float | None]:
    # Seven digits are more than any screen shows and a third of the bytes of the shortest repr.
    return [None if np.isnan(value) else float(f"{value:.7g}") for value in array.tolist()]


def extremes(
    columns: NDArray[np.float64], always: NDArray[np.bool_], most: int
) -> NDArray[np.int64]:
    """Indices to draw so that no peak is lost.

    Args:
        columns: (n, d) what is drawn over the same x; NaN where there is nothing.
        always: (n,) rows that must stay.
        most: About how many rows may stay, beside those of `always`.

    Returns:
        Increasing indices: all of them when n ≤ `most`, else per bucket of consecutive rows the
        row of the least and the greatest value of each column.
    """
    rows, width = columns.shape
    if rows <= most:
        return np.arange(rows)
    buckets = max(most // (2 * width), 1)
    edges = np.linspace(0, rows, buckets + 1).astype(np.int64)
    gaps = np.isnan(columns)
    lows, highs = np.where(gaps, np.inf, columns), np.where(gaps, -np.inf, columns)
    keep = [*np.flatnonzero(always).tolist(), 0, rows - 1]
    for begin, end in pairwise(edges.tolist()):
        if end > begin:
            keep.extend(begin + lows[begin:end].argmin(axis=0))
            keep.extend(begin + highs[begin:end].argmax(axis=0))
    return np.unique(np.array(keep, dtype=np.int64))


def axis(times: list[str], rows: int) -> tuple[NDArray[np.float64], bool]:
    """The x axis: (n,) increasing, and whether it is seconds since 1970.

    Times that cannot be read, repeat in reverse or run backwards give row numbers instead: the
    file's order is what the detector saw.
    """
    numbers = _as_numbers(times)
    if numbers is None or len(numbers) != rows or np.any(np.diff(numbers) < 0):
        return np.arange(1, rows + 1, dtype=np.float64), False
    if numbers[0] >= _MILLISECONDS_FROM:
        return numbers / 1000, True
    return numbers, bool(numbers[0] >= _EPOCH_FROM)


def _as_numbers(times: list[str]) -> NDArray[np.float64] | None:
    for read in (float, _iso_seconds):
        try:
            numbers = np.array([read(time) for time in times], dtype=np.float64)
        except ValueError:
            continue
        return numbers if len(numbers) and np.isfinite(numbers).all() else None
    return None


def _iso_seconds(text: str) -> float:
    moment = datetime.fromisoformat(text.strip())
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
