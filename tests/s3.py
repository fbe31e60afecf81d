"""An S3 server behind a socket like any other: moto's, in a process of its own.

(Moto in this process would leave files open, which tests that treat warnings as errors notice.)
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.kafka.broker import HOST, free_ports, listens

KEY_ID, SECRET = "AKIDTHEOPERATOR", "a-secret-nobody-may-see"
START_S = 60


@pytest.fixture(scope="session")
def s3_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """http://host:port of a server for the whole session."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(port)]
    with (tmp_path_factory.mktemp("s3") / "log").open("wb") as log:
        environment = os.environ | {"MOTO_S3_DEFAULT_MAX_KEYS": "50"}
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            limit_s = time.monotonic() + START_S
            while not listens(port):
                assert process.poll() is None and time.monotonic() < limit_s
                time.sleep(0.05)
            yield f"http://{HOST}:{port}"
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def s3_bucket(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an empty bucket; the environment says where it is, and who asks."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    name = f"snapshots-{uuid.uuid4().hex[:8]}"
    s3_client().create_bucket(Bucket=name)
    return name


def s3_client() -> Any:
    """Amazon's own client, so that not our own judges us."""
    import boto3

    return boto3.client("s3", region_name="us-east-1")
