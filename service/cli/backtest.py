"""`rcf backtest`: what settings would have made of a file, or of a stream's past, in figures."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from service import opening
from service.cli.cells import to_number
from service.cli.columns import Columns
from service.cli.errors import USAGE, CommandError
from service.cli.looking import choose, entry_of, looking, run
from service.cli.plot import Series, check_place, write_html
from service.cli.table import Table, open_text
from service.engine.config import StreamConfig
from service.engine.errors import InvalidParameter, InvalidRecord
from service.engine.records import ResultFilter, StreamPartition
from service.engine.rehearsal import PastRecord, Rehearsed, merged, past_records
from service.engine.times import format_ms, is_bare_date, parse_time, why_ambiguous
from service.evaluation.backtest import Judged, Measures, flat, labels_of_windows, measures

CHUNK = 2000
STEP_MS = 1000
"""Rows without a time are taken as a second apart; nothing is said of days then."""

NULL = "null"
"""What an error shows of a value that is missing."""

Labels = NDArray[np.int8]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """What the caller asked of `rcf backtest`.

    Attributes:
        file, topic: one of them: a CSV file, or a stream of which the kept results are read.
        labels: a column of the file (1, 0, or -1 for rows that do not count), or a JSON file of
            [start, end] pairs.
        settings, against: `name=value` each, fields of a stream; none of `against`: one setting.
        late: rows behind a labelled event in which an alert still tells of it.
    """

    file: str | None = None
    topic: str | None = None
    labels: str | None = None
    time: str | None = None
    columns: tuple[str, ...] = ()
    key: str | None = None
    settings: tuple[str, ...] = ()
    against: tuple[str, ...] = ()
    late: int = 0
    limit: int = 100_000
    plot: Path | None = None
    as_json: bool = False
    data_dir: Path | None = None
    kafka_bootstrap: str | None = None


@dataclass(frozen=True, slots=True)
class Past:
    """Records to judge again, their labels if there are any, and the stream they came from."""

    config: StreamConfig
    records: list[PastRecord]
    labels: Labels | None
    timed: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """One setting's name and figures."""

    name: str
    measures: Measures
    rehearsed: Rehearsed


def backtest(options: Options, say: Say, warn: Say) -> list[Outcome]:
    """Judge the past under one setting or two, and print the figures.

    Args:
        options: What was asked.
        say: Receives the figures.
        warn: Receives sentences about what was left out (standard error).

    Raises:
        CommandError: File, labels or settings are at fault.
    """
    if options.plot:
        check_place(options.plot)
    past = read_past(options, warn)
    outcomes = [judged("settings", past, read_settings(options.settings), options.late)]
    if options.against:
        outcomes.append(judged("against", past, read_settings(options.against), options.late))
    if options.as_json:
        say(json.dumps({each.name: figures(each) for each in outcomes}))
    else:
        for line in lines(past, outcomes):
            say(line)
    for sentence in unjudged(past, outcomes):
        warn(sentence)
    if options.plot:
        for each in outcomes:
            _draw(past, each, options, say)
    return outcomes


def judged(name: str, past: Past, given: Mapping[str, Any], late: int) -> Outcome:
    """Judge the past under the settings given; the others are the stream's, or the defaults.

    Raises:
        CommandError: A setting is not allowed.
    """
    config = configured(past.config, given)
    width = len(past.config.features)
    if len(config.features) != width:
        raise CommandError(
            f"features: {len(config.features)} names are not allowed; allowed: {width}, as the "
            "records have values",
            USAGE,
        )
    rehearsed = opening.rehearse(config, past.records)
    labels = None
    if past.labels is not None:
        labels = [past.labels[rows] for rows in rehearsed.rows.values()]
    found = measures(list(rehearsed.series.values()), labels, late=late, timed=past.timed)
    return Outcome(name, found, rehearsed)


def configured(config: StreamConfig, given: Mapping[str, Any]) -> StreamConfig:
    """Return a configuration with some fields set otherwise.

    Raises:
        CommandError: A field is unknown, or its value not allowed.
    """
    plain = msgspec.to_builtins(config) | given
    unknown = sorted(given.keys() - msgspec.to_builtins(config).keys())
    if unknown:
        known = ", ".join(msgspec.to_builtins(config))
        raise CommandError(f"no stream has a field {unknown[0]!r}; fields: {known}", USAGE)
    try:
        return msgspec.convert(plain, StreamConfig)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$.")
        raise CommandError(f"{path.rstrip('`')}: {reason}", USAGE) from error
    except InvalidParameter as error:
        raise CommandError(str(error), USAGE) from error


