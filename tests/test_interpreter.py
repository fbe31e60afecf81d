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


def turns(seconds: float) -> int:
    """How often two threads that run Python took turns."""
    whose, taken, end_s = 0, 0, time.monotonic() + seconds

    def compute(me: int) -> None:
        nonlocal whose, taken
        while time.monotonic() < end_s:
            if whose != me:
                whose = me
                taken += 1

    threads = [threading.Thread(target=compute, args=(me,)) for me in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return taken


@pytest.mark.usefixtures("as_before")
def test_threads_take_turns_more_often_than_pythons_own_allow():
    interpreter.tune()
    most_of_pythons_own = 0.2 / PYTHONS_OWN_S  # each of them lasts so long at least
    # A machine that is busy with others lets threads wait: one quiet moment is enough.
    assert any(turns(0.2) > 1.25 * most_of_pythons_own for _ in range(50))


@pytest.mark.usefixtures("as_before")
def test_what_is_there_at_the_start_is_not_collected_again_and_young_objects_seldom():
    interpreter.tune()
    assert gc.get_freeze_count() > 0
    assert gc.get_threshold()[0] == interpreter.YOUNG_OBJECTS
