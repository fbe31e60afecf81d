"""This project's forest as a contender: blocks of records, one a call, in two threads."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import rcf
from load.contender import Do, Setup
from rcf import fixed, special
from rcf.row import row_for
from rcf.state import F64


def forest(setup: Setup, score: str = "codisp") -> rcf.Forest:
    """An empty forest."""
    return rcf.Forest(
        setup.features,
        shingle_size=setup.shingle,
        trees=setup.trees,
        sample_size=setup.sample_size,
        box_mass=setup.box_mass,
        score=score,
        seed=setup.seed,
    )


class Ours:
    """A block a call."""

    def __init__(self, setup: Setup, score: str = "codisp") -> None:
        self._forest = forest(setup, score)

    def run(self, rows: F64, do: Do = Do.BOTH) -> float:
        """Seconds for the records."""
        act = {
            Do.BOTH: self._forest.process,
            Do.SCORE: self._forest.score,
            Do.UPDATE: self._forest.update,
        }[do]
        began = time.perf_counter()
        act(rows)
        return time.perf_counter() - began

    def close(self) -> None:
        """Nothing to let go of."""


class OneByOne:
    """A record a call, as a program sees records that arrive singly; a list or an array each."""

    def __init__(self, setup: Setup, *, lists: bool) -> None:
        self._forest = forest(setup)
        self._lists = lists

    def run(self, rows: F64, do: Do = Do.BOTH) -> float:
        """Seconds for the records; whole blocks where nothing is scored, which is not measured."""
        if do is Do.UPDATE:
            self._forest.update(rows)
            return 0.0
        act = self._forest.process if do is Do.BOTH else self._forest.score
        records = rows.tolist() if self._lists else list(rows)
        began = time.perf_counter()
        for record in records:
            act(record)
        return time.perf_counter() - began

    def close(self) -> None:
        """Nothing to let go of."""


class Several:
    """Several forests, each with every record; after one another, or each in a thread of its own.

    Seconds are those of the wall clock for all of them.
    """

    def __init__(self, setups: Iterable[Setup], *, threads: bool) -> None:
        self._forests = [forest(setup) for setup in setups]
        self._pool = ThreadPoolExecutor(len(self._forests)) if threads else None

    def run(self, rows: F64, do: Do = Do.BOTH) -> float:
        """Seconds until the last forest is through."""

        def go(one: rcf.Forest) -> None:
            (one.score if do is Do.SCORE else one.process)(rows)

        began = time.perf_counter()
        for _ in (self._pool.map if self._pool else map)(go, self._forests):
            pass
        return time.perf_counter() - began

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()


def warm_kernels(shapes: Iterable[tuple[int, int]]) -> None:
    """Compile the kernels of some (features, shingle), as a long stream or `rcf warm` would."""
    rows = {row_for(features * shingle) for features, shingle in shapes}
    for key in sorted((row.groups, row.tail, 0) for row in rows):
        if key in fixed.KERNELS:
            sys.stderr.write(f"compiling, or loading, the kernel for rows {key[:2]} …\n")
            special.warm([key])
