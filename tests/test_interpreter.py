"""How the interpreter is set for a server."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Iterator

import pytest

from service import interpreter
from tests.busy import computing, took_s

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
    def lets_go() -> None:
        time.sleep(0.0)

    with computing():
        # Where the machine is slow to run the other thread, many waits are short, and some long.
        assert took_s(lets_go, 50)[-1] > 0.004  # what Python itself does
        interpreter.tune()
        assert took_s(lets_go, 50)[12] < 0.003


@pytest.mark.usefixtures("as_before")
def test_what_is_there_at_the_start_is_not_collected_again_and_young_objects_seldom():
    interpreter.tune()
    assert gc.get_freeze_count() > 0
    assert gc.get_threshold()[0] == interpreter.YOUNG_OBJECTS
