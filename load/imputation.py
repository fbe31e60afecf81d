"""What stands best in the place of missing values: error, and what detection loses.

``RCF_DATA=folder python -m load imputation`` takes values out of labelled streams (`load.labelled`
reads them): 5, 20 and 50 % of them one by one at random, or whole records in blocks of `BLOCK`.
The error is the mean distance from the truth in standard deviations of the feature; the AUC is that
of the scores of all records, gaps and all. Figures are means over the files of a collection.

`next` and `linear` know what comes after a gap, which no stream does: they are there to compare.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

import rcf
from load.labelled import Labelled, data_folder, streams_of
from load.report import Row, publish
from rcf.gaps import filled
from rcf.state import F64
from service.evaluation.ranking import roc_auc

ONLINE = ("previous", "zero", "forest", "forecast")
AFTERWARDS = ("next", "linear")
SHARES = (0.05, 0.2, 0.5)
BLOCK = 20  #: records of a whole gap
FILES, RECORDS, FEATURES = 2, 1200, 6  #: files of a collection, and their last records


class Outcome(NamedTuple):
    """Error of the imputed values, and AUC of the scores."""

    error: float
    quality: float


def holes(shape: tuple[int, int], share: float, kind: str) -> np.ndarray:
    """Which values to take out, bool (records, features); the first hundred records stay."""
    random = np.random.default_rng(int(100 * share))
    if kind == "values":
        out = random.random(shape) < share
    else:
        blocks = random.random(-(-shape[0] // BLOCK)) < share
        out = np.repeat(blocks, BLOCK)[: shape[0], None] & np.ones(shape, bool)
    out[:100] = False
    return out


def judged(values: F64, method: str) -> tuple[F64, F64]:
    """(values as judged, scores) of records with gaps."""
    features = values.shape[1]
    if method in AFTERWARDS:
        values = filled(values, features, method)
        method = "refuse"
    detector = rcf.Detector(features, shingle_size=8 if features <= 2 else 1, seed=1)
    coverage = 0.9 if method == "forecast" else None
    told = rcf.Series(detector, coverage=coverage, missing=method).process(values)
    return told.values, np.nan_to_num(told.judgements.score)


def outcome(stream: Labelled, taken: np.ndarray, method: str) -> Outcome:
    """One method on one stream."""
    values = np.where(taken, np.nan, stream.values)
    found, scores = judged(values, method)
    spread = stream.values.std(axis=0)
    moving = np.broadcast_to(spread > 0, taken.shape) & taken
    errors = np.abs(found - stream.values) / np.where(spread > 0, spread, 1.0)
    return Outcome(float(errors[moving].mean()), roc_auc(stream.labels[200:], scores[200:]))


def cut(streams: Iterable[Labelled]) -> list[Labelled]:
    """The last records of the first files that hold both sorts there; the first features."""
    kept = []
    for one in streams:
        values, labels = one.values[-RECORDS:, :FEATURES], one.labels[-RECORDS:]
        if 0 < labels[200:].mean() < 1:
            kept.append(
                Labelled(one.collection, one.name, np.ascontiguousarray(values), labels, 200)
            )
    return kept[:: max(1, len(kept) // FILES)][:FILES]


def compare(streams: list[Labelled]) -> Iterable[Row]:
    """One row for each way of taking values out."""
    whole = statistics.mean(
        roc_auc(one.labels[200:], judged(one.values, "refuse")[1][200:]) for one in streams
    )
    for kind in ("values", "blocks"):
        for share in SHARES:
            row: dict[str, str | float | int] = {
                "collection": streams[0].collection,
                "missing": f"{share:.0%} {kind}",
                "AUC, nothing missing": whole,
            }
            for method in (*ONLINE, *AFTERWARDS):
                sys.stderr.write(f"\r{row['collection']}, {row['missing']}, {method:10}")
                found = [
                    outcome(one, holes(one.values.shape, share, kind), method) for one in streams
                ]
                row[f"{method} error"] = statistics.mean(each.error for each in found)
                row[f"{method} AUC"] = statistics.mean(each.quality for each in found)
            yield row


def main() -> None:
    """Measure and publish."""
    rows: list[Row] = []
    for streams in streams_of(data_folder()):
        rows += compare(cut(streams))
    sys.stderr.write("\n")
    mean: dict[str, str | float | int] = {"collection": "mean", "missing": "all"}
    names = [name for name in rows[0] if name not in mean]
    rows.append(mean | {name: statistics.mean(float(row[name]) for row in rows) for name in names})
    settings = {"block": BLOCK, "files": FILES, "records": RECORDS}
    publish("missing values: error in standard deviations, and AUC", rows, **settings)
