"""`rcf score`: a CSV file in, one judged row per row out, a sentence at the end."""

import csv
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Literal, cast

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

import rcf
from service.adapters.forest import ForestFactory
from service.cli.columns import COUNTING, ENOUGH, Columns, counting_columns, listed
from service.cli.errors import USAGE, CommandError
from service.cli.plot import Series, check_place, write_html
from service.cli.table import Row, Table, open_text
from service.engine.config import StreamConfig
from service.engine.errors import InvalidParameter
from service.engine.reasons import reasons_of

Format = Literal["csv", "jsonl"]

BAND = ("expected", "lower", "upper")
MEASURED = ("distance", "distance_threshold")

_FILE_CHUNK_ROWS = 2_000
_STREAM_CHUNK_ROWS = 1  # a row read from a pipe is answered before the next one is awaited


@dataclass(frozen=True, slots=True)
class Options:
    """What the caller asked of `rcf score`; sizes as in `rcf.Detector`."""

    path: str
    time: str | None = None
    columns: tuple[str, ...] = ()
    transform: str = "none"
    shingle_size: int = 1
    trees: int = 30
    sample_size: int | None = None
    score: str = "blend"
    multi_mode: str = "none"
    missing: str = "refuse"
    seed: int = 0
    format: Format = "csv"
    explain: bool = False
    forecast: bool = False
    plot: Path | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """Rows of one chunk with their judgement; score, threshold NaN while warming.

    Values are as they stand in the file, NaN where one is missing, whatever they were judged by.

    `why` has the attributions of anomalies by their place in the chunk, where they were asked for,
    and `ahead` what was expected of each row. `measured` has what is named by `MEASURED`, of a
    multi mode; else nothing.
    """

    first_row: int
    times: list[str]
    values: NDArray[np.float64]
    score: NDArray[np.float64]
    threshold: NDArray[np.float64]
    grade: NDArray[np.float64]
    why: dict[int, rcf.Shares]
    ahead: rcf.Forecast | None
    measured: tuple[NDArray[np.float64], ...]


@dataclass(slots=True)
class Summary:
    """What the last line says. Anomalous rows one after another are one anomaly."""

    rows: int = 0
    warming: int = 0
    anomalies: int = 0
    anomalous_rows: int = 0
    worst_grade: float = 0.0
    worst_score: float = -np.inf
    worst_at: str = ""
    _last_row: int = -1
    _began_at: str = ""

    def add(self, judged: Judged) -> None:
        """Count one chunk."""
        self.rows += len(judged.score)
        self.warming += int(np.isnan(judged.score).sum())
        for index in np.flatnonzero(judged.grade > 0):
            row = judged.first_row + int(index)
            self.anomalous_rows += 1
            if row != self._last_row + 1:
                self.anomalies += 1
                self._began_at = judged.times[index] if judged.times else f"row {row:,}"
            self._last_row = row
            grade, score = float(judged.grade[index]), float(judged.score[index])
            if (grade, score) > (self.worst_grade, self.worst_score):
                self.worst_grade, self.worst_score = grade, score
                self.worst_at = self._began_at

    def sentence(self) -> str:
        """For people: how many anomalies in how many rows, and the worst."""
        found = f"{self.anomalies:,} anomal{'y' if self.anomalies == 1 else 'ies'}"
        text = f"{found} in {self.rows:,} rows"
        if self.anomalies:
            if self.anomalous_rows > self.anomalies:
                text += f" ({self.anomalous_rows:,} rows anomalous)"
            text += f"; worst at {self.worst_at} (grade {self.worst_grade:.2f})"
        if self.warming == self.rows:
            text += "; too few rows: the detector was warming up until the end"
        return text


@dataclass(slots=True)
class _Kept:
    """Everything judged, when a plot needs it."""

    parts: list[Judged] = field(default_factory=list)


