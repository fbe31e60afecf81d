"""µs of each answer of a forest, beside those of its score, in turns.

`score` learns nothing, nor do the answers; `process` and `explain` learn, and `explain` says why of
anomalies, as the service does (`explain all` of every record). `forecast` expects each record
before it learns it; `impute` fills records of which the first value is missing. `hotspots` is one
look at the last thousand records.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

import rcf
from load.contender import Do, Entry, Setup, interleaved, micros, ratios
from load.ours import forest, warm_kernels
from load.report import Row, publish, told
from load.streams import seasonal
from rcf.state import F64

SETUPS = tuple(Setup(f, s, 50, 256) for f, s in ((1, 1), (1, 8), (5, 8), (10, 1)))
RECORDS = 20_000
QUESTIONS = ("attribution", "density", "near_neighbours")
RATIOS = (
    ("attribution", "score"),
    ("density", "score"),
    ("near_neighbours", "score"),
    ("impute", "score"),
    ("forecast", "process"),
    ("explain", "process"),
    ("explain all", "process"),
)


class Asked:
    """One way to ask a forest or a detector that has learnt `values`."""

    def __init__(self, act: Callable[[F64], object]) -> None:
        self._act = act

    def run(self, rows: F64, do: Do = Do.BOTH) -> float:  # noqa: ARG002  (each does one thing)
        """Seconds for the records."""
        began = time.perf_counter()
        self._act(rows)
        return time.perf_counter() - began

    def close(self) -> None:
        """Nothing to let go of."""


def _contenders(setup: Setup, values: F64) -> dict[str, Entry]:
    learnt = forest(setup)
    learnt.update(values[: setup.warm])
    ways: dict[str, Callable[[F64], object]] = {"score": learnt.score}
    ways |= {name: getattr(learnt, name) for name in QUESTIONS}
    ways["impute"] = lambda rows: learnt.impute(np.where(np.arange(rows.shape[1]), rows, np.nan))
    ways["forecast"] = rcf.Forecaster(setup.features).process
    for name in ("process", "explain", "explain all"):
        detector = rcf.Detector(
            setup.features,
            shingle_size=setup.shingle,
            trees=setup.trees,
            sample_size=setup.sample_size,
            seed=setup.seed,
        )
        detector.process(values[: setup.warm])
        ways[name] = _detecting(detector, name)
    return {name: Entry(Asked(way), setup.warm) for name, way in ways.items()}


def _detecting(detector: rcf.Detector, name: str) -> Callable[[F64], object]:
    if name == "process":
        return detector.process
    return lambda rows: detector.process_explained(rows, every=name == "explain all")


def _hotspots_micros(values: F64) -> float:
    learnt = rcf.Forest(values.shape[1], seed=1)
    learnt.update(values[-1000:])
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        learnt.hotspots(window=1000, radius=float(np.std(values) / 4), least=20)
        seconds.append(time.perf_counter() - began)
    return micros(seconds)


def compare(setup: Setup, rounds: int) -> Row:
    """One line of the table."""
    values = seasonal(setup.warm + RECORDS, setup.features, seed=1).values
    seconds = interleaved(_contenders(setup, values), values, rounds)
    return {
        "features x shingle": setup.shape,
        **{f"{name} µs": micros(each) for name, each in seconds.items()},
        "hotspots µs": _hotspots_micros(values),
        **ratios(seconds, RATIOS),
    }


def main(rounds: int = 5, setups: tuple[Setup, ...] = SETUPS) -> None:
    """Measure and publish."""
    warm_kernels((setup.features, setup.shingle) for setup in setups)
    rows = told("answers", (compare(setup, rounds) for setup in setups))
    publish("answers: beside the score", rows, rounds=rounds, threads=1, trees=50, sample=256)
