"""`python -m load drive [WAY …]`: open-loop traffic against a service, up to its knee.

For each way in, `single` (one record a request), `batch` (100 in JSON), `ndjson` (1,000 lines) and
`kafka`: a service of its own, warmed; its knee (see `load.ramp`); then a run at 70 % of it, whose
latencies are quoted. With `--rate` there is no ramp, only that run.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from load.chart import Line, Panel
from load.doors import WAYS, opened
from load.driving import (
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
from load.service import progress_bars

LOST = ("refused", "failed")
COMMAND = Command(
    name="drive",
    about=__doc__,
    kind="way",
    things=tuple(WAYS),
    seconds=30.0,
    title="drive: knee, and latency from the intended time at 70 % of it (`make drive`)",
    heading="rcf under load",
)


def drive(way: str, given: argparse.Namespace) -> Measured:
    """One way's knee, and the run below it."""
    traffic, ramp = traffic_of(given), ramp_of(given)
    with opened(way, model_of(given), traffic) as (_, door), progress_bars() as progress:
        warm(door, traffic, given.warm, progress, way)
        steps: list[Step] = []
        row: dict[str, str | float | int] = {"way": way}
        rate = given.rate
        if rate is None:
            knee, steps = knee_of(door, ramp, progress, way)
            rate = LOAD * knee
            row["knee/s"] = knee
        step = run(door, rate, given.seconds, progress, way)
    row |= step.row()
    row |= dict(zip(LOST, (step.refused, step.failed + step.unsent), strict=True))
    wrong = [f"{way}: {row[what]} records {what}" for what in LOST if row[what]]
    return Measured(row, wrong, panels(way, [*steps, step]))


def panels(way: str, steps: Sequence[Step]) -> list[Panel]:
    """What a plot shows of one way in."""
    found = []
    last = steps[-1]
    if len(steps) > 1:
        ramp = steps[:-1]
        rates = [step.rate for step in ramp]
        lines = [
            Line(f"p{q:g} ms", [step.latencies.ms(q) for step in ramp]) for q in (50, 99, 99.9)
        ]
        found.append(Panel(f"{way}: latency by rate", "records a second", rates, lines))
    times, middle = zip(*last.latencies.over_time(50), strict=True)
    high = [ms for _, ms in last.latencies.over_time(99)]
    lines = [Line("p50 ms", list(middle)), Line("p99 ms", high)]
    found.append(Panel(f"{way}: latency at {last.rate:,.0f}/s", "seconds", list(times), lines))
    percentiles, curve = zip(*last.latencies.curve(), strict=True)
    found.append(
        Panel(f"{way}: quantiles", "percentile", list(percentiles), [Line("ms", list(curve))])
    )
    return found


def main(arguments: list[str]) -> int:
    """Drive and publish; 1 when records were refused or failed, or a way could not be measured."""
    return COMMAND.run(COMMAND.parse(arguments), drive)
