"""`python -m load sizes [--write]`: measures what `rcf size` answers from.

Processor time of forests, one record a call, and of a service with its own log and on Kafka, at a
rate that it bears easily; memory of a service with few series and with many. Processor time and
memory hardly depend on what else the machine does.
"""

from __future__ import annotations

import argparse
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import msgspec
import psutil  # type: ignore[import-untyped]  # ships no annotations

from load.doors import opened
from load.driving import run, warm
from load.report import Row, machine, publish
from load.service import Model, progress_bars
from load.traffic import Traffic
from service.cli.size import MB, Figures, ForestFigure, Shape, measure
from service.wiring import load_kernels

FILE = Path(str(files("service.cli") / "figures.json"))
DRIVEN = Shape(1, 8, 8, 64)
SHAPES = (
    DRIVEN,
    *(Shape(f, s, 50, 256) for f, s in ((1, 1), (1, 8), (5, 8), (1, 48), (10, 1))),
    Shape(1, 8, 30, 64),
    Shape(5, 8, 30, 64),
    Shape(1, 8, 100, 256),
    Shape(5, 8, 100, 256),
    Shape(1, 8, 50, 1024),
)
FEW, MANY = 100, 4_000
WARMING = 200_000  #: records, which fill what a worker keeps of the newest ones
WAYS = {"embedded": "batch", "kafka": "kafka"}
NAMED = ("cpu", "cores", "python", "numba", "numpy")


class Load(NamedTuple):
    """Records a second, and for how long."""

    rate: float
    seconds: float


def model_of(series: int) -> Model:
    """The stream that is driven."""
    return Model(DRIVEN.trees, DRIVEN.sample_size, DRIVEN.shingle_size, series=series)


def outside(way: str, forest_micros: float, series: int, load: Load) -> float:
    """µs of processor time of a record outside its forest, in a service at some load."""
    traffic = Traffic(series)
    with opened(way, model_of(series), traffic) as (service, door), progress_bars() as bars:
        warm(door, traffic, 20, bars, way)
        process = psutil.Process(service.pid)
        before_s = _processor_s(process)
        step = run(door, load.rate, load.seconds, bars, way)
        spent_s = _processor_s(process) - before_s
    if step.refused or step.failed:
        raise RuntimeError(f"{way}: {load.rate:g} records/s are too many for this machine")
    return max(1e6 * spent_s / step.sent - forest_micros, 1.0)


def _processor_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def resident(series: int, records: int) -> int:
    """Bytes of a service that has learnt so many records of so many series."""
    traffic = Traffic(series)
    with opened("batch", model_of(series), traffic) as (service, door), progress_bars() as bars:
        warm(door, traffic, max(records // series, 1), bars, f"memory of {series:,} series")
        return int(psutil.Process(service.pid).memory_info().rss)


def memory(few: int, many: int, records: int) -> tuple[float, float]:
    """MB of a worker without series, and bytes of a series beside its detector."""
    low, high = resident(few, records), resident(many, records)
    a_series = (high - low) / (many - few)
    detector = DRIVEN.series().nbytes
    return (low - few * a_series) / MB, max(a_series - detector, 0.0)


def measured(load: Load, shapes: tuple[Shape, ...] = SHAPES, many: int = MANY) -> Figures:
    """All figures of this machine."""
    load_kernels()
    forests: list[ForestFigure] = [measure(shape) for shape in shapes]
    (driven,) = (each.micros for each in forests if each.shape == DRIVEN)
    worker_mb, series_bytes = memory(min(FEW, many // 10), many, WARMING * many // MANY)
    facts = machine()
    return Figures(
        machine={name: facts[name] for name in NAMED},
        made_by="python -m load sizes",
        outside_micros={log: outside(way, driven, many, load) for log, way in WAYS.items()},
        worker_mb=worker_mb,
        series_bytes=series_bytes,
        forests=forests,
    )


def main(arguments: list[str]) -> int:
    """Measure and publish."""
    parser = argparse.ArgumentParser(prog="python -m load sizes", description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the figures into the service")
    parser.add_argument("--rate", type=float, default=2_000.0, help="records/s: %(default)s")
    parser.add_argument("--seconds", type=float, default=30.0, help="at it: %(default)s")
    given = parser.parse_args(arguments)
    figures = measured(Load(given.rate, given.seconds))
    rows: list[Row] = [
        {
            "features x shingle": f"{each.shape.features} x {each.shape.shingle_size}",
            "trees x sample": f"{each.shape.trees} x {each.shape.sample_size}",
            "µs a record": each.micros,
            "bytes": each.shape.series().nbytes,
        }
        for each in figures.forests
    ]
    publish(
        "sizes: a forest, one record a call",
        rows,
        outside_micros=figures.outside_micros,
        worker_mb=figures.worker_mb,
        series_bytes=figures.series_bytes,
        **vars(given),
    )
    if given.write:
        FILE.write_bytes(msgspec.json.format(msgspec.json.encode(figures)) + b"\n")
    return 0
