"""How the interpreter is set for a server."""

from __future__ import annotations

import gc
import sys
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
def test_threads_take_shorter_turns_than_pythons_own():
    interpreter.tune()
    # How long a turn lasts in the end is the machine's affair, and a busy one's is any length.
    assert sys.getswitchinterval() == pytest.approx(interpreter.TURN_S)
    assert interpreter.TURN_S < PYTHONS_OWN_S / 2


@pytest.mark.usefixtures("as_before")
def test_what_is_there_at_the_start_is_not_collected_again_and_young_objects_seldom():
    interpreter.tune()
    assert gc.get_freeze_count() > 0
    assert gc.get_threshold()[0] == interpreter.YOUNG_OBJECTS
