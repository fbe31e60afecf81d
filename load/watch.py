"""What a process holds while it works: memory, descriptors, threads, tasks. Does it grow?"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import psutil  # type: ignore[import-untyped]  # ships no annotations

from load.service import Served

MB = 1e6
ENOUGH = 3  #: samples that a trend needs


class Sample(NamedTuple):
    """What a process held at one moment, in seconds from the begin of the watch."""

    at_s: float
    memory_mb: float
    descriptors: int
    threads: int
    tasks: int


class Watch(threading.Thread):
    """Looks at a service's process until it is told to leave.

    Args:
        service: the process.
        every_s: seconds between two looks.
    """

    def __init__(self, service: Served, every_s: float) -> None:
        super().__init__(daemon=True)
        self.samples: list[Sample] = []
        self._service = service
        self._process = psutil.Process(service.pid)
        self._every_s = every_s
        self._over = threading.Event()

    def run(self) -> None:
        """See `threading.Thread`."""
        began_s = time.monotonic()
        while not self._over.is_set():
            with self._process.oneshot():
                self.samples.append(
                    Sample(
                        time.monotonic() - began_s,
                        self._process.memory_info().rss / MB,
                        self._process.num_fds(),
                        self._process.num_threads(),
                        self._service.tasks(),
                    )
                )
            self._over.wait(self._every_s)

    def leave(self) -> None:
        """Look no more."""
        self._over.set()
        self.join()


def slope_per_minute(samples: Sequence[Sample]) -> float:
    """Growth of memory in MB a minute: the median of the slopes between any two samples.

    A burst that comes and goes, as when a snapshot is written, does not move it (Theil 1950).

    Raises:
        ValueError: there are fewer than `ENOUGH` samples.
    """
    if len(samples) < ENOUGH:
        raise ValueError(f"{len(samples)} samples show no trend; {ENOUGH} do")
    times = np.array([each.at_s for each in samples])
    memory = np.array([each.memory_mb for each in samples])
    former, later = np.triu_indices(len(samples), 1)
    slopes = (memory[later] - memory[former]) / (times[later] - times[former])
    return float(60.0 * np.median(slopes))


def growth(counts: Sequence[int]) -> float:
    """By how much the median of the last third of some counts is above that of the first third."""
    third = max(len(counts) // 3, 1)
    return float(np.median(counts[-third:]) - np.median(counts[:third]))