def run(options: Options, out: IO[str], say: Callable[[str], None]) -> Summary:
    """Score the file of `options`.

    Args:
        options: File, columns and detector sizes.
        out: Receives the rows.
        say: Receives sentences for people (standard error).

    Raises:
        CommandError: The file or the options are at fault.
    """
    if options.plot:
        check_place(options.plot)
    kept = _Kept()
    summary = Summary()
    with open_text(options.path) as text:
        at_once = _STREAM_CHUNK_ROWS if options.path == "-" else _FILE_CHUNK_ROWS
        gaps = options.missing != "refuse"
        table = Table(text, time=options.time, columns=options.columns, gaps=gaps, ahead=at_once)
        config = _config(options, table.columns)
        # The factory makes a series of the library, which its port need not know.
        series = cast(rcf.Series, ForestFactory().create(config, config.seed))
        say(_what_is_used(table.columns, config))
        writer = _writer(options, out, table.columns)
        rows = table.rows()
        if at_once < ENOUGH and not options.columns:
            rows = _watched(rows, table.columns.feature_names, say)
        try:
            for judged in _judge(rows, at_once, series, options):
                summary.add(judged)  # first: what was read of the output is in the sentence
                if options.plot:
                    kept.parts.append(judged)
                writer(judged)
        except KeyboardInterrupt:
            # Ctrl-C is how an endless input ends; sentence and plot are still wanted.
            if options.path != "-":
                raise
    if options.plot and kept.parts:
        _write_plot(options, table.columns, kept, summary)
        say(f"wrote {options.plot}")
    return summary


def _what_is_used(columns: Columns, config: StreamConfig) -> str:
    text = f"scoring {listed(columns.feature_names)}"
    if columns.time is not None:
        text += f" over {columns.names[columns.time]!r}"
    text += f" (shingle {config.shingle_size}, {config.trees} trees, {config.sample_size} samples)"
    if columns.time is None:
        text += "; rows taken as a table, in no order: name a time column with --time"
        text += f", such as {columns.like_time!r}" if columns.like_time is not None else ""
    return f"{text}; {columns.left_out}" if columns.left_out else text


def _watched(
    rows: Iterator[Row], names: Sequence[str], say: Callable[[str], None]
) -> Iterator[Row]:
    """The rows as they are; says after some of them which columns only count.

    Where as many can be waited for, such columns are left out before the first row is judged.
    """
    first: list[list[str]] = []
    for row in rows:
        yield row
        if len(first) < ENOUGH:
            first.append([str(value) for value in row.values])
            counting = counting_columns(first)
            others = [name for index, name in enumerate(names) if index not in counting]
            if counting and others:
                found = [repr(names[index]) for index in sorted(counting)]
                say(
                    f"{listed(found)} {COUNTING}, which hides anomalies: leave it out with "
                    f"--columns {','.join(others)}"
                )


def _config(options: Options, columns: Columns) -> StreamConfig:
    """The default for a series; for a table, whose rows have no order, one small sample.

    Raises:
        CommandError: A stream could not be so.
    """
    is_table = columns.time is None
    try:
        return StreamConfig(
            name="score",
            features=columns.feature_names,
            transform=options.transform,
            shingle_size=options.shingle_size,
            smoothing=1 if is_table else 12,
            trees=options.trees,
            sample_size=options.sample_size or (256 if is_table else 1024),
            cool_down=0 if is_table else 40,
            score=options.score,
            multi_mode=options.multi_mode,
            seed=options.seed,
            forecast=options.forecast or options.missing == "forecast",
            missing=options.missing,
        )
    except InvalidParameter as error:
        raise CommandError(str(error), USAGE) from error


def _judge(
    rows: Iterator[Row], at_once: int, series: rcf.Series, options: Options
) -> Iterator[Judged]:
    first_row = 1
    with _progress() as advance:
        while chunk := list(islice(rows, at_once)):
            yield _judge_chunk(chunk, first_row, series, options)
            first_row += len(chunk)
            advance(len(chunk))


def _judge_chunk(chunk: list[Row], first_row: int, series: rcf.Series, options: Options) -> Judged:
    values = np.array([row.values for row in chunk], dtype=np.float64)
    times = [row.time for row in chunk if row.time is not None]
    told = series.process(values, explain="anomalies" if options.explain else "none")
    said = told.judgements
    is_measured = series.detector.settings.multi_mode != "none"
    return Judged(
        *(first_row, times, values, said.score, said.threshold, said.grade),
        *(told.reasons, told.forecast if options.forecast else None),
        (said.distance, said.distance_threshold) if is_measured else (),
    )


@contextmanager
def _progress() -> Iterator[Callable[[int], None]]:
    """A counter on standard error when that is a terminal; nothing otherwise."""
    if not sys.stderr.isatty():
        yield lambda _rows: None
        return
    columns = SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("rows scored", total=None)
        yield lambda rows: progress.advance(task, rows)


