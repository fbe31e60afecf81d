"""Nothing is compiled in the background while tests run; `test_special` sees to those kernels.

But for the other modes of the kernels: compiling them with checked bounds takes minutes of a core
that is idle while tests wait for brokers, so their processes start when the session does.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rcf import workload

os.environ["RCF_SPECIALISE"] = "0"

#: Variable that turns the mode on, and how to treat warnings: interpreted, numpy warns of the
#: wraparound that splitmix64 lives by.
MODES = {
    "interpreted": ("NUMBA_DISABLE_JIT", "ignore::RuntimeWarning"),
    "checked bounds": ("NUMBA_BOUNDSCHECK", "error"),
}
_STARTED = pytest.StashKey[dict[str, "subprocess.Popen[str]"]]()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start the modes if a test asks for them."""
    wanted = any("modes" in getattr(item, "fixturenames", ()) for item in session.items)
    if wanted and not session.config.option.collectonly:
        session.config.stash[_STARTED] = {mode: _start(mode) for mode in MODES}


@pytest.fixture(scope="session")
def modes(pytestconfig: pytest.Config) -> dict[str, subprocess.Popen[str]]:
    """The workload's process in each mode."""
    return pytestconfig.stash[_STARTED]


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave no process behind."""
    for process in config.stash.get(_STARTED, {}).values():
        process.kill()
        process.communicate()


def _start(mode: str) -> subprocess.Popen[str]:
    variable, warnings = MODES[mode]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA_", "RCF_"))}
    # Numba's cache does not tell code with checked bounds from other code.
    kept |= {variable: "1", "RCF_CACHE_DIR": str(_folder())}
    return subprocess.Popen(
        [sys.executable, "-W", warnings, "-m", "tests.rcf.workload"],
        cwd=Path(workload.__file__).parents[2],
        env=kept,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _folder() -> Path:
    from rcf.jit import CACHE_DIRECTORY

    assert CACHE_DIRECTORY is not None, "no folder can be written"
    return CACHE_DIRECTORY.parent / "checked-bounds"
