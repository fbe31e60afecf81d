"""`rcf size`: how many workers, partitions and how much memory some traffic needs.

From figures that were measured: those in `figures.json`, which `python -m load sizes --write` makes
on a named machine, or this machine's own (`--measure`). The rule:

- A worker has a core and settles 1 / (outside + forest) records a second; *forest* is the processor
  time of one record scored and learnt, one a call, *outside* that of everything else in a running
  service. Where records of a series come in blocks, forests are quicker.
- Workers are as many as keep each at `LOAD` of that at most.
- Memory is what a worker takes without series, and for each series its detector's bytes, which are
  exact, with what the service keeps beside it, which was measured.
"""

import json
import math
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from statistics import median

import msgspec
import numpy as np

import rcf
from service.cli.errors import USAGE, CommandError
from service.engine.config import StreamConfig
from service.engine.errors import InvalidParameter

LOAD = 0.7
"""Share of its knee at which a worker is run; above it, latencies grow quickly."""

PARTITIONS_A_WORKER, FEWEST, MOST = 2, 4, 256
"""Partitions never change, so there are some to spare; one stream has at most `MOST`."""

MOST_FEATURES = 1000
"""Names that a stream's features may have."""

UNEVEN = 1.3
"""Keys are spread by a hash: some partitions get more of them than others."""

MB = 1e6
_WARM, _CALLS, _ROUNDS = 1_000, 1_000, 5
_BYTES = 2**26


@dataclass(frozen=True, slots=True)
class Shape:
    """A detector's sizes; see `rcf.Detector`."""

    features: int = 1
    shingle_size: int = 1
    trees: int = 30
    sample_size: int = 1024

    def series(self, seed: int = 0) -> rcf.Series:
        """One that has seen nothing, and forecasts as a stream does by default.

        Raises:
            InvalidParameter: A size is outside what is allowed.
        """
        return rcf.Series(rcf.Detector(**asdict(self), seed=seed), coverage=0.9)


@dataclass(frozen=True, slots=True)
class ForestFigure:
    """A forest: µs of processor time a record, one record a call, many series in turns."""

    shape: Shape
    micros: float


