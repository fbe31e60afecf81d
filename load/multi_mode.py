"""Multi modes: what the distance holds back, and what it finds, on labelled streams.

``RCF_DATA=folder python -m load multi_mode`` takes detectors of the default with each mode, and
counts labelled spans that have an anomaly, and anomalies inside and outside of spans: means over
three seeds. Some minutes.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator

import numpy as np

import rcf
from load.labelled import Labelled, collection, data_folder
from load.quality import SEEDS
from load.report import Row, publish
from rcf.alert import MULTI_MODES
from rcf.state import I64
from service.evaluation.nab import Window, Windows, nab_of_alerts

#: Collections, and every which file of theirs is taken.
COLLECTIONS = {"nab": 1, "asd": 1, "smap_msl": 4, "skab": 2}


def spans_of(file: Labelled) -> list[Window]:
    """First and last record of each labelled span that counts."""
    labels = np.concatenate([[False], file.labels[file.start :], [False]])
    edges = (file.start + np.flatnonzero(labels[1:] != labels[:-1])).tolist()
    return [(first, behind - 1) for first, behind in zip(edges[::2], edges[1::2], strict=True)]


def anomalies(file: Labelled, mode: str, seed: int) -> I64:
    """The records of a file that a detector with this mode says are anomalies."""
    detector = rcf.Detector(file.values.shape[1], multi_mode=mode, seed=seed)
    return np.flatnonzero(detector.process(file.values).grade > 0.0)


def of_one_seed(files: list[Labelled], mode: str, seed: int) -> Iterator[tuple[str, float]]:
    """Figures of a collection, each with its name."""
    said = [anomalies(file, mode, seed) for file in files]
    found = inside = outside = records = 0
    for file, rows in zip(files, said, strict=True):
        counted = rows[rows >= file.start]
        found += sum(bool(np.any((counted >= a) & (counted <= b))) for a, b in spans_of(file))
        inside += int(file.labels[counted].sum())
        outside += int((~file.labels[counted]).sum())
        records += len(file.values) - file.start
    yield "spans found", found
    yield "anomalies inside", inside
    yield "outside", outside
    yield "in 1,000 records", 1000 * (inside + outside) / records
    if files[0].collection == "nab":
        windows = [Windows(len(file.values), file.spans) for file in files]
        yield "NAB, standard", nab_of_alerts(windows, said)["standard"].score


def main() -> None:
    """Measure and publish."""
    rows: list[Row] = []
    for name, every in COLLECTIONS.items():
        files = collection(data_folder() / name)[::every]
        spans = sum(len(spans_of(file)) for file in files)
        for mode in MULTI_MODES:
            seeds = [dict(of_one_seed(files, mode, seed)) for seed in SEEDS]
            row: dict[str, str | float | int] = {"streams": name, "multi_mode": mode}
            row["spans"] = spans
            row |= {key: statistics.mean(each[key] for each in seeds) for key in seeds[0]}
            row.setdefault("NAB, standard", "")
            rows.append(row)
    publish("multi modes: anomalies of the default detector", rows)
