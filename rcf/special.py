"""Kernels compiled for one shape of box rows, and when they take over.

The kernel of any shape (`rcf.step.run_rows`) serves at once. The ones here are 1.3 to 1.6 times as
fast and have the same bits, but each takes about ten seconds to compile. So one takes over where it
is in the cache already (`warm`, a stream before this one), and else when the points of its shape
have become so many that it repays its compilation, which then runs in a process of its own, so that
scoring never waits for it. RCF_SPECIALISE=0 keeps to the kernel of any shape.
"""

from __future__ import annotations

import logging
import os
import platform
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from rcf import state
from rcf.jit import CACHE_DIRECTORY, INTERPRETED, config, entry
from rcf.row import RowShape, fixed_row
from rcf.state import F64, U8, Int, Shape
from rcf.step import run, run_rows

log = logging.getLogger(__name__)

Kernel = Callable[[U8, F64, F64, bool], int]

#: Points (counted over the forests of a shape, per fifty trees) that repay a compilation.
REPAYS = 500_000


@entry
def run_0_1(block: U8, values: F64, scores: F64, learn: bool) -> Int:
    """`run_rows` for 1 dimension."""
    return run(block, values, scores, learn, fixed_row(0, 1))


@entry
def run_0_2(block: U8, values: F64, scores: F64, learn: bool) -> Int:
    """`run_rows` for 2 dimensions."""
    return run(block, values, scores, learn, fixed_row(0, 2))


@entry
def run_0_4(block: U8, values: F64, scores: F64, learn: bool) -> Int:
    """`run_rows` for 3 or 4 dimensions."""
    return run(block, values, scores, learn, fixed_row(0, 4))


@entry
def run_1_0(block: U8, values: F64, scores: F64, learn: bool) -> Int:
    """`run_rows` for 5 to 8 dimensions."""
    return run(block, values, scores, learn, fixed_row(1, 0))


@entry
def run_1_1(block: U8, values: F64, scores: F64, learn: bool) -> Int:
    """`run_rows` for 9 dimensions."""
    return run(block, values, scores, learn, fixed_row(1, 1))


@entry
def run_1_2(block: U8, values: F64, scores: F64, learn: bool) -> Int:
    """`run_rows` for 10 dimensions."""
    return run(block, values, scores, learn, fixed_row(1, 2))


@entry
def run_1_4(block: U8, values: F64, scores: F64, learn: bool) -> Int:
    """`run_rows` for 11 or 12 dimensions."""
    return run(block, values, scores, learn, fixed_row(1, 4))


@entry
def run_2_0(block: U8, values: F64, scores: F64, learn: bool) -> Int:
    """`run_rows` for 13 to 16 dimensions."""
    return run(block, values, scores, learn, fixed_row(2, 0))


@entry
def run_3_0(block: U8, values: F64, scores: F64, learn: bool) -> Int:
    """`run_rows` for 21 to 24 dimensions."""
    return run(block, values, scores, learn, fixed_row(3, 0))


@entry
def run_4_0(block: U8, values: F64, scores: F64, learn: bool) -> Int:
    """`run_rows` for 29 to 32 dimensions."""
    return run(block, values, scores, learn, fixed_row(4, 0))


@entry
def run_5_0(block: U8, values: F64, scores: F64, learn: bool) -> Int:
    """`run_rows` for 37 to 40 dimensions."""
    return run(block, values, scores, learn, fixed_row(5, 0))


@entry
def run_6_0(block: U8, values: F64, scores: F64, learn: bool) -> Int:
    """`run_rows` for 45 to 48 dimensions."""
    return run(block, values, scores, learn, fixed_row(6, 0))


@entry
def run_8_0(block: U8, values: F64, scores: F64, learn: bool) -> Int:
    """`run_rows` for 61 to 64 dimensions."""
    return run(block, values, scores, learn, fixed_row(8, 0))


@entry
def run_12_0(block: U8, values: F64, scores: F64, learn: bool) -> Int:
    """`run_rows` for 93 to 96 dimensions."""
    return run(block, values, scores, learn, fixed_row(12, 0))


