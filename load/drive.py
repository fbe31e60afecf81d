"""`python -m load drive [WAY …]`: open-loop traffic against a service, up to its knee.

For each way in, `single` (one record a request), `batch` (100 in JSON), `ndjson` (1,000 lines) and
`kafka`: a service of its own, warmed; its knee (see `load.ramp`); then a run at 70 % of it, whose
latencies are quoted. With `--rate` there is no ramp, only that run.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from load import report
from load.chart import Line, Panel, write_html
from load.doors import WAYS, opened
from load.driving import (
    LOAD,
    add_options,
    each_alone,
    knee_of,
    model_of,
    ramp_of,
    run,
    settings_of,
    tell,
    traffic_of,
    warm,
)
from load.ramp import Step
from load.report import Row
from load.service import progress_bars

LOST = ("refused", "failed")
TITLE = "drive: knee, and latency from the intended time at 70 % of it (`make drive`)"


def drive(way: str, given: argparse.Namespace) -> tuple[Row, list[Step]]:
    """One line of the table, and the runs behind it: the ramp's, and last the one that counts."""
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
    return row, [*steps, step]


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


def parse(arguments: list[str]) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="make drive", description=__doc__)
    parser.add_argument("ways", nargs="*", metavar="WAY", help=", ".join(WAYS))
    parser.add_argument("--seconds", type=float, default=30.0, help="of the last run: %(default)s")
    parser.add_argument("--rate", type=float, help="records a second, instead of a ramp")
    parser.add_argument("--plot", type=Path, help="also draw everything into this HTML file")
    add_options(parser)
    given = parser.parse_args(arguments)
    unknown = [way for way in given.ways if way not in WAYS]
    if unknown:
        parser.error(f"no way named {', '.join(unknown)}; there are: {', '.join(WAYS)}")
    given.ways = given.ways or list(WAYS)
    return given


def main(arguments: list[str]) -> int:
    """Drive and publish; 1 when records were refused or failed, or a way could not be measured."""
    given = parse(arguments)
    rows: list[Row] = []
    drawn: list[Panel] = []
    wrong: list[str] = []

    def work(way: str) -> None:
        row, steps = drive(way, given)
        rows.append(row)
        drawn.extend(panels(way, steps))
        wrong.extend(f"{way}: {row[what]} records {what}" for what in LOST if row[what])

    wrong += each_alone(given.ways, work)
    if rows:
        report.publish(TITLE, rows, **settings_of(given))
    if given.plot is not None:
        write_html("rcf under load", drawn, given.plot)
    if given.readme:
        report.write_readme()
    return tell(wrong)
