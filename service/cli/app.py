"""The commands of `rcf`. Declarations only: each command imports what it needs when it runs.

`rcf --help` must answer at once, so numba, FastAPI and pydantic stay out of this module's imports.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from service.cli.errors import ANOMALY_FOUND, FAILED, OK, CommandError

app = typer.Typer(
    name="rcf",
    help="Streaming anomaly detection with Random Cut Forests.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # the boxes would cost `rcf --help` 100 ms more than all the rest
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Format(StrEnum):
    """How results are written."""

    CSV = "csv"
    JSONL = "jsonl"


class Transform(StrEnum):
    """What is done to rows before the forest sees them."""

    NONE = "none"
    SUBTRACT_MA = "subtract_ma"
    NORMALIZE = "normalize"
    DIFFERENCE = "difference"
    NORMALIZE_DIFFERENCE = "normalize_difference"
    ROBUST = "robust"
    LOG = "log"


class Score(StrEnum):
    """Which number the forest reports."""

    BLEND = "blend"
    CODISP = "codisp"
    DISP = "disp"
    DEPTH = "depth"


class MultiMode(StrEnum):
    """What the distance has a say in besides the score."""

    NONE = "none"
    PRECISION = "precision"
    RECALL = "recall"


class Missing(StrEnum):
    """What stands in the place of a missing value; a stream can have values fixed besides."""

    REFUSE = "refuse"
    PREVIOUS = "previous"
    ZERO = "zero"
    FOREST = "forest"
    FORECAST = "forecast"


class Reference(StrEnum):
    """What `rcf reference` lists."""

    SETTINGS = "settings"
    ENDPOINTS = "endpoints"
    PROBLEMS = "problems"
    METRICS = "metrics"


Host = Annotated[str | None, typer.Option(help="Address to listen on (RCF_HOST, 127.0.0.1).")]
Port = Annotated[int | None, typer.Option(help="TCP port; 0 takes a free one (RCF_PORT, 8080).")]
DataDir = Annotated[
    Path | None, typer.Option(help="Directory of log and snapshots (RCF_DATA_DIR, .rcf).")
]
LogLevel = Annotated[
    str | None, typer.Option(help="debug, info, warning or error (RCF_LOG_LEVEL, info).")
]
AutoCreate = Annotated[
    bool | None,
    typer.Option(help="Create an unknown stream on its first record (RCF_AUTO_CREATE)."),
]
Kafka = Annotated[
    str | None, typer.Option(help="host:port,… of Kafka brokers (RCF_KAFKA_BOOTSTRAP).")
]
Snapshots = Annotated[
    str | None,
    typer.Option(help="Directory, or s3://bucket/prefix, of the snapshots (RCF_SNAPSHOTS)."),
]

Stream = Annotated[str, typer.Argument(help="Name of the stream.")]
Url = Annotated[
    str | None,
    typer.Option(help="Address of a running service. [default: what RCF_HOST and RCF_PORT say]"),
]

ROWS = "CSV with a header (.csv, .csv.gz); - is stdin."
File = Annotated[str, typer.Argument(help=ROWS)]
FileIfAny = Annotated[str | None, typer.Argument(help=ROWS)]
Topic = Annotated[
    str | None, typer.Option(help="A stream instead: the records of which results are kept.")
]
Time = Annotated[str | None, typer.Option(help="Time column. [default: the one named like it]")]
Columns = Annotated[
    str | None,
    typer.Option(help="Columns to score, with commas. [default: all numbers but labels]"),
]
Key = Annotated[str | None, typer.Option(help="Column that names the series.")]
Late = Annotated[
    int, typer.Option(min=0, help="Rows behind an event in which an alert still tells of it.")
]
Limit = Annotated[int, typer.Option(min=1, help="Records at most.")]

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"rcf-stream {version('rcf-stream')}")
        raise typer.Exit


@app.callback()
def _root(
    _version_asked: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


@app.command(short_help="Start with live data: page, API, two streams.")
def dev(
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    log_level: LogLevel = None,
    auto_create: AutoCreate = None,
    demo: Annotated[
        bool | None, typer.Option(help="Feed the streams `demo` and `host` (RCF_DEMO, yes).")
    ] = None,
    snapshots: Snapshots = None,
) -> None:
    """Start with live data: the page, the API, and two streams that feed themselves.

    Every setting is also an environment variable: see `rcf reference settings`. A flag wins.
    """
    _keep_the_collector_out()
    from service.cli.serve import run

    run(
        dev=True,
        host=host,
        port=port,
        data_dir=data_dir,
        log_level=log_level,
        auto_create=auto_create,
        demo=demo,
        snapshots=snapshots,
    )


@app.command(short_help="Start the service bare, for your own streams.")
def serve(
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    log_level: LogLevel = None,
    auto_create: AutoCreate = None,
    kafka_bootstrap: Kafka = None,
    snapshots: Snapshots = None,
) -> None:
    """Start the service: no built-in streams, unknown streams are refused.

    Every setting is also an environment variable: see `rcf reference settings`. A flag wins.
    """
    _keep_the_collector_out()
    from service.cli.serve import run

    run(
        dev=False,
        host=host,
        port=port,
        data_dir=data_dir,
        log_level=log_level,
        auto_create=auto_create,
        kafka_bootstrap=kafka_bootstrap,
        snapshots=snapshots,
    )


@app.command(short_help="Score a CSV file, and draw it if you like.")
def score(
    file: File,
    time: Time = None,
    columns: Columns = None,
    transform: Annotated[
        Transform, typer.Option(help="robust: columns of several units, each on its own scale.")
    ] = Transform.NONE,
    shingle: Annotated[
        int,
        typer.Option(min=1, help="Rows in one point."),
    ] = 1,
    trees: Annotated[int, typer.Option(min=1, help="Trees of the forest.")] = 30,
    sample_size: Annotated[
        int | None,
        typer.Option(
            min=2, help="Points behind each tree. [default: 1024; 256 without a time column]"
        ),
    ] = None,
    score: Annotated[Score, typer.Option(help="Which number the forest reports.")] = Score.BLEND,
    multi_mode: Annotated[
        MultiMode,
        typer.Option(help="What a row's distance decides, too: fewer anomalies, or more."),
    ] = MultiMode.NONE,
    missing: Annotated[
        Missing, typer.Option(help="What stands in the place of a cell that is empty or nan.")
    ] = Missing.REFUSE,
    seed: Annotated[int, typer.Option(min=0, help="Root of all randomness.")] = 0,
    format: Annotated[Format, typer.Option(help="How results are written.")] = Format.CSV,
    forecast: Annotated[
        bool,
        typer.Option(
            "--forecast", help="Also say what each value was expected to be, with a 90 % band."
        ),
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Also say what each column contributes to anomalies.")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Also draw everything into this HTML file.")
    ] = None,
    fail_on_anomaly: Annotated[
        bool, typer.Option("--fail-on-anomaly", help="Exit with 3 when anything is anomalous.")
    ] = False,
) -> None:
    """Score a CSV file: results on standard output, a sentence for you on standard error.

    Rows of standard input are judged as they come, until it ends or Ctrl-C.
    """
    from service.cli.score import Options, run

    options = Options(
        path=file,
        time=time,
        columns=_listed(columns),
        transform=transform.value,
        shingle_size=shingle,
        trees=trees,
        sample_size=sample_size,
        score=score.value,
        multi_mode=multi_mode.value,
        missing=missing.value,
        seed=seed,
        format="csv" if format is Format.CSV else "jsonl",
        explain=explain,
        forecast=forecast,
        plot=plot,
    )
    with _reader_may_leave():
        summary = run(options, sys.stdout, _say)
    _say(summary.sentence())
    if fail_on_anomaly and summary.anomalies:
        raise typer.Exit(ANOMALY_FOUND)


@app.command(short_help="What would settings have made of the past?")
def backtest(
    file: FileIfAny = None,
    topic: Topic = None,
    labels: Annotated[
        str | None,
        typer.Option(
            help="Column with 1 (anomalous), 0, or -1 (does not count); or a .json file with "
            "[start, end] pairs of times."
        ),
    ] = None,
    set: Annotated[
        list[str] | None,
        typer.Option(help="name=value, a field of the stream: shingle_size=4, rules=@rules.json."),
    ] = None,
    against: Annotated[
        list[str] | None, typer.Option(help="As --set: a second setting, shown beside the first.")
    ] = None,
    time: Time = None,
    columns: Columns = None,
    key: Key = None,
    late: Late = 0,
    limit: Limit = 100_000,
    plot: Annotated[
        Path | None, typer.Option(help="Also draw the series with most anomalies into this file.")
    ] = None,
    json: AsJson = False,
    data_dir: DataDir = None,
    kafka_bootstrap: Kafka = None,
) -> None:
    """Judge a file, or a stream's past, under one setting or two, and say how good that was.

    Alerts, precision, recall, F1, delay, alerts a day, the score of the Numenta Anomaly Benchmark,
    and what the scores alone are worth. Writes nothing: a running service does not notice.
    """
    from service.cli.backtest import Options
    from service.cli.backtest import backtest as run

    options = Options(
        file=file,
        topic=topic,
        labels=labels,
        time=time,
        columns=_listed(columns),
        key=key,
        settings=tuple(set or ()),
        against=tuple(against or ()),
        late=late,
        limit=limit,
        plot=plot,
        as_json=json,
        data_dir=data_dir,
        kafka_bootstrap=kafka_bootstrap,
    )
    with _reader_may_leave():
        run(options, _print, _say)


@app.command(short_help="Find settings that suit labels, or a budget of alerts.")
def tune(
    file: FileIfAny = None,
    topic: Topic = None,
    labels: Annotated[
        str | None, typer.Option(help="As for `rcf backtest`; without it, a budget alone.")
    ] = None,
    metric: Annotated[
        str, typer.Option(help="f1, precision, recall, nab_standard, vus_pr, average_precision.")
    ] = "f1",
    alerts_per_day: Annotated[
        float | None, typer.Option(min=0, help="At most so many of one series.")
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Settings to try, with labels.")] = 30,
    held_back: Annotated[
        float,
        typer.Option(min=0, max=0.9, help="Share of the records, the last, only to measure on."),
    ] = 0.3,
    seed: Annotated[int, typer.Option(min=0, help="Of the search.")] = 0,
    set: Annotated[
        list[str] | None, typer.Option(help="name=value: what is fixed; the rest is searched.")
    ] = None,
    time: Time = None,
    columns: Columns = None,
    key: Key = None,
    late: Late = 0,
    limit: Limit = 100_000,
    json: AsJson = False,
    data_dir: DataDir = None,
    kafka_bootstrap: Kafka = None,
) -> None:
    """Find settings by labels (with Optuna), or the threshold that keeps to a budget of alerts.

    The figures printed are of the records held back, beside those of the settings as given. Writes
    nothing: PUT the settings to a stream if you like them.
    """
    from service.cli.backtest import Options
    from service.cli.tune import Wish
    from service.cli.tune import tune as run

    options = Options(
        file=file,
        topic=topic,
        labels=labels,
        time=time,
        columns=_listed(columns),
        key=key,
        settings=tuple(set or ()),
        late=late,
        limit=limit,
        as_json=json,
        data_dir=data_dir,
        kafka_bootstrap=kafka_bootstrap,
    )
    with _reader_may_leave():
        run(options, Wish(metric, alerts_per_day, trials, seed, held_back), _print, _say)


@app.command(short_help="Score labelled demo series without a server.")
def demo(
    seconds: Annotated[
        float, typer.Option(min=0, help="Stop after so many seconds of the demo; 0 never stops.")
    ] = 300,
    speed: Annotated[
        float, typer.Option(min=0, help="Times faster than life; 0 does not wait at all.")
    ] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Another seed is another world.")] = 7,
    format: Annotated[Format, typer.Option(help="How results are written.")] = Format.CSV,
) -> None:
    """Score the labelled demo series here, without a server, and tell what was found."""
    from service.cli.demo import Options, run

    options = Options(seconds, speed, seed, "csv" if format is Format.CSV else "jsonl")
    with _reader_may_leave():
        run(options, sys.stdout, _say)


@app.command(short_help="Show results as they are committed.")
def tail(
    stream: Stream,
    anomalies: Annotated[bool, typer.Option("--anomalies", help="Only anomalies.")] = False,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="First everything that is kept.")
    ] = False,
    last: Annotated[
        int | None, typer.Option(min=1, max=100_000, help="First the newest so many.")
    ] = None,
    series: Annotated[str | None, typer.Option(help="Only results of this key.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="End after so many.")] = None,
    json: AsJson = False,
    url: Url = None,
    kafka_bootstrap: Kafka = None,
) -> None:
    """Show a stream's results as they are committed, until Ctrl-C.

    With --kafka-bootstrap (or RCF_KAFKA_BOOTSTRAP) they are read from the topics, committed records
    alone, whether a worker runs or not. Otherwise a running `rcf dev` or `rcf serve` is asked over
    HTTP; --url says where, and wins.
    """
    from service.cli.tail import Wanted
    from service.cli.tail import tail as run

    wanted = Wanted(stream, anomalies, from_beginning, last, series, limit, json)
    with _reader_may_leave(), _until_interrupted():
        run(wanted, say=_print, warn=_say, url=url, kafka_bootstrap=kafka_bootstrap)


@app.command(short_help="Score one record again: why did it come out so?")
def replay(
    stream: Stream,
    at: Annotated[
        str, typer.Option(help="PARTITION:OFFSET of the record, as results and `rcf tail` show it.")
    ],
    json: AsJson = False,
    data_dir: DataDir = None,
    snapshots: Snapshots = None,
    kafka_bootstrap: Kafka = None,
) -> None:
    """Score one record again from the snapshot before it, and compare it with what was published.

    Exit code 1 when the bits differ. Writes nothing: a running service does not notice.
    """
    from service.cli.replay import replay as run

    code = run(
        stream,
        at,
        say=_print,
        as_json=json,
        data_dir=data_dir,
        kafka_bootstrap=kafka_bootstrap,
        snapshots=snapshots,
    )
    raise typer.Exit(code)


dlq = typer.Typer(
    help="Look at dead letters, and append them to the input once more.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(dlq, name="dlq", short_help="Look at dead letters, or try them once more.")


@dlq.command("list")
def dlq_list(
    stream: Stream,
    limit: Annotated[int, typer.Option(min=1, help="So many at most, the oldest first.")] = 100,
    json: AsJson = False,
    data_dir: DataDir = None,
    kafka_bootstrap: Kafka = None,
) -> None:
    """List a stream's dead letters: where they stood, why they are dead, key, value."""
    from service.cli.dead_letters import show

    with _reader_may_leave():
        show(
            stream,
            say=_print,
            as_json=json,
            limit=limit,
            data_dir=data_dir,
            kafka_bootstrap=kafka_bootstrap,
        )


