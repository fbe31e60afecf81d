"""The other forests as contenders, and who of them is there.

    krcf   AWS's Rust behind Python, a record a call
    Java   AWS's Java in a loop of its own (`load.java_loop`)
    river  HalfSpaceTrees: another algorithm for the same task
    rrcf   pure Python, displacements by insertion; a block is a few dozen records

krcf and Java shingle by themselves, as ours does; rrcf and river are handed whole points.
"""

from __future__ import annotations

import functools
import math
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from load import java_loop
from load.contender import Contender, Do, Entry, Setup
from load.ours import Ours
from rcf.state import F64


class Krcf:
    """krcf, one call for the score and one for the update."""

    def __init__(self, setup: Setup, *, parallel: bool = False) -> None:
        self.forest = krcf_forest(setup, parallel=parallel)

    def run(self, rows: F64, do: Do = Do.BOTH) -> float:
        """Seconds for the records."""
        score, update = self.forest.score, self.forest.update
        points = rows.tolist()
        began = time.perf_counter()
        if do is Do.BOTH:
            for point in points:
                score(point)
                update(point)
        else:
            act = score if do is Do.SCORE else update
            for point in points:
                act(point)
        return time.perf_counter() - began

    def close(self) -> None:
        """Nothing to let go of."""


def krcf_forest(setup: Setup, *, parallel: bool = False) -> Any:
    """An empty forest of krcf."""
    import krcf

    return krcf.RandomCutForest(
        {
            "dimensions": setup.features,
            "shingle_size": setup.shingle,
            "num_trees": setup.trees,
            "sample_size": setup.sample_size,
            "random_seed": setup.seed,
            "output_after": setup.sample_size,
            "parallel_execution_enabled": parallel,
        }
    )


class Rrcf:
    """rrcf as its documentation streams: each tree holds the last `sample_size` points."""

    def __init__(self, setup: Setup) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its import warns of pkg_resources
            import rrcf
        self._trees = [
            rrcf.RCTree(random_state=setup.seed + number) for number in range(setup.trees)
        ]
        self._sample_size = setup.sample_size
        self._shingles = Shingles(setup)
        self._next = 0

    def run(self, rows: F64, do: Do = Do.BOTH) -> float:
        """Seconds for the records; scoring alone inserts, asks and forgets."""
        points = self._shingles.of(rows)
        began = time.perf_counter()
        for point in points:
            for tree in self._trees:
                if do is not Do.SCORE and self._next >= self._sample_size:
                    tree.forget_point(self._next - self._sample_size)
                tree.insert_point(point, index=self._next)
                if do is not Do.UPDATE:
                    tree.codisp(self._next)
                if do is Do.SCORE:
                    tree.forget_point(self._next)
            self._next += do is not Do.SCORE
        return time.perf_counter() - began

    def close(self) -> None:
        """Nothing to let go of."""


class River:
    """River's HalfSpaceTrees, as high as a tree over the sample is; limits from its first block."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._shingles = Shingles(setup)
        self._trees: Any = None

    def run(self, rows: F64, do: Do = Do.BOTH) -> float:
        """Seconds for the records."""
        points = [dict(enumerate(point)) for point in self._shingles.of(rows).tolist()]
        if self._trees is None:
            self._trees = self._plant(rows)
        score, learn = self._trees.score_one, self._trees.learn_one
        began = time.perf_counter()
        for point in points:
            if do is not Do.UPDATE:
                score(point)
            if do is not Do.SCORE:
                learn(point)
        return time.perf_counter() - began

    def _plant(self, rows: F64) -> Any:
        from river.anomaly import HalfSpaceTrees

        low, high = rows.min(axis=0).tolist(), rows.max(axis=0).tolist()
        limits = list(zip(low, high, strict=True)) * self._setup.shingle
        return HalfSpaceTrees(
            n_trees=self._setup.trees,
            height=int(math.log2(self._setup.sample_size)),
            window_size=self._setup.sample_size,
            limits=dict(enumerate(limits)),
            seed=self._setup.seed,
        )

    def close(self) -> None:
        """Nothing to let go of."""


class Shingles:
    """The last `shingle` records end to end, for those who do not keep them."""

    def __init__(self, setup: Setup) -> None:
        zeros = [np.zeros(setup.features)] * (setup.shingle - 1)
        self._last: deque[F64] = deque(zeros, maxlen=setup.shingle - 1)
        self._shingle = setup.shingle

    def of(self, rows: F64) -> F64:
        """One point a record, float64 (n, features x shingle); records before the first are 0."""
        whole = np.concatenate([*(row[None] for row in self._last), rows])
        self._last.extend(rows[-self._shingle :])
        windows = np.lib.stride_tricks.sliding_window_view(whole, self._shingle, axis=0)
        return np.ascontiguousarray(windows.swapaxes(1, 2)).reshape(len(rows), -1)


class Kind(NamedTuple):
    """A sort of contender.

    Attributes:
        make: Plants an empty one.
        warm: Records after which its pace is steady.
        missing: Why it cannot be there and how to get it; None if it can.
    """

    make: Callable[[Setup], Contender]
    warm: Callable[[Setup], int]
    missing: Callable[[], str | None]


def _package(name: str) -> Callable[[], str | None]:
    def missing() -> str | None:
        if find_spec(name) is not None:
            return None
        return f"the package {name} is not installed (it is in .lock/dev.txt)"

    return missing


KINDS = {
    "codisp": Kind(Ours, lambda setup: setup.warm, lambda: None),
    "depth": Kind(lambda setup: Ours(setup, "depth"), lambda setup: setup.warm, lambda: None),
    "krcf": Kind(Krcf, lambda setup: setup.warm, _package("krcf")),
    "Java": Kind(java_loop.JavaLoop, java_loop.warm, java_loop.missing),
    "river": Kind(River, lambda setup: 2 * setup.sample_size, _package("river")),
    "rrcf": Kind(Rrcf, lambda setup: setup.sample_size, _package("rrcf")),
}


@functools.cache
def is_there(name: str) -> bool:
    """Whether a contender can run here; says loudly, once, if it cannot."""
    reason = KINDS[name].missing()
    if reason is not None:
        sys.stderr.write(f"\n!!! {name} is LEFT OUT of every table: {reason}\n\n")
    return reason is None


def present(names: Iterable[str]) -> list[str]:
    """Those of the contenders that can run here."""
    return [name for name in names if is_there(name)]


@contextmanager
def lined_up(setup: Setup, values: F64, contenders: dict[str, Kind]) -> Iterator[dict[str, Entry]]:
    """Contenders that have scored and learnt their share of the stream; closes them."""
    with ExitStack() as stack:
        entries = {}
        for name, kind in contenders.items():
            contender = kind.make(setup)
            stack.callback(contender.close)
            warm = kind.warm(setup)
            contender.run(values[:warm])
            entries[name] = Entry(contender, warm)
        yield entries
