"""What all tests share: a broker, an S3 server, and what is said at the end where it is missing.

Tests run in two processes (pytest-xdist), a file in one of them, and all that need the broker in
the same one: half of the time they wait for it.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.kafka.fixtures import kafka, kafka_address, proxy
from tests.left_out import left_out
from tests.s3 import s3_bucket, s3_endpoint

__all__ = ["kafka", "kafka_address", "proxy", "s3_bucket", "s3_endpoint"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a file's tests in one process, and those of all files that need the broker."""
    on_broker = {
        item.path for item in items if "kafka_address" in getattr(item, "fixturenames", ())
    }
    for item in items:
        group = "broker" if item.path in on_broker else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell the process that reports which parts this one left out."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left out"] = left_out.reasons


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Gather what another process left out."""
    left_out.reasons.update(getattr(node, "workeroutput", {}).get("left out", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly which part was not tested, and how to get it."""
    for part, reason in left_out.reasons.items():
        terminalreporter.write_line(f"NOT TESTED: {part}: {reason}", red=True, bold=True)
