"""The kernels give the same bits interpreted and with checked bounds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rcf.jit import CACHE_DIRECTORY
from tests.rcf import workload

#: Variable that turns the mode on, and how to treat warnings: interpreted, numpy warns of the
#: wraparound that splitmix64 lives by.
MODES = {
    "interpreted": ("NUMBA_DISABLE_JIT", "ignore::RuntimeWarning"),
    "checked bounds": ("NUMBA_BOUNDSCHECK", "error"),
}


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_gives_the_same_bits(mode: str) -> None:
    """Checked bounds also show that no kernel reads or writes beside its section."""
    variable, warnings = MODES[mode]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA_", "RCF_"))}
    # Numba's cache does not tell code with checked bounds from other code.
    assert CACHE_DIRECTORY is not None, "no folder can be written"
    kept |= {variable: "1", "RCF_CACHE_DIR": str(CACHE_DIRECTORY.parent / "checked-bounds")}
    done = subprocess.run(
        [sys.executable, "-W", warnings, "-m", "tests.rcf.workload"],
        cwd=Path(workload.__file__).parents[2],
        env=kept,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert json.loads(done.stdout) == workload.run()
