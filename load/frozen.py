"""Scoring without learning: ROC AUC on SKAB when learning stops, beside when it goes on.

``RCF_DATA=folder python -m load frozen`` learns the first `LEARNT` records of each run and scores
the rest, either learning on or not: by a detector of the default, by forests, and by krcf (AWS's
Rust). Means over three seeds: of the AUC over the records of all runs together, and of the mean of
the runs' own.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

import rcf
from load.compact import SEEDS
from load.contender import Setup
from load.labelled import Labelled, collection, data_folder
from load.peers import krcf_forest
from load.report import Row, publish
from rcf.state import F64
from service.evaluation.ranking import roc_auc

LEARNT = 400  #: records of a run that are its usual warm-up
TREES, SAMPLE = 50, 256

Scorer = Callable[[F64, int, bool], F64]
"""Scores of the records behind the warm-up, by all records, seed, and whether to go on learning."""


def by_forest(score: str, values: F64, seed: int, learn: bool) -> F64:
    """A forest of the usual size."""
    forest = rcf.Forest(values.shape[1], trees=TREES, sample_size=SAMPLE, score=score, seed=seed)
    forest.update(values[:LEARNT])
    return forest.process(values[LEARNT:], learn=learn)


def by_detector(values: F64, seed: int, learn: bool) -> F64:
    """The default of streams."""
    detector = rcf.Detector(values.shape[1], seed=seed)
    detector.process(values[:LEARNT])
    return detector.process(values[LEARNT:], learn=learn).score


def by_krcf(values: F64, seed: int, learn: bool) -> F64:
    """AWS's Rust, of the usual size, a record a call."""
    forest = krcf_forest(Setup(values.shape[1], 1, TREES, SAMPLE, seed))
    scores = []
    for number, row in enumerate(values.tolist()):
        if number >= LEARNT:
            scores.append(forest.score(row))
        if learn or number < LEARNT:
            forest.update(row)
    return np.array(scores)


SCORERS: dict[str, Scorer] = {
    "default detector": by_detector,
    "forest, blend": partial(by_forest, "blend"),
    "forest, codisp": partial(by_forest, "codisp"),
    "forest, depth": partial(by_forest, "depth"),
    "krcf": by_krcf,
}


def quality(streams: Sequence[Labelled], scorer: Scorer, learn: bool) -> tuple[float, float]:
    """AUC behind the warm-up: of the records of all runs as one, and the mean of the runs' own."""
    labels = [stream.labels[LEARNT:] for stream in streams]
    together, alone = [], []
    for seed in SEEDS:
        scores = [scorer(stream.values, seed, learn) for stream in streams]
        together.append(roc_auc(np.concatenate(labels), np.concatenate(scores)))
        alone.append(statistics.mean(map(roc_auc, labels, scores)))
    return statistics.mean(together), statistics.mean(alone)


def main() -> None:
    """Measure and publish."""
    streams = collection(data_folder() / "skab")
    rows: list[Row] = []
    for name, scorer in SCORERS.items():
        row: dict[str, str | float | int] = {"scored by": name}
        for title, learn in (("frozen", False), ("learning on", True)):
            row[title], row[f"{title}, mean of runs"] = quality(streams, scorer, learn)
        rows.append(row)
    publish("scoring without learning: ROC AUC on SKAB", rows, learnt=LEARNT)
