"""What all tests share: a broker, an S3 server, and what is said at the end where it is missing."""

from __future__ import annotations

import pytest

from tests.kafka.fixtures import kafka, kafka_address, proxy
from tests.left_out import left_out
from tests.s3 import s3_bucket, s3_endpoint

__all__ = ["kafka", "kafka_address", "proxy", "s3_bucket", "s3_endpoint"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly which part was not tested, and how to get it."""
    for part, reason in left_out.reasons.items():
        terminalreporter.write_line(f"NOT TESTED: {part}: {reason}", red=True, bold=True)
