"""`rcf serve` on Kafka: two processes, one API; either answers for all partitions."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.adapters.kafka import Connection
from tests.kafka.broker import free_ports
from tests.kafka.probe import group_offsets
from tests.s3 import SECRET, s3_client

START_S = 120  # kernels may have to be compiled


@contextlib.contextmanager
def serving(
    kafka: Connection, directory: Path, port: int, snapshots: str
) -> Iterator[subprocess.Popen]:
    environment = os.environ | {
        "RCF_KAFKA_APPLICATION": kafka.application,
        "RCF_KAFKA_REPLICATION": "1",
        "RCF_KAFKA_SESSION_S": "3",
        "RCF_SNAPSHOT_INTERVAL_S": "0.5",
    }
    command = [sys.executable, "-m", "service", "serve", "--port", str(port)]
    command += ["--kafka-bootstrap", kafka.bootstrap, "--data-dir", str(directory / str(port))]
    command += ["--snapshots", snapshots]
    with (directory / f"{port}.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def until_ready(client: httpx.Client, wait_s: float = START_S) -> None:
    limit_s = time.monotonic() + wait_s
    while time.monotonic() < limit_s:
        with contextlib.suppress(httpx.TransportError):
            if client.get("/readyz").status_code == 200:
                return
        time.sleep(0.1)
    raise AssertionError("the service did not become ready")


def post(client: httpx.Client, stream: str, rows: list[dict]) -> list[dict]:
    lines = "\n".join(json.dumps(row) for row in rows)
    answer = client.post(
        f"/v1/streams/{stream}/records",
        content=lines,
        headers={"content-type": "application/x-ndjson"},
        timeout=30,
    )
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


def all_results(client: httpx.Client, stream: str, count: int) -> list[dict]:
    """Read results; those of other workers arrive a moment after they are committed."""
    limit_s = time.monotonic() + 10
    while time.monotonic() < limit_s:
        found = client.get(f"/v1/streams/{stream}/results").json()["results"]
        if len(found) >= count:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{len(found)} results of {count}")


def until_shared(one: httpx.Client, two: httpx.Client, stream: str) -> None:
    """Wait until each of both workers runs half of the partitions."""
    limit_s = time.monotonic() + 20
    while time.monotonic() < limit_s:
        answers = [client.get(f"/v1/streams/{stream}/partitions") for client in (one, two)]
        states = [each["state"] for found in answers for each in found.json()["partitions"]]
        if sorted(states) == ["elsewhere"] * 4 + ["live"] * 4:
            return
        time.sleep(0.05)
    raise AssertionError(f"{states}")


def until_saved(bucket: str, stream: str) -> None:
    """Wait until every partition has a snapshot in the bucket."""
    limit_s = time.monotonic() + 10
    while time.monotonic() < limit_s:
        page = s3_client().list_objects_v2(Bucket=bucket, Prefix="rcf/", MaxKeys=1000)
        names = [each["Key"] for each in page.get("Contents", []) if f"/{stream}." in each["Key"]]
        saved = {name.split("/")[3] for name in names if name.endswith(".manifest")}
        if saved == {"0", "1", "2", "3"}:
            return
        time.sleep(0.1)
    raise AssertionError(f"{names}")


@pytest.mark.slow
def test_two_workers_answer_as_one(kafka, tmp_path, s3_bucket):
    snapshots = f"s3://{s3_bucket}/rcf"
    ports = free_ports(2)
    stream = f"s-{kafka.application}"
    one, two = (httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) for port in ports)
    with (
        one,
        two,
        serving(kafka, tmp_path, ports[0], snapshots) as first,
        serving(kafka, tmp_path, ports[1], snapshots) as second,
    ):
        until_ready(one)
        until_ready(two)
        made = one.put(f"/v1/streams/{stream}", json={"features": 1, "partitions": 4})
        assert made.status_code in (200, 201), made.text
        shown = two.get(f"/v1/streams/{stream}")  # at once, though the other one made it
        assert shown.status_code == 200, shown.text
        until_shared(one, two, stream)
        rows = [{"key": f"k{n % 20}", "values": [n % 7]} for n in range(200)]
        results = post(one, stream, rows) + post(two, stream, rows)
        assert len({(each["partition"], each["offset"]) for each in results}) == 400
        pages = [all_results(client, stream, 400) for client in (one, two)]
        assert pages[0] == pages[1]
        changed = two.put(f"/v1/streams/{stream}", json={"max_series": 50})
        assert changed.status_code == 200, changed.text
        until_saved(s3_bucket, stream)
        first.kill()
        first.wait()
        after = post(two, stream, rows)  # waits until the other's partitions are taken over
        assert {each["status"] for each in after} <= {"scored", "warming"}
        whole = all_results(two, stream, 604)  # the change has a result in each partition
        newest = two.get(f"/v1/streams/{stream}/results?last=500").json()
        assert newest["results"] == whole[-500:]
        second.terminate()
        assert second.wait(30) == 0
    for name in (f"{port}.log" for port in ports):
        assert SECRET not in (tmp_path / name).read_text()
    ends = group_offsets(kafka.bootstrap, kafka.application, stream, 4)
    # The change of the configuration is a record, and its transaction a marker, in each partition.
    assert sum(ends) == 600 + 2 * 4
