"""When the kernels for one shape of box rows (`rcf.fixed`) take over.

The kernel of any shape serves at once. Those of one shape are 1.3 to 1.6 times as fast, but each
takes about ten seconds to compile. So one takes over where it is in the cache already (`warm`, a
stream before this one), and else when the points of its shape have become so many that it repays
its compilation, which then runs in a process of its own, so that scoring never waits for it.
RCF_SPECIALISE=0 keeps to the kernel of any shape.
"""

from __future__ import annotations

import logging
import os
import platform
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from rcf import state
from rcf.ask import ask_rows
from rcf.fixed import KERNELS, MANY, Kernel, ManyKernel
from rcf.jit import CACHE_DIRECTORY, INTERPRETED, config
from rcf.many import run_narrow
from rcf.row import RowShape
from rcf.state import Shape
from rcf.step import run_rows

log = logging.getLogger(__name__)

#: Points (counted over the forests of a shape, per fifty trees) that repay a compilation.
REPAYS = 500_000

_ONE, _MANY = "row", "many"
_Kernel = TypeVar("_Kernel")


class Specialist(Generic[_Kernel]):
    """Which kernel serves one shape of box rows in this process.

    Args:
        row: The shape.
        general: Kernel of any shape.
        kernels: Those of one shape, by groups and tail.
        mark: Begins the names of the files that say which kernels are in the cache.
    """

    def __init__(
        self,
        row: RowShape,
        general: _Kernel,
        kernels: Mapping[tuple[int, int], _Kernel],
        mark: str,
    ) -> None:
        self._key = (row.groups, row.tail)
        self._kernels = kernels
        self._mark = mark
        self._lock = threading.Lock()
        self._work = 0.0
        self._compiling: subprocess.Popen[bytes] | None = None
        self._settled = self._key not in kernels or INTERPRETED or not _allowed()
        self.kernel = general
        if not self._settled and _marker(self._mark, self._key).exists():
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
            self._compiling = _start(self._mark, self._key)
            return
        code = self._compiling.poll()
        if code is None:
            return
        if code == 0 and _marker(self._mark, self._key).exists():
            self._take_over()
        else:
            log.warning("compiling the kernel for rows %s failed with %s", self._key, code)
            self._settled = True

    def _take_over(self) -> None:
        self.kernel = self._kernels[self._key]
        self._settled = True
        log.info("the kernel for rows %s takes over", self._key)


_SPECIALISTS: dict[tuple[str, int, int], Specialist[Any]] = {}


def for_one(row: RowShape) -> Specialist[Kernel]:
    """The specialist for single forests with a shape of rows, one a process."""
    key = (_ONE, row.groups, row.tail)
    found = _SPECIALISTS.get(key)
    return found or _SPECIALISTS.setdefault(key, Specialist(row, run_rows, KERNELS, _ONE))


def for_many(row: RowShape) -> Specialist[ManyKernel]:
    """The specialist for many forests of the narrow layout, one a process."""
    key = (_MANY, row.groups, row.tail)
    found = _SPECIALISTS.get(key)
    return found or _SPECIALISTS.setdefault(key, Specialist(row, run_narrow, MANY, _MANY))


def warm(rows: Iterable[tuple[int, int]] = (), many: Iterable[tuple[int, int]] = ()) -> None:
    """Compile kernels into the cache: those of any shape, and those of the given rows.

    Args:
        rows: (groups, tail) of box rows, keys of `KERNELS`.
        many: The same for many forests, keys of `MANY`.
    """
    values, scores, stop = np.zeros((1, 1)), np.empty(1), np.inf
    run_rows(state.allocate(_smallest(1, 0)), values, scores, stop, False)
    ask_rows(
        state.allocate(_smallest(1, 0)), values, 0, 0, scores, np.zeros(2), np.empty(0, np.int64)
    )
    for groups, tail in rows:
        dimensions = 8 * groups + tail
        block = state.allocate(_smallest(dimensions, 0))
        KERNELS[groups, tail](block, np.zeros((1, dimensions)), scores, stop, False)
        _mark_ready(_ONE, (groups, tail))
    for groups, tail in many:
        dimensions = 8 * groups + tail
        block = state.allocate(_smallest(dimensions, 1))
        table, series = np.array([block.ctypes.data]), np.zeros(1, np.int64)
        MANY[groups, tail](table, series, np.zeros((1, dimensions)), scores, False)
        _mark_ready(_MANY, (groups, tail))


def _smallest(dimensions: int, narrow: int) -> Shape:
    return Shape(dimensions, 1, 1, 2, 64, 1, 1, 3, narrow)


def _allowed() -> bool:
    return CACHE_DIRECTORY is not None and os.environ.get("RCF_SPECIALISE", "1") != "0"


def _mark_ready(mark: str, key: tuple[int, int]) -> None:
    if CACHE_DIRECTORY is not None:
        _marker(mark, key).touch()


def _marker(mark: str, key: tuple[int, int]) -> Path:
    """File that says that a row's kernel is in the cache for this kind of processor."""
    processor = config.CPU_NAME or platform.machine()
    return Path(CACHE_DIRECTORY or "") / f"{mark}-{key[0]}-{key[1]}-{processor}.ready"


def _start(mark: str, key: tuple[int, int]) -> subprocess.Popen[bytes]:
    """Compile a row's kernel in a process of its own."""
    code = f"from rcf.special import warm; warm({'many=' if mark == _MANY else ''}[{key!r}])"
    return subprocess.Popen(  # noqa: S603  (this very interpreter, no input from outside)
        [sys.executable, "-c", code],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
