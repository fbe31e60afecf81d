"""What a small forest costs in quality: ROC AUC on labelled streams, beside the usual size.

``RCF_DATA=folder python -m load compact`` reads the gzip-compressed CSV files of a folder, whose
last columns are the labels: ``label`` (-1 unlabelled, 0 normal, 1 anomaly) or ``anomaly``, and a
folder of NAB's files with ``windows.json``. Each figure is the mean over a collection's files and
three seeds.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import rcf
from load.report import Row, publish
from rcf.state import F64

FORESTS: dict[str, dict[str, Any]] = {
    "50 x 256": {"trees": 50, "sample_size": 256, "time_decay": 1 / 2560},
    "50 x 256, short memory": {"trees": 50, "sample_size": 256, "time_decay": 1 / 1024},
    "8 x 126": {"trees": 8, "sample_size": 126, "time_decay": 1 / 504},
    "8 x 64": {"trees": 8, "sample_size": 64, "time_decay": 1 / 256},
}
SEEDS = (1, 2, 3)
NAB_START = 0.15, 750  #: share of a NAB file, or records, that nobody is asked about


class Labelled(NamedTuple):
    """One stream: records (n, features), labels (n,), and the first record that counts."""

    collection: str
    values: F64
    labels: F64
    start: int


def auc(scores: F64, labels: F64) -> float:
    """Chance that an anomaly scores higher than a normal record; ties count half."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = ((last - counts + 1 + last) / 2)[inverse]
    bad = float(labels.sum())
    return float((ranks[labels > 0].sum() - bad * (bad + 1) / 2) / (bad * (len(labels) - bad)))


def read(path: Path) -> tuple[list[str], list[list[str]]]:
    """(names of columns, rows) of a gzip-compressed CSV file."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        names, *rows = csv.reader(file)
    return names, rows


def nab(folder: Path) -> Iterator[Labelled]:
    """NAB's files that have windows; a window's ends are rows of the file."""
    windows = json.loads((folder / "windows.json").read_text(encoding="utf-8"))
    for name, spans in windows.items():
        path = folder / f"{name}.gz"
        if not spans or not path.exists():
            continue
        _, rows = read(path)
        times = [row[0] for row in rows]
        labels = np.zeros(len(rows))
        for first, last in spans:
            labels[[first[:19] <= time <= last[:19] for time in times]] = 1
        values = np.array([[float(row[1])] for row in rows])
        start = min(int(NAB_START[0] * len(rows)), NAB_START[1])
        yield Labelled(folder.name, values, labels, start)


def labelled(folder: Path) -> Iterator[Labelled]:
    """Files with a column of labels, in which unlabelled records come first."""
    for path in sorted(folder.glob("*.gz")):
        names, rows = read(path)
        at = names.index("label" if "label" in names else "anomaly")
        first = 1 if names[0] in ("t", "datetime") else 0
        labels = np.array([float(row[at]) for row in rows])
        values = np.array([[float(value) for value in row[first:at]] for row in rows])
        yield Labelled(folder.name, values, np.maximum(labels, 0), int((labels < 0).sum()))


def streams_of(folder: Path) -> Iterator[list[Labelled]]:
    """The streams of each collection of a folder; tables, which have no order, are left out."""
    for place in sorted(path for path in folder.iterdir() if path.is_dir()):
        if place.name != "tabular":
            yield list(nab(place) if (place / "windows.json").exists() else labelled(place))


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
        found.append(auc(scores[stream.start :], stream.labels[stream.start :]))
    return statistics.mean(found)


def main() -> None:
    """Measure and publish."""
    folder = os.environ.get("RCF_DATA")
    if folder is None:
        raise SystemExit("set RCF_DATA to the folder of the labelled streams")
    rows: list[Row] = []
    for every in streams_of(Path(folder)):
        streams = [one for one in every if 0 < one.labels[one.start :].mean() < 1]
        collection = streams[0].collection
        row: dict[str, str | float | int] = {"collection": collection, "files": len(streams)}
        for name in FORESTS:
            sys.stderr.write(f"\r{collection}, {name:40}")
            row[name] = statistics.mean(quality(stream, name) for stream in streams)
        rows.append(row)
    sys.stderr.write("\n")
    publish("quality of small forests: ROC AUC of codisp", rows)
