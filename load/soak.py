"""`python -m load soak [embedded|kafka …]`: does it stay as it is when it works for long?

For each log: a service of its own with all its series, its knee, and then half an hour at 70 % of
it. Exit code 1 when a limit is exceeded: memory that grows by more than `--slope-limit` MB a
minute after the first tenth, descriptors, threads or tasks that become more, a record that is
refused, fails or gets no result, latency above `--p99-limit-ms`, which is that of the knee.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from load.chart import Line, Panel
from load.doors import opened
from load.drive import panels
from load.driving import (
    KNEE_LIMIT_MS,
    LOAD,
    Command,
    Measured,
    knee_of,
    model_of,
    ramp_of,
    run,
    traffic_of,
    warm,
)
from load.ramp import Step
from load.report import Row
from load.service import progress_bars
from load.watch import Sample, Watch, growth, slope_per_minute

WAY_OF = {"embedded": "batch", "kafka": "kafka"}
COMMAND = Command(
    name="soak",
    about=__doc__,
    kind="log",
    things=tuple(WAY_OF),
    seconds=1800.0,
    title="soak: at 70 % of the knee (`make soak`)",
    heading="rcf under steady load",
)
SETTLING = 0.1  #: of the time, at its begin, that says nothing about growth
SAMPLES = 900
SPARE = {"descriptors": 8, "threads": 2, "tasks": 16}  #: by which a median may rise


def soak(log: str, given: argparse.Namespace) -> Measured:
    """One log's knee, and the long run below it."""
    traffic = traffic_of(given)
    with opened(WAY_OF[log], model_of(given), traffic) as (service, door), progress_bars() as bars:
        warm(door, traffic, given.warm, bars, log)
        knee: float | None = None
        rate = given.rate
        if rate is None:
            knee, _ = knee_of(door, ramp_of(given), bars, log)
            rate = LOAD * knee
        watch = Watch(service, given.seconds / SAMPLES)
        watch.start()
        step = run(door, rate, given.seconds, bars, f"{log}, soaking")
        watch.leave()
    settled = [each for each in watch.samples if each.at_s >= SETTLING * given.seconds]
    row: dict[str, str | float | int] = {"log": log, "series": traffic.series}
    row |= {"minutes": given.seconds / 60} | ({} if knee is None else {"knee/s": knee})
    row |= step.row()
    row |= {
        "memory MB": settled[-1].memory_mb,
        "MB/min": slope_per_minute(settled),
        **{f"{name} +": growth([getattr(each, name) for each in settled]) for name in SPARE},
    }
    drawn = [*panels(log, [step]), *held(log, watch.samples)]
    return Measured(row, objections(row, step, given), drawn)


def objections(row: Row, step: Step, given: argparse.Namespace) -> list[str]:
    """The limits that were exceeded, a sentence each."""
    log = row["log"]
    found = [
        f"{log}: {count} records {what}"
        for what in ("refused", "failed", "unsent")
        if (count := getattr(step, what))
    ]
    bounds = {
        "MB/min": given.slope_limit,
        "p99 ms": given.p99_limit_ms,
        **{f"{name} +": spare for name, spare in SPARE.items()},
    }
    for name, most in bounds.items():
        value = float(row[name])
        if value > most:
            found.append(f"{log}: {name} is {value:.2f}, allowed is {most:g}")
    return found


def held(log: str, samples: Sequence[Sample]) -> list[Panel]:
    """Plots of what the process held."""
    times = [each.at_s for each in samples]
    counts = [Line(name, [getattr(each, name) for each in samples]) for name in SPARE]
    memory = [Line("MB", [each.memory_mb for each in samples])]
    return [
        Panel(f"{log}: resident memory", "seconds", times, memory),
        Panel(f"{log}: descriptors, threads, tasks", "seconds", times, counts),
    ]


def parse(arguments: list[str]) -> argparse.Namespace:
    """The options: those of every such command, and the limits."""
    parser = COMMAND.parser()
    parser.add_argument("--slope-limit", type=float, default=1.0, help="MB/min: %(default)s")
    parser.add_argument("--p99-limit-ms", type=float, default=KNEE_LIMIT_MS, help="%(default)s")
    return COMMAND.parse(arguments, parser)


def main(arguments: list[str]) -> int:
    """Soak and publish; 1 when a limit is exceeded, or a log could not be measured."""
    return COMMAND.run(parse(arguments), soak)
