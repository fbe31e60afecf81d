"""Kernels compiled before the first record: all that a series needs, half of them in a child."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rcf
from rcf import compile as compiling
from rcf.jit import INTERPRETED

#: Prints how many kernels were compiled or loaded by then, before and after a series used them.
COUNT = """
import json
import numpy as np
from numba.core.dispatcher import Dispatcher
import rcf
from service.wiring import load_kernels
import gc

def compiled():
    entries = [each for each in gc.get_objects() if isinstance(each, Dispatcher)]
    return sum(len(each.signatures) for each in entries if each.py_func.__module__[:4] == "rcf.")

rcf.compile_kernels()
before = compiled()
load_kernels()
print(json.dumps([before, compiled()]))
"""


@pytest.mark.skipif(INTERPRETED, reason="nothing is compiled")
def test_nothing_is_left_for_the_first_record() -> None:
    done = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, check=True)
    before, after = json.loads(done.stdout)
    assert 8 < before == after


class Beside:
    """A process that has ended; what it was to run is kept."""

    def __init__(self, code: int) -> None:
        self.code = code
        self.ran: list[str] = []

    def __call__(self, code: str) -> "Beside":
        self.ran.append(code)
        return self

    def wait(self) -> int:
        return self.code


def start_cold(monkeypatch: pytest.MonkeyPatch, folder: Path, beside: Callable[[str], Any]) -> None:
    monkeypatch.setattr(compiling, "CACHE_DIRECTORY", folder)
    monkeypatch.setattr(compiling, "compile_beside", beside)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    rcf.compile_kernels()


def test_where_nothing_is_cached_half_is_compiled_beside(monkeypatch, tmp_path) -> None:
    beside = Beside(0)
    start_cold(monkeypatch, tmp_path, beside)
    assert beside.ran == [compiling.JUDGING]
    subprocess.run([sys.executable, "-c", compiling.JUDGING], check=True)


def test_a_child_that_fails_is_told_and_done_without(monkeypatch, tmp_path) -> None:
    with pytest.warns(RuntimeWarning, match="this one goes on alone"):
        start_cold(monkeypatch, tmp_path, Beside(1))


def test_where_no_process_can_be_started_this_one_goes_on(monkeypatch, tmp_path) -> None:
    def refuse(code: str) -> Beside:
        raise BlockingIOError("Resource temporarily unavailable")

    with pytest.warns(RuntimeWarning, match="this one goes on alone"):
        start_cold(monkeypatch, tmp_path, refuse)


def test_what_is_cached_for_this_processor_needs_no_child(monkeypatch, tmp_path) -> None:
    beside = Beside(0)
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("rcf.jit.get_host_cpu_name", lambda: "another")
        elsewhere.setattr("rcf.jit.config.CPU_NAME", None)
        start_cold(monkeypatch, tmp_path, beside)
    assert len(beside.ran) == 1
    start_cold(monkeypatch, tmp_path, beside)
    assert len(beside.ran) == 2
    start_cold(monkeypatch, tmp_path, beside)
    assert len(beside.ran) == 2
