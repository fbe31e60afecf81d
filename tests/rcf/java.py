"""AWS's Java forest as an oracle, in a process of its own.

A virtual machine inside the tests' process would live on, without its threads, in every child that
later tests fork.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np

Answers = tuple[np.ndarray, np.ndarray]

HORIZON = 4  #: records that are extrapolated


class JavaForest:
    """A forest of the sizes of ours."""

    def __init__(self, features: int, shingle_size: int, seed: int) -> None:
        import jpype
        import jrcf  # noqa: F401  (starts the virtual machine)

        self._java = jpype
        self._forest = (
            jpype.JClass("com.amazon.randomcutforest.RandomCutForest")
            .builder()
            .numberOfTrees(50)
            .sampleSize(256)
            .dimensions(features * shingle_size)
            .shingleSize(shingle_size)
            .timeDecay(1 / 2560)
            .internalShinglingEnabled(True)
            .initialAcceptFraction(0.125)
            .randomSeed(seed)
            .build()
        )

    def update(self, row: np.ndarray) -> None:
        self._forest.update(self._java.JArray.of(row, self._java.JFloat))

    def extrapolate(self, horizon: int) -> np.ndarray:
        return np.array(self._forest.extrapolate(horizon))

    def impute(self, point: np.ndarray) -> np.ndarray:
        missing = np.flatnonzero(np.isnan(point)).astype(np.int32)
        filled = self._forest.imputeMissingValues(
            self._java.JArray.of(np.nan_to_num(point).astype(np.float32), self._java.JFloat),
            len(missing),
            self._java.JArray.of(missing, self._java.JInt),
        )
        return np.array(filled)[missing]


def completions(
    rows: np.ndarray, asked: list[int], missing: list[int], shingle_size: int, seed: int
) -> Answers:
    """What stands in the missing places of the points asked about, and the records that follow."""
    forest = JavaForest(rows.shape[1], shingle_size, seed)
    filled, ahead = [], []
    for at, row in enumerate(rows):
        if at in asked:
            point = rows[at - shingle_size + 1 : at + 1].reshape(-1).copy()
            point[missing] = np.nan
            filled.append(forest.impute(point))
            ahead.append(forest.extrapolate(HORIZON))
        forest.update(row)
    return np.array(filled), np.array(ahead)


def java_answers(
    rows: np.ndarray,
    asked: list[int],
    missing: list[int],
    shingle_size: int,
    seeds: Sequence[int],
) -> list[Answers]:
    """`completions` for each seed."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        waiting = [
            pool.submit(completions, rows, asked, missing, shingle_size, seed) for seed in seeds
        ]
        return [each.result() for each in waiting]