def _writer(options: Options, out: IO[str], columns: Columns) -> Callable[[Judged], None]:
    if options.format == "csv":
        return _csv_writer(out, columns, options)
    return _jsonl_writer(out, columns)


def _csv_writer(out: IO[str], columns: Columns, options: Options) -> Callable[[Judged], None]:
    rows = csv.writer(out, lineterminator="\n")
    time = [] if columns.time is None else [columns.names[columns.time]]
    shares = [f"{name} {side}" for side in ("high", "low") for name in columns.feature_names]
    head = [*time, *columns.feature_names, "score", "threshold", "grade", "anomaly"]
    head += MEASURED if options.multi_mode != "none" else ()
    sides = [f"{name} {side}" for side in BAND for name in columns.feature_names]
    explain, ahead = options.explain, sides if options.forecast else []
    rows.writerow([*head, *ahead, *(shares if explain else [])])

    def write(judged: Judged) -> None:
        for index, line in enumerate(judged.values.tolist()):
            time = judged.times[index : index + 1]
            judgement = _judgement(judged, index, missing="").values()
            shares = _shares(judged, index, len(line), explain)
            values = _known(line, missing="")
            rows.writerow([*time, *values, *judgement, *_band(judged, index, missing=""), *shares])
        out.flush()

    return write


def _jsonl_writer(out: IO[str], columns: Columns) -> Callable[[Judged], None]:
    def write(judged: Judged) -> None:
        for index, line in enumerate(judged.values.tolist()):
            row: dict[str, object] = {"row": judged.first_row + index}
            if judged.times:
                row["time"] = judged.times[index]
            values = _known(line, missing=None)
            row["values"] = dict(zip(columns.feature_names, values, strict=True))
            row |= _judgement(judged, index, missing=None)
            band = _band(judged, index, missing=None)
            if band:
                sides = [band[i : i + len(line)] for i in range(0, len(band), len(line))]
                row |= dict(zip(BAND, sides, strict=True))
            if index in judged.why:
                reasons = reasons_of(columns.feature_names, judged.why[index], len(line))
                row["attribution"] = msgspec.to_builtins(reasons)
            out.write(json.dumps(row, allow_nan=False, ensure_ascii=False) + "\n")
        out.flush()

    return write


def _shares(judged: Judged, index: int, features: int, explain: bool) -> list[float | str]:
    """What each feature contributes, above and then below; empty cells where nobody asked why."""
    if index not in judged.why:
        return [""] * (2 * features if explain else 0)
    shares = judged.why[index].by_feature()
    return [*shares.high[0].tolist(), *shares.low[0].tolist()]


def _band(judged: Judged, index: int, missing: object) -> list[object]:
    """What was expected of each column, lower and upper ends; nothing where nobody asked."""
    if judged.ahead is None:
        return []
    sides = np.concatenate([each[index] for each in judged.ahead]).tolist()
    return _known(sides, missing)


def _known(numbers: list[float], missing: object) -> list[object]:
    return [missing if math.isnan(number) else number for number in numbers]


def _judgement(judged: Judged, index: int, missing: object) -> dict[str, object]:
    score, threshold, grade = (
        float(array[index]) for array in (judged.score, judged.threshold, judged.grade)
    )
    return {
        "score": missing if np.isnan(score) else score,
        "threshold": missing if np.isnan(threshold) else threshold,
        "grade": missing if np.isnan(grade) else grade,
        "anomaly": "true" if missing == "" and grade > 0 else _false_or_flag(grade, missing),
        **{
            name: missing if np.isnan(array[index]) else float(array[index])
            for name, array in zip(MEASURED, judged.measured, strict=False)
        },
    }


def _false_or_flag(grade: float, missing: object) -> object:
    return "false" if missing == "" else bool(grade > 0)


def _write_plot(options: Options, columns: Columns, kept: _Kept, summary: Summary) -> None:
    def joined(name: str) -> NDArray[np.float64]:
        arrays: list[NDArray[np.float64]] = [getattr(part, name) for part in kept.parts]
        return np.concatenate(arrays)

    series = Series(
        title="standard input" if options.path == "-" else options.path,
        summary=summary.sentence(),
        features=columns.feature_names,
        times=[time for part in kept.parts for time in part.times],
        values=joined("values"),
        score=joined("score"),
        threshold=joined("threshold"),
        grade=joined("grade"),
    )
    assert options.plot is not None  # noqa: S101  the caller checked; this tells the type checker
    write_html(series, options.plot)
