"""What transforms do to scores on labelled streams, and to those of mixed units.

``RCF_DATA=folder python -m load transforms`` transforms the records of each file, hands them to a
detector of the default, and measures as `load.quality` does. "none, mixed units" multiplies each
feature by a power of ten first, drawn from -3 to 3: what percentages beside bytes look like. The
methods that measure by a scale do not see that, but for rounding. ``RCF_EVERY`` and ``RCF_SEEDS``
are those of `load.quality`; ``RCF_ONLY`` names collections, with commas.
"""

from __future__ import annotations

import os
import statistics
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

import rcf
from load.labelled import Labelled, collection, data_folder
from load.quality import SEEDS, SMOOTH, Figure, of_skab, of_streams, of_tables
from load.report import Row, publish, told
from rcf.state import F64

VIEWS = ("none", "none, mixed units", "normalize", "robust", "normalize_difference", "log")

Measure = Callable[[list[Labelled], int], Iterator[Figure]]


def mixed(file: Labelled) -> F64:
    """The file's values in units of their own, the same whenever it is asked for."""
    random = np.random.default_rng(zlib.crc32(file.name.encode()))
    units: F64 = 10.0 ** random.uniform(-3.0, 3.0, file.values.shape[1])
    return file.values * units


def seen_as(view: str, file: Labelled) -> Labelled:
    """A file as a detector sees it through one of `VIEWS`."""
    if view == "none":
        return file
    if view == "none, mixed units":
        return file._replace(values=mixed(file))
    transform = rcf.Transform(file.values.shape[1], method=view)
    found = transform.process(file.values)
    if file.collection == "tabular":  # a table has no order: all of it says what its scales are
        found = transform.process(file.values, learn=False)
    return file._replace(values=found)


def cold(file: Labelled) -> Labelled:
    """A file without the part that only teaches."""
    return file._replace(
        values=file.values[file.start :], labels=file.labels[file.start :], start=0
    )


def measures(folder: Path, every: int) -> Iterator[tuple[Measure, list[Labelled]]]:
    """How each collection is measured, and its files."""
    for name in os.environ.get("RCF_ONLY", "asd,smd,smap_msl,skab,tabular").split(","):
        files = collection(folder / name)
        if name in SMOOTH:
            files = [file for file in files[::every] if file.labels[file.start :].any()]
            files = [cold(file) for file in files] if name == "smd" else files
            yield partial(of_streams, name, SMOOTH[name], False), files
        else:
            yield of_skab if name == "skab" else of_tables, files


def figures(measure: Measure, file: Labelled, view: str, seed: int) -> list[Figure]:
    """A file's figures through one of `VIEWS`."""
    return list(measure([seen_as(view, file)], seed))


def measured(folder: Path, seeds: tuple[int, ...], every: int) -> Iterator[Row]:
    """One line a measure and view: the mean of files and seeds, and of either half of the files."""
    with ProcessPoolExecutor(min(2, os.cpu_count() or 1), get_context("forkserver")) as pool:
        waiting = [
            (view, [[pool.submit(figures, one, file, view, s) for s in seeds] for file in files])
            for one, files in measures(folder, every)
            for view in VIEWS
        ]
        for view, of_files in waiting:
            yield from _rows(view, [[one.result() for one in seeds] for seeds in of_files])


def _rows(view: str, of_files: list[list[list[Figure]]]) -> Iterator[Row]:
    """Rows of figures (file, seed, measure)."""
    for at, (name, _) in enumerate(of_files[0][0]):
        means = [statistics.mean(found[at][1] for found in seeds) for seeds in of_files]
        row: dict[str, str | float | int] = {"measure": name, "through": view}
        halves = {"all": means, "half of the files": means[::2], "other half": means[1::2]}
        yield row | {part: f"{statistics.mean(some):.3f}" for part, some in halves.items()}


def main() -> None:
    """Measure and publish."""
    seeds = SEEDS[: int(os.environ.get("RCF_SEEDS", len(SEEDS)))]
    every = int(os.environ.get("RCF_EVERY", "1"))
    title = "transforms"
    rows = list(told(title, measured(data_folder(), seeds, every)))
    publish(title, rows, seeds=len(seeds), every=every)
