"""The kernels give the same bits interpreted and with checked bounds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rcf import jit
from tests.rcf import workload

ROOT = Path(workload.__file__).parents[2]


#: Variable that turns the mode on, and how to treat warnings: interpreted, numpy warns of the
#: wraparound that splitmix64 lives by.
MODES = {
    "interpreted": ("NUMBA_DISABLE_JIT", "ignore::RuntimeWarning"),
    "checked bounds": ("NUMBA_BOUNDSCHECK", "error"),
}


def start(mode: str, folder: Path) -> subprocess.Popen[str]:
    variable, warnings = MODES[mode]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA_", "RCF_"))}
    return subprocess.Popen(
        [sys.executable, "-W", warnings, "-m", "tests.rcf.workload"],
        cwd=ROOT,
        env={**kept, variable: "1", "RCF_CACHE_DIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_every_mode_gives_the_same_bits(tmp_path: Path) -> None:
    """Checked bounds also show that no kernel reads or writes beside its section.

    Numba's cache does not tell code with checked bounds from other code, so it has its own folder.
    """
    folder = jit.CACHE_DIRECTORY.parent / "checked-bounds" if jit.CACHE_DIRECTORY else tmp_path
    processes = {mode: start(mode, folder) for mode in MODES}
    try:
        expected = workload.run()
        for mode, process in processes.items():
            out, errors = process.communicate(timeout=300)
            assert process.returncode == 0, f"{mode}: {errors[-4000:]}"
            assert json.loads(out) == expected, mode
    finally:
        for process in processes.values():
            process.kill()
            process.communicate()
