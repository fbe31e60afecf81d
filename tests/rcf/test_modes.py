"""The kernels give the same bits interpreted and with checked bounds."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.rcf import workload


@pytest.mark.slow
def test_every_mode_gives_the_same_bits(modes: dict[str, subprocess.Popen[str]]) -> None:
    """Checked bounds also show that no kernel reads or writes beside its section."""
    expected = workload.run()
    assert len(modes) == 2
    for mode, process in modes.items():
        out, errors = process.communicate(timeout=400)
        assert process.returncode == 0, f"{mode}: {errors[-4000:]}"
        assert json.loads(out) == expected, mode
