"""Seconds of a start, each in a process of its own: imports, first results, compilations.

Warm programs take turns; one run that does not count fills the caches before. Cold ones get an
empty folder for compiled kernels (RCF_CACHE_DIR) each time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from statistics import median
from types import MappingProxyType
from typing import NamedTuple

from load.contender import orders
from load.peers import present
from load.report import README, Row, publish, told

#: Forests of the demo's shape give a score from their second record on.
_FIRST = "import rcf; rcf.Forest(shingle_size=8, output_after=1).process([1.0, 2.0])"
#: Numba imports these where it finds them, as a quarter of a start; ours does not bring them along.
_WITHOUT = "import sys; sys.modules.update(scipy=None, cffi=None)"
_KRCF = """
import krcf
forest = krcf.RandomCutForest({"dimensions": 1, "shingle_size": 8, "output_after": 1})
forest.update([1.0])
forest.score([2.0])
"""
_ANY_SHAPE = {"RCF_SPECIALISE": "0"}  # keeps to the kernel that serves every shape


class Program(NamedTuple):
    """What a fresh interpreter runs; `before` is not part of its inner seconds."""

    code: str
    environment: Mapping[str, str] = MappingProxyType({})
    before: str = ""


class Took(NamedTuple):
    """Seconds inside the interpreter, and of the whole process."""

    inside: float
    whole: float


WARM = {
    "python alone": Program("pass"),
    "import numpy": Program("import numpy"),
    "import rcf": Program("import rcf"),
    "import rcf.Forest, and so numba": Program("from rcf import Forest"),
    "first result, kernel of any shape": Program(_FIRST, _ANY_SHAPE),
    "first result, kernel for 1 x 8": Program(
        _FIRST, before="from rcf.special import warm; warm([(1, 0, 0)])"
    ),
    "the same without scipy and cffi": Program(f"{_WITHOUT}; {_FIRST}"),
}
PEERS = {
    "krcf": {"krcf: first result": Program(_KRCF)},
    "rrcf": {"import rrcf": Program("import rrcf")},
    "river": {"import river.anomaly": Program("import river.anomaly")},
}
#: In one folder for compiled kernels, in this order.
COLD = {
    "compile: first result, kernel of any shape": Program(_FIRST, _ANY_SHAPE),
    "compile: kernel for 1 x 8 besides": Program(
        "warm([(1, 0, 0)])", before="from rcf.special import warm; warm()"
    ),
}
COLD_COMMAND = {
    "compile: `rcf warm`": Program("from service.wiring import load_kernels; load_kernels()")
}


def run(program: Program, folder: str | None = None) -> Took:
    """Run a program once.

    Args:
        program: What to run.
        folder: Where compiled kernels are kept; by default where they always are.
    """
    code = (
        f"{program.before}\nimport time; began = time.perf_counter()\n"
        f"{program.code}\nprint(time.perf_counter() - began)"
    )
    environment = {**os.environ, **program.environment}
    # Where this is set, and the installer has not compiled the packages, each start compiles them.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    if folder is not None:
        environment["RCF_CACHE_DIR"] = folder
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env=environment,
        cwd=README.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    whole = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"a measured program failed:\n{code}\n{done.stderr}")
    return Took(float(done.stdout.split()[-1]), whole)


def warm_rows(rounds: int) -> Iterator[Row]:
    """Programs whose kernels are compiled already, in turns."""
    programs = dict(WARM)
    for name in present(PEERS):
        programs |= PEERS[name]
    for program in programs.values():
        run(program)
    # From here on the kernel is in the cache, and nothing stands before it.
    programs = {name: program._replace(before="") for name, program in programs.items()}
    took: dict[str, list[Took]] = {name: [] for name in programs}
    for names in orders(list(programs), rounds):
        for name in names:
            took[name].append(run(programs[name]))
    for name, all_of in took.items():
        yield _row(name, all_of)


def cold_rows(rounds: int) -> Iterator[Row]:
    """Programs that compile."""
    for programs in (COLD, COLD_COMMAND):
        took: dict[str, list[Took]] = {name: [] for name in programs}
        for _ in range(rounds):
            with tempfile.TemporaryDirectory(prefix="rcf-load-") as folder:
                for name, program in programs.items():
                    took[name].append(run(program, folder))
        for name, all_of in took.items():
            yield _row(name, all_of)


def _row(name: str, took: list[Took]) -> Row:
    return {
        "what": name,
        "runs": len(took),
        "inside Python s": median(one.inside for one in took),
        "whole process s": median(one.whole for one in took),
    }


def rows(rounds: int, cold_rounds: int) -> Iterator[Row]:
    """The whole table."""
    yield from warm_rows(rounds)
    yield from cold_rows(cold_rounds)


def main(rounds: int = 7, cold_rounds: int = 3) -> None:
    """Measure and publish."""
    publish("start: a fresh process", told("start", rows(rounds, cold_rounds)))