class Figures(msgspec.Struct, frozen=True):
    """What was measured, and on what.

    Attributes:
        machine: processor, cores and versions.
        made_by: the command.
        outside_micros: processor time of a record but for its forest, by log ("embedded", "kafka").
        worker_mb: memory of a worker without series.
        series_bytes: of a series, beside its detector.
        forests: speeds; at least three of them.
    """

    machine: dict[str, str | int]
    made_by: str
    outside_micros: dict[str, float]
    worker_mb: float
    series_bytes: float
    forests: list[ForestFigure]


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be borne."""

    records_per_second: float
    series: int
    shape: Shape


@dataclass(frozen=True, slots=True)
class Answer:
    """What bears it.

    Attributes:
        workers: processes that share the partitions.
        partitions: of the stream.
        max_series: what the stream's `max_series` has to be, at least.
        worker_mb: memory of each worker.
        worker_mb_without_one: the same while one of several is away.
        records_per_second: what one worker settles with a core of its own.
        micros: of a record, in all.
        forest_micros: of a record, in its forest.
        series_bytes: of one series, in all.
        embedded: whether one process with its own log, without Kafka, is enough.
    """

    workers: int
    partitions: int
    max_series: int
    worker_mb: float
    worker_mb_without_one: float
    records_per_second: float
    micros: float
    forest_micros: float
    series_bytes: float
    embedded: bool


def shipped() -> Figures:
    """The figures that come with this version."""
    data = (files("service.cli") / "figures.json").read_bytes()
    return msgspec.json.decode(data, type=Figures)


def fitted(forests: Sequence[ForestFigure]) -> tuple[Callable[[Shape], float], float]:
    """µs a record by shape, and the largest relative error against the figures.

    A record costs a call, and each tree a descent (in proportion to the logarithm of the sample
    size) and boxes (in proportion to the dimensions of a point). Relative errors are minimised.
    """
    rows = np.array([_terms(each.shape) for each in forests])
    measured = np.array([each.micros for each in forests])
    weights, *_ = np.linalg.lstsq(rows / measured[:, None], np.ones(len(measured)), rcond=None)
    errors = np.abs(rows @ weights / measured - 1.0)
    least = float(measured.min()) / 2

    def micros(shape: Shape) -> float:
        return max(float(np.dot(_terms(shape), weights)), least)

    return micros, float(errors.max())


def _terms(shape: Shape) -> tuple[float, float, float]:
    dimensions = shape.features * shape.shingle_size
    return 1.0, shape.trees * math.log2(shape.sample_size), float(shape.trees * dimensions)


def measure(shape: Shape) -> ForestFigure:
    """Measure a forest here, in some seconds."""
    one = shape.series()
    count = max(min(_BYTES // one.nbytes, 200), 4)
    series = [shape.series(seed) for seed in range(count)]
    values = np.random.default_rng(0).normal(size=(_WARM, shape.features))
    for each in series:
        each.process(values)
    rows = [values[n : n + 1] for n in range(_WARM)]
    took = []
    for _ in range(_ROUNDS):
        began_s = time.thread_time()
        for number in range(_CALLS):
            series[number % count].process(rows[number % _WARM])
        took.append((time.thread_time() - began_s) / _CALLS)
    return ForestFigure(shape, 1e6 * median(took))


def here(figures: Figures, shape: Shape) -> Figures:
    """Figures of this machine for one shape.

    Its forest is measured. What was measured of a service is taken over, its time as many times as
    long as this machine takes for the first forest of the figures.
    """
    reference = figures.forests[0]
    slower = measure(reference.shape).micros / reference.micros
    found = measure(shape)
    made_by = f"rcf size --measure; the rest: {figures.made_by}, times {slower:.2f}"
    return Figures(
        machine={"cpu": platform.processor() or platform.machine(), "measured": "here"},
        made_by=made_by,
        outside_micros={log: slower * each for log, each in figures.outside_micros.items()},
        worker_mb=figures.worker_mb,
        series_bytes=figures.series_bytes,
        forests=[found],
    )


def answer(question: Question, figures: Figures, forest_micros: float) -> Answer:
    """Work it out.

    Args:
        question: What is to be borne.
        figures: What was measured.
        forest_micros: Of a record of this shape.
    """
    rate, shape = question.records_per_second, question.shape
    micros = {log: each + forest_micros for log, each in figures.outside_micros.items()}
    workers = max(math.ceil(rate * micros["kafka"] / (1e6 * LOAD)), 1)
    embedded = rate * micros["embedded"] <= 1e6 * LOAD
    if embedded:
        workers = 1
    partitions = max(PARTITIONS_A_WORKER * workers, FEWEST)
    if partitions > MOST:
        most = int(LOAD * 1e6 / micros["kafka"] * MOST / PARTITIONS_A_WORKER)
        raise CommandError(
            f"{rate:g} records a second need {workers} workers; one stream has at most {MOST} "
            f"partitions, enough for about {most} a second: spread the series over several",
            USAGE,
        )
    series_bytes = shape.series().nbytes + figures.series_bytes

    def memory(among: int) -> float:
        held = math.ceil(question.series / among * (UNEVEN if among > 1 else 1.0))
        return figures.worker_mb + held * series_bytes / MB

    chosen = micros["embedded" if embedded else "kafka"]
    return Answer(
        workers=workers,
        partitions=partitions,
        max_series=math.ceil(UNEVEN * question.series / partitions),
        worker_mb=memory(workers),
        worker_mb_without_one=memory(max(workers - 1, 1)),
        records_per_second=1e6 / chosen,
        micros=chosen,
        forest_micros=forest_micros,
        series_bytes=series_bytes,
        embedded=embedded,
    )


def size(
    question: Question, *, measured_here: bool, as_json: bool, say: Callable[[str], None]
) -> None:
    """Answer, and say from which figures.

    Raises:
        CommandError: A value is outside what is allowed.
    """
    _check(question)
    figures, within = shipped(), None
    if measured_here:
        figures = here(figures, question.shape)
        forest_micros = figures.forests[0].micros
    else:
        micros, within = fitted(figures.forests)
        forest_micros = micros(question.shape)
    found = answer(question, figures, forest_micros)
    if as_json:
        source = {"machine": figures.machine, "made_by": figures.made_by, "within": within}
        asked = asdict(question)
        say(json.dumps({"question": asked, "answer": asdict(found), "figures": source}))
        return
    for line in sentences(question, found, figures, within):
        say(line)


def _check(question: Question) -> None:
    if not (0 < question.records_per_second < 1e9):
        raise CommandError(
            f"--records-per-second = {question.records_per_second:g}: must be above 0, below 1e9",
            USAGE,
        )
    if not (0 < question.series <= 10**9):
        raise CommandError(f"--series = {question.series}: must be 1 to 1000000000", USAGE)
    shape = question.shape
    if not (0 < shape.features <= MOST_FEATURES):
        raise CommandError(f"--features = {shape.features}: must be 1 to {MOST_FEATURES}", USAGE)
    features = tuple(map(str, range(shape.features)))
    try:
        StreamConfig(name="size", **(asdict(shape) | {"features": features}))
    except InvalidParameter as error:
        raise CommandError(str(error), USAGE) from error


def sentences(
    question: Question, found: Answer, figures: Figures, within: float | None
) -> list[str]:
    """The answer for people."""
    shape, several = question.shape, found.workers > 1
    log = "one process without Kafka is enough" if found.embedded else "on Kafka"
    lines = [
        f"workers     {found.workers:,}  ({log}; {LOAD:.0%} of {found.records_per_second:,.0f} "
        "records/s each)",
        f"partitions  {found.partitions:,}  (they never change; max_series at least "
        f"{found.max_series:,} in each)",
        f"memory      {found.worker_mb:,.0f} MB a worker"
        + (f"; {found.worker_mb_without_one:,.0f} MB while one is away" if several else ""),
        f"a record    {found.micros:.0f} µs, {found.forest_micros:.0f} of them in the forest",
        f"a series    {found.series_bytes / 1e3:,.0f} kB",
        f"for {question.records_per_second:,g} records/s of {question.series:,} series: "
        f"{shape.features} x {shape.shingle_size}, {shape.trees} trees of {shape.sample_size}",
    ]
    machine = ", ".join(f"{name} {value}" for name, value in figures.machine.items())
    source = f"figures of {machine} ({figures.made_by})"
    if within is None:
        return [*lines, source]
    nearest = f"speed between {len(figures.forests)} measured forests, within {within:.0%} of each"
    return [*lines, f"{source}; {nearest}"]
