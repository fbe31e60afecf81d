"""When the kernels for one shape of box rows (`rcf.fixed`) take over.

The kernel of any shape serves at once. Those of one shape are 1.3 to 1.6 times as fast, but each
takes about ten seconds to compile. So one takes over where it is in the cache already (`warm`, a
stream before this one), and else when the points of its shape have become so many that it repays
its compilation, which then runs in a process of its own, so that scoring never waits for it.
RCF_SPECIALISE=0 keeps to the kernel of any shape.
"""

from __future__ import annotations

import logging
import math
import os
import subprocess
import threading
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from rcf import state
from rcf.ask import ask_rows
from rcf.fixed import KERNELS
from rcf.jit import CACHE_DIRECTORY, INTERPRETED, compile_beside, marker
from rcf.run import Kernel, run_narrow, run_wide
from rcf.state import F64, I64, U8, Shape

log = logging.getLogger(__name__)

#: Points (counted over the forests of a shape, per fifty trees) that repay a compilation.
REPAYS = 500_000

#: (groups, tail, narrow), as in `KERNELS`.
Key = tuple[int, int, int]


class Specialist:
    """Which kernel serves one shape of box rows in this process.

    Args:
        key: The shape.

    Attributes:
        kernel: The kernel that serves.
        settled: Whether it stays so, and points need not be noted.
    """

    def __init__(self, key: Key) -> None:
        self._key = key
        self._lock = threading.Lock()
        self._work = 0.0
        self._compiling: subprocess.Popen[bytes] | None = None
        self.settled = key not in KERNELS or INTERPRETED or not _allowed()
        self.kernel: Kernel = run_narrow if key[2] else run_wide
        if not self.settled and _marker(key).exists():
            self._take_over()

    def note(self, points: int, trees: int) -> None:
        """Count points processed; start, or look after, a compilation that they repay."""
        if self.settled:
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
            try:
                source = f"from rcf.special import warm; warm([{self._key!r}])"
                self._compiling = compile_beside(source)
            except OSError as error:  # no more processes, or none allowed
                log.warning("the kernel for rows %s is not compiled: %s", self._key, error)
                self.settled = True
            return
        code = self._compiling.poll()
        if code is None:
            return
        if code == 0 and _marker(self._key).exists():
            self._take_over()
        else:
            log.warning("compiling the kernel for rows %s failed with %s", self._key, code)
            self.settled = True

    def _take_over(self) -> None:
        self.kernel = KERNELS[self._key]
        self.settled = True
        log.info("the kernel for rows %s takes over", self._key)


_SPECIALISTS: dict[Key, Specialist] = {}


def specialist_for(shape: Shape) -> Specialist:
    """The specialist for forests of a shape, one a process for each shape of rows and layout."""
    key = (shape.row.groups, shape.row.tail, shape.narrow)
    found = _SPECIALISTS.get(key)
    return found or _SPECIALISTS.setdefault(key, Specialist(key))


def warm(keys: Iterable[Key] = ()) -> None:
    """Compile kernels into the cache: those of any shape, and those of the given keys."""
    block, values, scores = _smallest(1, 0), np.zeros((1, 1)), np.empty(1)
    run_wide(*_one_record(block, values), False)
    ask_rows(block, values, 0, 0, scores, np.zeros(2), np.empty(0, np.int64))
    for key in keys:
        groups, tail, narrow = key
        dimensions = 8 * groups + tail
        block = _smallest(dimensions, narrow)
        KERNELS[key](*_one_record(block, np.zeros((1, dimensions))), False)
        _mark_ready(key)


def _one_record(block: U8, values: F64) -> tuple[I64, I64, F64, F64, float]:
    """Arguments of a kernel but for the last."""
    return np.array([block.ctypes.data]), np.array([0, 1]), values, np.empty(1), math.inf


def _smallest(dimensions: int, narrow: int) -> U8:
    """The block of a forest that has learnt nothing, and so has no score."""
    block = state.allocate(Shape(dimensions, 1, 1, 2, 64, 1, 1, 3, narrow))
    state.header_of(block)[state.OUTPUT_AFTER] = 1
    return block


def _allowed() -> bool:
    return CACHE_DIRECTORY is not None and os.environ.get("RCF_SPECIALISE", "1") != "0"


def _mark_ready(key: Key) -> None:
    if CACHE_DIRECTORY is not None:
        _marker(key).touch()


def _marker(key: Key) -> Path:
    layout = "narrow" if key[2] else "wide"
    return marker(f"{layout}-{key[0]}-{key[1]}", CACHE_DIRECTORY or Path())