#: Row (groups, tail) -> kernel of its own.
KERNELS: dict[tuple[int, int], Kernel] = {
    (0, 1): run_0_1,
    (0, 2): run_0_2,
    (0, 4): run_0_4,
    (1, 0): run_1_0,
    (1, 1): run_1_1,
    (1, 2): run_1_2,
    (1, 4): run_1_4,
    (2, 0): run_2_0,
    (3, 0): run_3_0,
    (4, 0): run_4_0,
    (5, 0): run_5_0,
    (6, 0): run_6_0,
    (8, 0): run_8_0,
    (12, 0): run_12_0,
}


class Specialist:
    """Which kernel serves one shape of box rows in this process."""

    def __init__(self, row: RowShape) -> None:
        self._key = (row.groups, row.tail)
        self._lock = threading.Lock()
        self._work = 0.0
        self._compiling: subprocess.Popen[bytes] | None = None
        self._settled = self._key not in KERNELS or INTERPRETED or not _allowed()
        self.kernel: Kernel = run_rows
        if not self._settled and _marker(self._key).exists():
            self._take_over()

    def note(self, points: int, trees: int) -> None:
        """Count points processed; start, or look after, a compilation that they repay."""
        if self._settled:
            return
        self._work += points * trees / 50.0
        if self._work < REPAYS or not self._lock.acquire(blocking=False):
            return
        try:
            self._advance()
        finally:
            self._lock.release()

    def _advance(self) -> None:
        if self._compiling is None:
            log.info("compiling the kernel for rows %s in the background", self._key)
            self._compiling = _start(self._key)
            return
        code = self._compiling.poll()
        if code is None:
            return
        if code == 0 and _marker(self._key).exists():
            self._take_over()
        else:
            log.warning("compiling the kernel for rows %s failed with %s", self._key, code)
            self._settled = True

    def _take_over(self) -> None:
        self.kernel = KERNELS[self._key]
        self._settled = True
        log.info("the kernel for rows %s takes over", self._key)


_SPECIALISTS: dict[tuple[int, int], Specialist] = {}


def specialist(row: RowShape) -> Specialist:
    """The specialist of a row's shape, one a process."""
    key = (row.groups, row.tail)
    found = _SPECIALISTS.get(key)
    if found is None:
        found = _SPECIALISTS.setdefault(key, Specialist(row))
    return found


def warm(rows: Iterable[tuple[int, int]] = ()) -> None:
    """Compile kernels into the cache: the one of any shape, and those of the given rows.

    Args:
        rows: (groups, tail) of box rows, keys of `KERNELS`.
    """
    _compile(run_rows, Shape(1, 1, 1, 2, 64, 1, 1, 3))
    for groups, tail in rows:
        dimensions = 8 * groups + tail
        _compile(KERNELS[groups, tail], Shape(dimensions, 1, 1, 2, 64, 1, 1, 3))
        if CACHE_DIRECTORY is not None:
            _marker((groups, tail)).touch()


def _compile(run_kernel: Kernel, shape: Shape) -> None:
    """Run a kernel on an empty forest of a shape."""
    values = np.zeros((1, shape.dimensions))
    run_kernel(state.allocate(shape), values, np.empty(1), False)


def _allowed() -> bool:
    return CACHE_DIRECTORY is not None and os.environ.get("RCF_SPECIALISE", "1") != "0"


def _marker(key: tuple[int, int]) -> Path:
    """File that says that a row's kernel is in the cache for this kind of processor."""
    processor = config.CPU_NAME or platform.machine()
    return Path(CACHE_DIRECTORY or "") / f"row-{key[0]}-{key[1]}-{processor}.ready"


def _start(key: tuple[int, int]) -> subprocess.Popen[bytes]:
    """Compile a row's kernel in a process of its own."""
    code = f"from rcf.special import warm; warm([{key!r}])"
    return subprocess.Popen(  # noqa: S603  (this very interpreter, no input from outside)
        [sys.executable, "-c", code],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
