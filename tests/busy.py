"""A thread that runs Python all the time, as one that scores does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def computing() -> Iterator[None]:
    """Let another thread compute meanwhile."""
    done = threading.Event()

    def compute() -> None:
        while not done.is_set():
            sum(range(100))

    thread = threading.Thread(target=compute)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def took_s(work: Callable[[], object], times: int) -> list[float]:
    """How long each of so many goes took, from the shortest to the longest."""
    found = []
    for _ in range(times):
        began_s = time.perf_counter()
        work()
        found.append(time.perf_counter() - began_s)
    return sorted(found)