def read_settings(given: Sequence[str]) -> dict[str, Any]:
    """Read `name=value` pairs; a value is JSON, a word, or @file with JSON in it.

    Raises:
        CommandError: One is neither.
    """
    found: dict[str, Any] = {}
    for pair in given:
        name, equals, text = pair.partition("=")
        if not equals:
            raise CommandError(f"{pair!r} is not allowed; allowed: name=value", USAGE)
        if text.startswith("@"):
            found[name] = _json_file(Path(text[1:]))
            continue
        try:
            found[name] = json.loads(text)
        except ValueError:
            found[name] = text
    return found


# -- the past -----------------------------------------------------------------------------


def read_past(options: Options, warn: Say) -> Past:
    """Read what is to be judged again, and say what was left out.

    Raises:
        CommandError: It cannot be read.
    """
    if (options.file is None) == (options.topic is None):
        raise CommandError("name a FILE or --topic STREAM, one of them", USAGE)
    read = _of_file if options.topic is None else _of_stream
    past = read(options, warn)
    if not past.records:
        raise CommandError("there are no records to judge")
    return past


def _of_stream(options: Options, warn: Say) -> Past:
    assert options.topic is not None  # noqa: S101  the caller checked; this tells the type checker
    chosen = choose(data_dir=options.data_dir, kafka_bootstrap=options.kafka_bootstrap)
    stream = options.topic

    async def read() -> tuple[StreamConfig, list[PastRecord], bool]:
        async with looking(chosen) as view:
            entry = await entry_of(view, stream)
            partitions: list[list[PastRecord]] = []
            whole = True
            for number in range(entry.config.partitions):
                partition = StreamPartition(stream, number)
                overview = await view.overview(partition)
                end = overview.committed or 0
                place = max(overview.begin, end - options.limit)
                whole = whole and place == overview.begin
                found: list[PastRecord] = []
                while place < end:
                    part = await view.read_results(partition, place, CHUNK, ResultFilter())
                    found += past_records(part.results)
                    place = max(part.next_offset, place + 1)
                partitions.append(found)
            return entry.config, merged(partitions), whole

    config, records, whole = run(read())
    newest = records[-options.limit :]
    if len(newest) < len(records) or not whole:
        warn(f"judged the newest {len(newest):,} records; --limit takes more")
    return Past(config, newest, _in_windows(newest, options), timed=True)


def _of_file(options: Options, warn: Say) -> Past:
    assert options.file is not None  # noqa: S101  as above
    windows = options.labels is not None and options.labels.endswith(".json")
    column = None if windows else options.labels
    kept = [name for name in (options.key, column) if name is not None]
    records: list[PastRecord] = []
    marks: list[int] = []
    with open_text(options.file) as text:
        table = Table(
            text, time=options.time, columns=options.columns, kept=kept, gaps=True, ahead=CHUNK
        )
        if table.columns.left_out:
            warn(table.columns.left_out)
        config = _config(table.columns)
        for number, row in enumerate(islice(table.rows(), options.limit)):
            others = dict(zip(kept, row.kept, strict=True))
            time_ms = number * STEP_MS if row.time is None else _time_ms(row.time, number)
            values = [None if math.isnan(value) else value for value in row.values]
            records.append(PastRecord(others.get(options.key or "", ""), time_ms, values))
            if column is not None:
                marks.append(_mark(others[column], len(records)))
        if table.has_more():
            warn(f"judged the first {options.limit:,} records; --limit takes more")
    labels = np.array(marks, dtype=np.int8) if column is not None else None
    if windows:
        labels = _in_windows(records, options)
    return Past(config, records, labels, timed=table.columns.time is not None)


def _config(columns: Columns) -> StreamConfig:
    """The defaults of a stream of these columns.

    Raises:
        CommandError: No stream can have features of these names, or so many.
    """
    try:
        return StreamConfig(name="backtest", features=columns.feature_names)
    except InvalidParameter as error:
        raise CommandError(f"{error}; choose with --columns") from error


