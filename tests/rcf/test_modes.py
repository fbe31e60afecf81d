"""The kernels give the same bits interpreted and with checked bounds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rcf import workload

ROOT = Path(workload.__file__).parents[2]


def run_in_mode(folder: Path, **mode: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA_", "RCF_"))}
    # Interpreted, numpy warns of the wraparound that splitmix64 lives by.
    warnings = "ignore::RuntimeWarning" if "NUMBA_DISABLE_JIT" in mode else "error"
    done = subprocess.run(
        [sys.executable, "-W", warnings, "-m", "tests.rcf.workload"],
        cwd=ROOT,
        env={**kept, "NUMBA_CACHE_DIR": str(folder), **mode},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["NUMBA_DISABLE_JIT", "NUMBA_BOUNDSCHECK"])
def test_every_mode_gives_the_same_bits(mode: str, tmp_path: Path) -> None:
    """Checked bounds also show that no kernel reads or writes beside its section."""
    assert run_in_mode(tmp_path, **{mode: "1"}) == workload.run()
