"""How the interpreter is set for a server."""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from service import interpreter

PYTHONS_OWN_S = 0.005


@pytest.fixture
def as_before() -> Iterator[None]:
    turn_s, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(PYTHONS_OWN_S)  # a server may have run in this process before
    yield
    sys.setswitchinterval(turn_s)
    gc.set_threshold(*thresholds)
    gc.unfreeze()


@pytest.mark.usefixtures("as_before")
def test_whoever_lets_go_of_the_interpreter_gets_it_back_soon():
    done = threading.Event()

    def compute() -> None:
        while not done.is_set():
            sum(range(100))

    def waits_s() -> list[float]:
        """How long a thread waits that lets go for a moment, from the shortest to the longest."""
        waits = []
        for _ in range(50):
            began_s = time.perf_counter()
            time.sleep(0.0)
            waits.append(time.perf_counter() - began_s)
        return sorted(waits)

    thread = threading.Thread(target=compute)
    thread.start()
    try:
        # A machine that gives the other thread no time makes single waits short, or long.
        assert waits_s()[25] > 0.004  # what Python itself does
        interpreter.tune()
        assert waits_s()[12] < 0.003
    finally:
        done.set()
        thread.join()


@pytest.mark.usefixtures("as_before")
def test_what_is_there_at_the_start_is_not_collected_again_and_young_objects_seldom():
    interpreter.tune()
    assert gc.get_freeze_count() > 0
    assert gc.get_threshold()[0] == interpreter.YOUNG_OBJECTS
