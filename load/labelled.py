"""Labelled streams and tables of a folder of collections, `RCF_DATA`.

Gzip-compressed CSV files, a folder a collection. The last columns are the labels: ``label`` (-1
unlabelled, 0 normal, 1 anomaly) or ``anomaly``; the folder of NAB's files has ``windows.json``.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rcf.state import F64
from service.evaluation.nab import Window, Windows


class Labelled(NamedTuple):
    """One stream or table.

    Attributes:
        collection: The folder's name.
        name: The file's, without its ends.
        values: float64 (n, features).
        labels: bool (n,), true for anomalies.
        start: The first record that counts; all before it only teach.
        spans: NAB's windows.
        times: datetime64[s] (n,), or None where the collection has no times.
    """

    collection: str
    name: str
    values: F64
    labels: NDArray[np.bool_]
    start: int
    spans: tuple[Window, ...] = ()
    times: NDArray[np.datetime64] | None = None


def data_folder() -> Path:
    """The folder that RCF_DATA names."""
    folder = os.environ.get("RCF_DATA")
    if folder is None:
        raise SystemExit("set RCF_DATA to the folder of the labelled streams")
    return Path(folder)


def read(path: Path) -> tuple[list[str], list[list[str]]]:
    """(names of columns, rows) of a gzip-compressed CSV file."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        names, *rows = csv.reader(file)
    return names, rows


def nab(folder: Path) -> Iterator[Labelled]:
    """NAB's files; the ends of a window are rows of its file, and both belong to it.

    Times may repeat: a window starts at the first row of its time after the window before.
    """
    windows = json.loads((folder / "windows.json").read_text(encoding="utf-8"))
    for name, ends in sorted(windows.items()):
        path = folder / f"{name}.gz"
        if not path.exists():
            continue
        _, rows = read(path)
        times = np.array([row[0].replace(" ", "T") for row in rows], "datetime64[s]")
        values = np.array([[float(row[1])] for row in rows])
        spans: list[Window] = []
        labels = np.zeros(len(rows), np.bool_)
        at = 0
        for first, last in ends:
            begin, end = (np.datetime64(time[:19].replace(" ", "T"), "s") for time in (first, last))
            start = at + int(np.flatnonzero(times[at:] == begin)[0])
            spans.append((start, int(np.flatnonzero(times == end)[0])))
            at = spans[-1][1] + 1
            labels[start:at] = True
        start = Windows(len(rows), spans).probation
        yield Labelled(folder.name, name, values, labels, start, tuple(spans), times)


def with_labels(folder: Path) -> Iterator[Labelled]:
    """Files with a column of labels, in which unlabelled records come first."""
    for path in sorted(folder.glob("*.gz")):
        names, rows = read(path)
        at = names.index("label" if "label" in names else "anomaly")
        first = 1 if names[0] in ("t", "datetime") else 0
        labels = np.array([float(row[at]) for row in rows])
        values = np.array([[float(value) for value in row[first:at]] for row in rows])
        start = int((labels < 0).sum())
        yield Labelled(folder.name, path.name[:-7], values, labels > 0, start)


def collection(folder: Path) -> list[Labelled]:
    """The files of one collection, sorted by name."""
    return list(nab(folder) if (folder / "windows.json").exists() else with_labels(folder))


def streams_of(folder: Path) -> Iterator[list[Labelled]]:
    """The streams of each collection of a folder; tables, which have no order, are left out."""
    for place in sorted(path for path in folder.iterdir() if path.is_dir()):
        if place.name != "tabular":
            yield list(collection(place))
