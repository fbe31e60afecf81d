"""What all tests share: a broker, an S3 server, and what is said at the end where it is missing.

Tests run in two processes (pytest-xdist), all of a file in one of them, so that what a file shares
is made once. What takes long is begun first, for what is begun last keeps one process busy while
the other has nothing left to do.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.kafka.fixtures import kafka, kafka_address, proxy
from tests.left_out import left_out
from tests.s3 import s3_bucket, s3_endpoint

#: Files of more than twenty seconds, the longest first.
LONGEST = (
    "tests/rcf/test_modes.py",
    "tests/simulation/test_failpoints.py",
    "tests/kafka/test_mutants.py",
    "tests/rcf/test_oracles.py",
    "tests/kafka/test_faults.py",
    "tests/rcf/test_special.py",
    "tests/kafka/test_security.py",
    "tests/cli/test_command.py",
    "tests/simulation/test_kills.py",
    "tests/rcf/test_jit.py",
    "tests/kafka/test_kills.py",
    "tests/rcf/test_laws.py",
    "tests/rcf/test_reference.py",
    "tests/rcf/test_vector.py",
    "tests/api/test_openapi.py",
    "tests/simulation/test_mutants.py",
    "tests/cli/test_size.py",
)

__all__ = ["kafka", "kafka_address", "proxy", "s3_bucket", "s3_endpoint"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files."""
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.nodeid.partition("::")[0], len(ranks)))


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
