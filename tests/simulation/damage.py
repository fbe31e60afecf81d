"""What harms a worker from outside: a full disk, damaged files, a wrong clock, slow scoring."""

from __future__ import annotations

import ctypes
import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from service.adapters.clock import SystemClock
from service.engine import ports
from service.engine.config import StreamConfig
from service.engine.ports import DetectorFactory, SeriesDetector

HOUR_MS = 3_600_000
_NEW_MOUNTS, _PRIVATE, _DEEP, _AGAIN = 0x20000, 1 << 18, 1 << 14, 32  # unshare(2), mount(2)


class NoOwnDiskError(Exception):
    """This process may not mount anything."""


@dataclass
class OwnDisk:
    """A disk in memory, seen by this process and its children alone.

    Args:
        place: an empty directory.
        step: its bytes, and by how many it grows.

    Raises:
        NoOwnDiskError: this user may not.
    """

    place: Path
    step: int
    _libc: ctypes.CDLL = field(default_factory=lambda: ctypes.CDLL(None, use_errno=True))

    def __post_init__(self) -> None:
        self.size = self.step
        self._check(self._libc.unshare(_NEW_MOUNTS))
        self._check(self._libc.mount(b"none", b"/", None, _PRIVATE | _DEEP, None))
        self._mount(0)

    def enlarge(self) -> None:
        """Let it grow by a step."""
        free = os.statvfs(self.place)
        self.size = free.f_blocks * free.f_frsize + self.step  # it may have grown elsewhere
        self._mount(_AGAIN)

    def _mount(self, flags: int) -> None:
        options = b"size=%d" % self.size
        place = str(self.place).encode()
        self._check(self._libc.mount(b"none", place, b"tmpfs", flags, options))

    def _check(self, code: int) -> None:
        if code:
            raise NoOwnDiskError(f"no disk of its own: {os.strerror(ctypes.get_errno())}")


def newest_files(folder: Path, count: int) -> list[Path]:
    """The files below a folder that were written last, the newest first; none that is gone."""
    found = []
    for path in folder.rglob("*"):
        try:
            if path.is_file() and path.stat().st_size:
                found.append((path.stat().st_mtime_ns, path))
        except FileNotFoundError:  # swept this moment
            continue
    return [path for _, path in sorted(found, reverse=True)[:count]]


def damage(rng: random.Random, path: Path, flips: int = 50) -> None:
    """Flip bits all over a file, or cut it off somewhere."""
    data = bytearray(path.read_bytes())
    if rng.random() < 0.3:
        del data[rng.randrange(len(data)) :]
    else:
        for _ in range(flips):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


class SkewedClock:
    """A wall clock that is wrong by up to an hour, and jumps each time somebody looks."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._clock = SystemClock()
        self._begin_s = self._rng.uniform(0.0, 1e6)

    def now_ms(self) -> int:
        """See `Clock`."""
        return self._clock.now_ms() + self._rng.randint(-HOUR_MS, HOUR_MS)

    def monotonic_s(self) -> float:
        """See `Clock`; its origin may be anywhere."""
        return self._begin_s + self._clock.monotonic_s()

    def worked_s(self) -> float:
        """See `Clock`; a count of this thread's work, which no skew touches."""
        return self._clock.worked_s()


@dataclass(frozen=True)
class SlowFactory:
    """Makes detectors that score so many times more slowly."""

    factory: DetectorFactory
    times: float = 20.0

    def create(self, config: StreamConfig, seed: int) -> SeriesDetector:
        return self.factory.create(config, seed)

    def merge(self, detector: SeriesDetector, others: Sequence[SeriesDetector]) -> None:
        self.factory.merge(detector, others)

    def verify(self, data: bytes) -> None:
        self.factory.verify(data)

    def restore(self, data: bytes) -> SeriesDetector:
        return self.factory.restore(data)

    def adjust(self, detector: SeriesDetector, config: StreamConfig) -> None:
        self.factory.adjust(detector, config)

    def process(
        self, detectors: Sequence[SeriesDetector], *what: np.ndarray, explain: str
    ) -> ports.Told:
        began_s = time.perf_counter()
        found = self.factory.process(detectors, *what, explain=explain)
        time.sleep((self.times - 1) * (time.perf_counter() - began_s))
        return found


Told = Callable[[float], None]
"""Told the share of the work that is done."""
