"""Scoring without learning: ROC AUC on SKAB when a forest is frozen, beside one that goes on.

``RCF_DATA=folder python -m load frozen`` learns the first `LEARNT` records of each run and scores
the rest, either learning on or not. Means over the runs and three seeds.
"""

from __future__ import annotations

import statistics

import rcf
from load.compact import SEEDS
from load.labelled import Labelled, collection, data_folder
from load.report import Row, publish
from service.evaluation.ranking import roc_auc

LEARNT = 400  #: records of a run that are its usual warm-up
FORESTS = {"50 x 256": (50, 256), "50 x 400": (50, 400)}


def quality(stream: Labelled, size: tuple[int, int], score: str, learn: bool) -> float:
    """Mean AUC over the seeds of the records behind the warm-up."""
    found = []
    for seed in SEEDS:
        trees, sample = size
        features = stream.values.shape[1]
        forest = rcf.Forest(features, trees=trees, sample_size=sample, score=score, seed=seed)
        forest.update(stream.values[:LEARNT])
        scores = forest.process(stream.values[LEARNT:], learn=learn)
        found.append(roc_auc(stream.labels[LEARNT:], scores))
    return statistics.mean(found)


def main() -> None:
    """Measure and publish."""
    streams = collection(data_folder() / "skab")
    rows: list[Row] = []
    for name, size in FORESTS.items():
        for score in ("codisp", "depth"):
            row: dict[str, str | float | int] = {"trees x sample": name, "score": score}
            for title, learn in (("frozen", False), ("learning on", True)):
                found = [quality(stream, size, score, learn) for stream in streams]
                row[title] = statistics.mean(found)
            rows.append(row)
    publish("scoring without learning: ROC AUC on SKAB", rows, learnt=LEARNT)
