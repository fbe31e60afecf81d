"""What the driver and the soak share: options, a knee behind a bar, a run below it, the report."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from rich.progress import Progress

from load import report
from load.chart import Panel, write_html
from load.doors import Door
from load.ramp import NoKneeError, Step, find_knee
from load.report import Row
from load.service import Model
from load.traffic import Traffic

WARM = 128  #: records of each series: more than a series keeps silent for, and its sample takes
LOAD = 0.7  #: of the knee, at which a service is meant to be run
KNEE_LIMIT_MS = 500.0
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
    step_s: float = 20.0
    limit_ms: float = KNEE_LIMIT_MS


@dataclass(frozen=True)
class Measured:
    """What came of one way in, or one log.

    Attributes:
        row: its line of the table.
        wrong: what must not be so, a sentence each.
        panels: what a plot shows of it.
    """

    row: Row
    wrong: list[str]
    panels: list[Panel]


@dataclass(frozen=True)
class Command:
    """A command that measures things of one kind, each with a service of its own.

    Attributes:
        name: stands behind `make`.
        about: what its help says.
        kind: what the things are, such as "way".
        things: all there are; they are measured where none is named.
        seconds: of the run that counts, unless said otherwise.
        title: of its table.
        heading: of its plots.
    """

    name: str
    about: str | None
    kind: str
    things: Sequence[str]
    seconds: float
    title: str
    heading: str

    def parser(self) -> argparse.ArgumentParser:
        """A parser of the options that every such command has."""
        parser = argparse.ArgumentParser(prog=f"make {self.name}", description=self.about)
        names = ", ".join(self.things)
        parser.add_argument(f"{self.kind}s", nargs="*", metavar=self.kind.upper(), help=names)
        parser.add_argument(
            "--seconds", type=float, default=self.seconds, help="of the last run: %(default)s"
        )
        parser.add_argument("--rate", type=float, help="records a second, instead of a ramp")
        parser.add_argument("--plot", type=Path, help="also draw everything into this HTML file")
        add_options(parser)
        return parser

    def parse(
        self, arguments: list[str], parser: argparse.ArgumentParser | None = None
    ) -> argparse.Namespace:
        """The options of `parser`; ends the process where one is wrong, or a thing is unknown."""
        parser = parser or self.parser()
        given = parser.parse_args(arguments)
        unknown = [name for name in self._named(given) if name not in self.things]
        if unknown:
            there = ", ".join(self.things)
            parser.error(f"no {self.kind} named {', '.join(unknown)}; there are: {there}")
        setattr(given, f"{self.kind}s", self._named(given) or list(self.things))
        return given

    def run(
        self,
        given: argparse.Namespace,
        measure: Callable[[str, argparse.Namespace], Measured],
    ) -> int:
        """Measure each thing, publish, plot; 1 when something is wrong, or was not measured."""
        rows: list[Row] = []
        wrong: list[str] = []
        panels: list[Panel] = []

        def work(name: str) -> None:
            found = measure(name, given)
            rows.extend(report.told(self.name, [found.row]))
            wrong.extend(found.wrong)
            panels.extend(found.panels)

        wrong += each_alone(self._named(given), work)
        if rows:
            report.publish(self.title, rows, limits_exceeded=wrong, **settings_of(given))
        if given.plot is not None:
            write_html(self.heading, panels, given.plot)
        if given.readme:
            report.write_readme()
        return tell(wrong)

    def _named(self, given: argparse.Namespace) -> list[str]:
        named: list[str] = getattr(given, f"{self.kind}s")
        return named


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
    parser.add_argument(
        "--warm", type=int, default=WARM, help="records of each series: %(default)s"
    )
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
