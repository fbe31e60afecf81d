"""µs a record with two threads: trees shared out between them, or a series for each.

A forest is not safe for use from two threads at once, and has no threads of its own; kernels
release the GIL. So the trees of one series are shared out as two forests of half as many trees,
each in a thread that goes through the whole block; a score would be the mean of both. And two
series, each a whole forest, go beside each other or one after the other.
"""

from __future__ import annotations

import sys

import psutil  # type: ignore[import-untyped]  # ships no annotations

from load.contender import Contender, Setup, interleaved, micros, ratios
from load.kernels import RECORDS
from load.ours import Several, warm_kernels
from load.peers import KINDS, Kind, Krcf, lined_up, present
from load.report import Row, publish, told
from load.streams import seasonal

SETUPS = (*(Setup(f, s, 50, 256) for f, s in ((1, 8), (1, 48), (5, 8))), Setup(5, 8, 100, 256))
RATIOS = (
    ("one thread", "halved"),
    ("after", "beside"),
    ("krcf", "halved"),
    ("krcf parallel", "halved"),
)


def halved(setup: Setup) -> Contender:
    """Half of the trees in each of two threads."""
    half = setup._replace(trees=setup.trees // 2)
    return Several([half, half._replace(seed=setup.seed + 1)], threads=True)


def beside(setup: Setup) -> Contender:
    """Two series, a thread each."""
    return Several([setup, setup._replace(seed=setup.seed + 1)], threads=True)


def after(setup: Setup) -> Contender:
    """Two series, one after the other."""
    return Several([setup, setup._replace(seed=setup.seed + 1)], threads=False)


def compare(setup: Setup, rounds: int) -> Row:
    """One line of the table; two series count two records."""
    values = seasonal(setup.warm + RECORDS, setup.features, seed=1).values
    kinds = {"one thread": KINDS["codisp"]}
    for name, make in (("halved", halved), ("after", after), ("beside", beside)):
        kinds[name] = KINDS["codisp"]._replace(make=make)
    for name in present(["krcf"]):
        kinds[name] = KINDS[name]
        kinds["krcf parallel"] = Kind(
            lambda setup: Krcf(setup, parallel=True), KINDS[name].warm, KINDS[name].missing
        )
    with lined_up(setup, values, kinds) as entries:
        seconds = interleaved(entries, values, rounds)
    for name in ("after", "beside"):
        seconds[name] = [both / 2 for both in seconds[name]]
    return {
        "trees x sample": setup.size,
        "features x shingle": setup.shape,
        **{f"{name} µs": micros(each) for name, each in seconds.items()},
        **ratios(seconds, RATIOS),
    }


def busy_cores() -> float:
    """Cores that others keep busy, over a second in which this process sleeps; says it loudly."""
    busy = float(sum(psutil.cpu_percent(1.0, percpu=True))) / 100
    if busy > 0.3:
        sys.stderr.write(
            f"\n!!! others keep {busy:.1f} of {psutil.cpu_count()} cores busy: "
            "two threads cannot show here what they are worth\n\n"
        )
    return busy


def main(rounds: int = 7, setups: tuple[Setup, ...] = SETUPS) -> None:
    """Measure and publish."""
    warm_kernels((setup.features, setup.shingle) for setup in setups)
    busy = busy_cores()
    rows = told("two threads", (compare(setup, rounds) for setup in setups))
    publish("two threads: score, then update", rows, rounds=rounds, threads=2, busy_cores=busy)
