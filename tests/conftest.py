"""What all tests share: a broker, an S3 server, and what is said at the end where it is missing.

Tests run in two processes (pytest-xdist), a file's in one of them, and all that need the broker in
one: half of the time they wait for it. What takes long is begun first, for what is begun
last keeps one process busy while the other has nothing left to do.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.kafka.fixtures import kafka, kafka_address, proxy
from tests.left_out import left_out
from tests.s3 import s3_bucket, s3_endpoint

BROKER = "broker"
#: Groups of more than twenty seconds, the longest first.
LONGEST = (
    BROKER,
    "tests/rcf/test_modes.py",
    "tests/simulation/test_failpoints.py",
    "tests/rcf/test_oracles.py",
    "tests/rcf/test_special.py",
    "tests/cli/test_command.py",
    "tests/simulation/test_kills.py",
    "tests/rcf/test_jit.py",
    "tests/kafka/test_security.py",
    "tests/rcf/test_laws.py",
    "tests/kafka/test_faults.py",
    "tests/rcf/test_reference.py",
    "tests/rcf/test_vector.py",
    "tests/api/test_openapi.py",
    "tests/simulation/test_mutants.py",
    "tests/cli/test_size.py",
)

__all__ = ["kafka", "kafka_address", "proxy", "s3_bucket", "s3_endpoint"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a file's tests in one process, and all that need the broker in one."""
    groups = {item: _group_of(item) for item in items}
    for item, group in groups.items():
        item.add_marker(pytest.mark.xdist_group(group))
    ranks = {group: rank for rank, group in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(groups[item], len(ranks)))


def _group_of(item: pytest.Item) -> str:
    if "kafka_address" in getattr(item, "fixturenames", ()) or item.get_closest_marker(BROKER):
        return BROKER
    return item.path.relative_to(item.config.rootpath).as_posix()


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