@dlq.command("requeue")
def dlq_requeue(
    stream: Stream,
    at: Annotated[
        list[str] | None, typer.Argument(help="PARTITION:OFFSET of each, as `rcf dlq list` shows.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: AsJson = False,
    data_dir: DataDir = None,
    kafka_bootstrap: Kafka = None,
) -> None:
    """Append dead letters to the stream's input once more: same bytes, key, headers and time.

    They get new offsets at the end of their partition. They also stay in the list, and nothing
    remembers which were appended: appending twice appends twice. The file of a single server can
    be written only while that server is stopped.
    """
    from service.cli.dead_letters import requeue

    requeue(
        stream,
        at or [],
        everything=everything,
        say=_print,
        confirm=None if yes else typer.confirm,
        as_json=json,
        data_dir=data_dir,
        kafka_bootstrap=kafka_bootstrap,
    )


@app.command(short_help="Check broker, topics, rights, snapshots; or the directory.")
def doctor(
    json: AsJson = False,
    data_dir: DataDir = None,
    snapshots: Snapshots = None,
    kafka_bootstrap: Kafka = None,
) -> None:
    """Check what the service stands on, one line a check, and say what to do.

    With --kafka-bootstrap (or RCF_KAFKA_BOOTSTRAP): brokers, topics and their settings, rights,
    the group, transactions, snapshots. Otherwise the data directory of a single server, which may
    run meanwhile. Exit code 1 when there is an error. Writes no record and no offset.
    """
    from service.cli.doctor import doctor as run

    code = run(
        say=_print,
        as_json=json,
        data_dir=data_dir,
        kafka_bootstrap=kafka_bootstrap,
        snapshots=snapshots,
    )
    raise typer.Exit(code)


@app.command(short_help="Workers, partitions and memory for some traffic.")
def size(
    records_per_second: Annotated[float, typer.Option(help="Records a second, at the most.")],
    series: Annotated[int, typer.Option(help="Keys, each with a detector of its own.")],
    features: Annotated[int, typer.Option(help="Values of a record.")] = 1,
    shingle_size: Annotated[int, typer.Option(help="Records in one point.")] = 1,
    trees: Annotated[int, typer.Option(help="Trees of the first forest.")] = 30,
    sample_size: Annotated[int, typer.Option(help="Points behind each of them.")] = 1024,
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure the forest on this machine, in some seconds.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Tell how many workers, partitions and how much memory some traffic needs.

    Works it out from figures that were measured, and says from which.
    """
    from service.cli.size import Question, Shape
    from service.cli.size import size as run

    question = Question(
        records_per_second, series, Shape(features, shingle_size, trees, sample_size)
    )
    run(question, measured_here=measure, as_json=json, say=_print)


@app.command(short_help="Let a halted stream go on.")
def resume(stream: Stream, url: Url = None) -> None:
    """Let partitions go on that halted because of their dead letters.

    Everything that is in the log at this moment passes; what comes later is counted afresh. Asks a
    running service, on Kafka any worker.
    """
    from service.cli.resume import resume as run

    run(stream, url=url, say=_print)


@app.command(short_help="Compile the kernels now, for images and first starts.")
def warm() -> None:
    """Compile the kernels into the cache (RCF_CACHE_DIR), so that the next start is quick."""
    import time

    from service.wiring import load_kernels

    began_s = time.monotonic()
    _say("compiling kernels; less than half a minute on a free core …")
    for multi_mode in (MultiMode.NONE, MultiMode.RECALL):
        load_kernels(multi_mode.value)
    _say(f"kernels ready after {time.monotonic() - began_s:.1f} s")


@app.command(short_help="Print the JSON Schema of a message, or the AsyncAPI document.")
def schema(
    name: Annotated[
        str | None, typer.Argument(help="A message, or asyncapi. [default: list the names]")
    ] = None,
) -> None:
    """Print the JSON Schema of a message, or the AsyncAPI document of all topics."""
    from service.cli.schema import text

    typer.echo(text(name))


@app.command(short_help="List settings, endpoints, problems, metrics.")
def reference(
    what: Annotated[Reference, typer.Argument(help="What to list, as a Markdown table.")],
) -> None:
    """List settings, endpoints, problems or metrics, as the README shows them."""
    from service.cli.reference import table

    typer.echo(table(what.value))


def _listed(text: str | None) -> tuple[str, ...]:
    """Names with commas between them."""
    return tuple(name.strip() for name in text.split(",")) if text else ()


def _keep_the_collector_out() -> None:
    """Let the garbage collector rest while a server is loaded, which makes hardly any garbage.

    It would take a tenth of the start; `service.wiring` lets it in again when all is loaded.
    """
    import gc

    gc.disable()


def _say(sentence: str) -> None:
    typer.echo(sentence, err=True)


def _print(line: str) -> None:
    """Write a line at once, also into a pipe."""
    typer.echo(line)
    sys.stdout.flush()


def main() -> NoReturn:
    """Run the command line; exit codes are 0, 1 (failed), 2 (usage), 3 (anomaly found)."""
    sys.exit(_guarded(app))


def _guarded(run: Callable[[], object]) -> int:
    try:
        run()
    except CommandError as error:
        typer.echo(f"rcf: {error}", err=True)
        return error.code
    except OSError as error:
        _flush_if_possible()
        typer.echo(f"rcf: {_told(error)}", err=True)
        return FAILED
    except KeyboardInterrupt:
        return FAILED
    return OK


def _told(error: OSError) -> str:
    """What the system says, and of which file where it names one."""
    said = error.strerror or str(error) or type(error).__name__
    return f"{error.filename}: {said}" if error.filename else said


def _flush_if_possible() -> None:
    """Write out what waits; let it go where it cannot be written, as on a full disk."""
    try:
        sys.stdout.flush()
    except OSError:
        _let_output_go()


def _let_output_go() -> None:
    """Python flushes standard output once more at exit, and must not fail there."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _until_interrupted() -> Iterator[None]:
    """End well on Ctrl-C, where that is how it ends."""
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(OK) from None


@contextmanager
def _reader_may_leave() -> Iterator[None]:
    """End well when the reader of standard output (`head`) has what it wanted."""
    try:
        yield
    except BrokenPipeError as error:
        _let_output_go()
        raise typer.Exit(OK) from error
