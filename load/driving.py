"""What the driver and the soak have in common: their options, a knee behind a bar, 70 % of it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

from rich.progress import Progress

from load.doors import Door
from load.ramp import NoKneeError, Step, find_knee
from load.service import Model
from load.traffic import Traffic

LOAD = 0.7  #: of the knee, at which a service is meant to be run
KNEE_LIMIT_MS = 1_000.0
SLICES, LEAST_SLICE_S = 60, 0.25  #: of a run, for trends and plots


@dataclass(frozen=True)
class Ramp:
    """How the knee is searched.

    Attributes:
        begin: records a second of the first run.
        step_s: seconds of a run.
        limit_ms: see `load.ramp`.
    """

    begin: float = 1_000.0
    step_s: float = 10.0
    limit_ms: float = KNEE_LIMIT_MS


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of stream, traffic and ramp, each with the default of its field."""
    for kind, title in ((Model, "the stream"), (Traffic, "the traffic"), (Ramp, "the ramp")):
        group = parser.add_argument_group(title)
        for item in fields(kind):
            if kind is Model and item.name == "series":
                continue  # as many as the traffic has
            group.add_argument(
                f"--{item.name.replace('_', '-')}",
                type=type(item.default),
                default=item.default,
                help="%(default)s",
            )
    parser.add_argument("--warm", type=int, default=50, help="records of each series: %(default)s")
    parser.add_argument("--readme", action="store_true", help="put the table into the README")


def each_alone(names: Sequence[str], work: Callable[[str], None]) -> list[str]:
    """Work on each; why some could not be measured, a sentence each. The others still are."""
    from tests.kafka.jars import NotToBeHadError

    failed = []
    for name in names:
        try:
            work(name)
        except NotToBeHadError as error:
            failed.append(f"{name} is left out: {error}")
        except (NoKneeError, RuntimeError) as error:
            failed.append(f"{name}: {error}")
    return failed


def tell(failed: Sequence[str]) -> int:
    """Say loudly what failed; the exit code."""
    for sentence in failed:
        sys.stderr.write(f"FAILED: {sentence}\n")
    return int(bool(failed))


def model_of(given: argparse.Namespace) -> Model:
    """The stream that the options describe."""
    return Model(**{item.name: getattr(given, item.name) for item in fields(Model)})


def traffic_of(given: argparse.Namespace) -> Traffic:
    """The traffic that the options describe."""
    return Traffic(**{item.name: getattr(given, item.name) for item in fields(Traffic)})


def ramp_of(given: argparse.Namespace) -> Ramp:
    """The ramp that the options describe."""
    return Ramp(**{item.name: getattr(given, item.name) for item in fields(Ramp)})


def settings_of(given: argparse.Namespace) -> dict[str, object]:
    """What the figures were measured with."""
    return {name: value for name, value in vars(given).items() if name not in ("plot", "readme")}


def warm(door: Door, traffic: Traffic, each: int, progress: Progress, what: str) -> None:
    """Make every series, behind a bar."""
    task = progress.add_task(f"{what}: warming {traffic.series:,} series")
    progress.update(task, total=each * traffic.series)
    door.warm(each, lambda done: progress.update(task, completed=done))
    progress.remove_task(task)


def run(door: Door, rate: float, seconds: float, progress: Progress, what: str) -> Step:
    """One run at a rate, behind a bar."""
    task = progress.add_task(f"{what}: {rate:,.0f}/s", total=round(seconds))
    step = door.run(
        rate,
        seconds,
        lambda done: progress.update(task, completed=min(int(done), round(seconds))),
        max(seconds / SLICES, LEAST_SLICE_S),
    )
    progress.remove_task(task)
    return step


def knee_of(door: Door, ramp: Ramp, progress: Progress, what: str) -> tuple[float, list[Step]]:
    """The knee; each run is said on standard error."""

    def said(step: Step, objection: str | None) -> None:
        verdict = objection or f"sustained, p99 {step.latencies.ms(99):.0f} ms"
        progress.console.print(f"{what}: {step.rate:,.0f}/s: {verdict}", highlight=False)
        sys.stderr.flush()

    return find_knee(
        lambda rate: run(door, rate, ramp.step_s, progress, what),
        begin=ramp.begin,
        limit_ms=ramp.limit_ms,
        said=said,
    )
