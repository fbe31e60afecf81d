"""What a small forest costs in quality: ROC AUC on labelled streams, beside the usual size.

``RCF_DATA=folder python -m load compact`` reads the collections of a folder (`load.labelled`). Each
figure is the mean over a collection's files and three seeds.
"""

from __future__ import annotations

import statistics
import sys
from typing import Any

import numpy as np

import rcf
from load.labelled import Labelled, data_folder, streams_of
from load.report import Row, publish
from service.evaluation.ranking import roc_auc

FORESTS: dict[str, dict[str, Any]] = {
    "50 x 256": {"trees": 50, "sample_size": 256, "time_decay": 1 / 2560},
    "50 x 256, short memory": {"trees": 50, "sample_size": 256, "time_decay": 1 / 1024},
    "8 x 126": {"trees": 8, "sample_size": 126, "time_decay": 1 / 504},
    "8 x 64": {"trees": 8, "sample_size": 64, "time_decay": 1 / 256},
}
SEEDS = (1, 2, 3)


def quality(stream: Labelled, name: str) -> float:
    """Mean AUC of a forest over the seeds; shingles of 8 where there are few features."""
    features = stream.values.shape[1]
    found = []
    for seed in SEEDS:
        forest = rcf.Forest(
            features,
            shingle_size=8 if features <= 2 else 1,
            seed=seed,
            **FORESTS[name],
        )
        scores = np.nan_to_num(forest.process(stream.values))
        found.append(roc_auc(stream.labels[stream.start :], scores[stream.start :]))
    return statistics.mean(found)


def main() -> None:
    """Measure and publish."""
    rows: list[Row] = []
    for every in streams_of(data_folder()):
        streams = [one for one in every if 0 < one.labels[one.start :].mean() < 1]
        collection = streams[0].collection
        row: dict[str, str | float | int] = {"collection": collection, "files": len(streams)}
        for name in FORESTS:
            sys.stderr.write(f"\r{collection}, {name:40}")
            row[name] = statistics.mean(quality(stream, name) for stream in streams)
        rows.append(row)
    sys.stderr.write("\n")
    publish("quality of small forests: ROC AUC of codisp", rows)