def _in_windows(records: Sequence[PastRecord], options: Options) -> Labels | None:
    if options.labels is None:
        return None
    times_ms = np.array([record.timestamp_ms for record in records], dtype=np.int64)
    return labels_of_windows(times_ms, read_windows(Path(options.labels)))


def read_windows(path: Path) -> list[tuple[int, int]]:
    """Read a JSON list of [start, end] times as milliseconds.

    Raises:
        CommandError: The file holds none.
    """
    try:
        return [(parse_time(start), parse_time(end)) for start, end in _json_file(path)]
    except (TypeError, ValueError, InvalidRecord) as error:
        raise CommandError(f"{path}: expected a list of [start, end] times: {error}") from error


def _json_file(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}", USAGE) from error
    except ValueError as error:
        raise CommandError(f"{path}: not JSON: {error}") from error


def _time_ms(text: str, row: int) -> int:
    if is_bare_date(text.strip()):
        raise CommandError(f"row {row + 1}: {text!r} is {why_ambiguous(text.strip())}")
    number = to_number(text)
    try:
        return parse_time(text.strip() if number is None else number)
    except InvalidRecord as error:
        raise CommandError(f"row {row + 1}: {text!r} is no time: {error.reason}") from error


def _mark(text: str, row: int) -> int:
    number = to_number(text)
    if number is None or number not in (-1.0, 0.0, 1.0):
        raise CommandError(f"row {row}: label {text!r}; allowed: 1, 0, or -1 for not to be counted")
    return int(number)


# -- what came of it ----------------------------------------------------------------------


def figures(outcome: Outcome) -> dict[str, float | int | None]:
    """By name; `errors` are records that got one instead of a judgement."""
    return flat(outcome.measures) | {"errors": len(outcome.rehearsed.errors)}


def unjudged(past: Past, outcomes: Sequence[Outcome]) -> Iterator[str]:
    """For people: of each setting how many records could not be judged, and why the first."""
    for each in outcomes:
        if not each.rehearsed.errors:
            continue
        first = each.rehearsed.errors[0]
        yield (
            f"{each.name}: {len(each.rehearsed.errors):,} of {len(past.records):,} records got an "
            f"error instead of a judgement, the first because of {first.field}: {first.reason}"
            + ("; --set missing=previous fills gaps" if first.value == NULL else "")
        )


def lines(past: Past, outcomes: Sequence[Outcome]) -> Iterator[str]:
    """One line a figure, a column a setting."""
    count = len(outcomes[0].rehearsed.series)
    yield f"{len(past.records):,} records of {count} series"
    yield f"{'':22}" + "".join(f"{each.name:>12}" for each in outcomes)
    facts = [figures(each) for each in outcomes]
    for name in facts[0]:
        if any(fact[name] is not None for fact in facts):
            yield f"{name:22}" + "".join(f"{_shown(fact[name]):>12}" for fact in facts)


def _shown(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def _draw(past: Past, outcome: Outcome, options: Options, say: Say) -> None:
    """Draw the series with the most anomalies; one file for each setting."""
    assert options.plot is not None  # noqa: S101  as above
    series = outcome.rehearsed.series
    key = max(series, key=lambda name: int(series[name].anomaly.sum()))
    path = options.plot
    if outcome.name != "settings":
        path = path.with_stem(f"{path.stem}-{outcome.name}")
    shown: Judged = series[key]
    rows = outcome.rehearsed.rows[key]
    write_html(
        Series(
            title=f"{options.file or options.topic} {key}".strip(),
            summary=_sentence(outcome),
            features=past.config.features,
            times=[format_ms(int(time)) for time in shown.times_ms] if past.timed else [],
            values=np.array([past.records[row].values for row in rows], dtype=np.float64),
            score=shown.score,
            threshold=shown.threshold,
            grade=np.where(shown.anomaly, shown.grade, 0.0),
        ),
        path,
    )
    say(f"wrote {path}")


def _sentence(outcome: Outcome) -> str:
    alerts = outcome.measures.alerts
    found = f", {alerts.found} of {alerts.events} labelled events found" if alerts.events else ""
    return f"{outcome.name}: {alerts.alerts} alerts{found}"
