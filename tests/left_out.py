"""Parts of the tests that need something this machine may lack."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from typing import NoReturn

import pytest

REQUIRE = "RCF_REQUIRE_ALL"


@dataclass
class LeftOut:
    """Parts of the tests that did not run, and why; `conftest` says them at the end."""

    reasons: dict[str, str] = field(default_factory=dict)

    def leave_out(self, part: str, reason: str) -> NoReturn:
        """Skip the test that asks, or fail it where everything is required."""
        self.reasons[part] = reason
        if os.environ.get(REQUIRE) == "1":
            pytest.fail(f"{part} must be tested, but: {reason}")
        pytest.skip(f"{part}: {reason}")


left_out = LeftOut()


def need_curl() -> None:
    """Leave the test that asks out where there is no curl."""
    if shutil.which("curl") is None:
        left_out.leave_out("the README's curl examples", "install curl")


def need_node() -> str:
    """Return the program; leave the test that asks out where there is none."""
    found = shutil.which("node")
    if found is None:
        left_out.leave_out("the live page", "install Node.js: `apt-get install nodejs`")
    return found


def need_kcat() -> None:
    """Leave the test that asks out where there is no kcat."""
    if shutil.which("kcat") is None:
        left_out.leave_out("kcat on our topics", "install kcat: `apt-get install kcat`")


def need_prometheus() -> None:
    """Leave the test that asks out where there is no Prometheus, or no promtool."""
    if not all(map(shutil.which, ("prometheus", "promtool"))):
        left_out.leave_out("dashboards and alerts", "install it: `apt-get install prometheus`")
