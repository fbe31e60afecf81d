"""Workers on Kafka with the compose file's settings, under load, and a Prometheus over them.

The Prometheus is the real one with the shipped rules and configuration; only how it finds the
workers, and how often it looks, is its own.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import yaml

from service.adapters.kafka import Connection
from tests.deploy.files import PROMETHEUS, RULES, compose
from tests.kafka.broker import free_ports

START_S = 180.0  # kernels may have to be compiled
SCRAPE_S = 1
LOAD_S = 5.0


@contextlib.contextmanager
def worker(kafka: Connection, service: str, port: int, folder: Path) -> Iterator[httpx.Client]:
    """A worker with the environment of a service of the compose file, its addresses apart."""
    environment = os.environ | compose()["services"][service]["environment"]
    environment |= {
        "RCF_KAFKA_BOOTSTRAP": kafka.bootstrap,
        "RCF_KAFKA_APPLICATION": kafka.application,
        "RCF_PORT": str(port),
        "RCF_DATA_DIR": str(folder / "data"),
        "RCF_SNAPSHOTS": str(folder / "data/snapshots"),
        "RCF_SNAPSHOT_INTERVAL_S": "1",
    }
    with (folder / f"{port}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "service", "serve"], env=environment, stdout=log, stderr=log
        )
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
                yield client
        finally:
            process.kill()
            process.wait()


@contextlib.contextmanager
def prometheus(folder: Path, targets: list[str]) -> Iterator[httpx.Client]:
    """A Prometheus with the shipped rules that scrapes the targets."""
    settings = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text("utf-8"))
    settings["global"] = {"scrape_interval": f"{SCRAPE_S}s", "evaluation_interval": f"{SCRAPE_S}s"}
    settings["rule_files"] = [str(path) for path in RULES]
    (job,) = settings["scrape_configs"]
    del job["dns_sd_configs"]
    job["static_configs"] = [{"targets": targets}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
    (port,) = free_ports(1)
    features = [one for one in compose()["services"]["prometheus"]["command"] if "feature" in one]
    assert features
    command = ["prometheus", *features, f"--config.file={folder / 'prometheus.yml'}"]
    command += [f"--storage.tsdb.path={folder / 'tsdb'}", f"--web.listen-address=127.0.0.1:{port}"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
                yield client
        finally:
            process.kill()
            process.wait()


def until_answers(client: httpx.Client, path: str) -> None:
    """Wait until a GET succeeds."""
    limit_s = time.monotonic() + START_S
    while time.monotonic() < limit_s:
        with contextlib.suppress(httpx.TransportError):
            if client.get(path).status_code == 200:
                return
        time.sleep(0.1)
    raise AssertionError(f"{client.base_url}{path} did not answer within {START_S} s")


def until_scraped(answers: Answers, targets: int) -> None:
    """Wait until every target has been scraped, so that what comes next is a change."""
    limit_s = time.monotonic() + START_S
    while answers.values("sum(up)") != [targets]:
        assert time.monotonic() < limit_s, "not every worker could be scraped"
        time.sleep(0.1)


def load(client: httpx.Client, stream: str) -> None:
    """Post for a while: ten series, spikes, and some records that cannot be scored."""
    made = client.put(f"/v1/streams/{stream}", json={"features": 1, "shingle_size": 1})
    assert made.status_code in (200, 201), made.text
    limit_s, count = time.monotonic() + LOAD_S, 0
    while time.monotonic() < limit_s:
        rows = [_row(number) for number in range(count, count + 100)]
        count += len(rows)
        answer = client.post(
            f"/v1/streams/{stream}/records?invalid=dead_letter", json={"records": rows}
        )
        assert answer.status_code == 200, answer.text
        time.sleep(0.2)


def _row(number: int) -> dict[str, Any]:
    values: list[Any] = [number % 7 + (1_000 if number % 500 == 499 else 0)]
    return {"key": f"series-{number % 10}", "values": ["?"] if number % 50 == 0 else values}


class Answers:
    """What a Prometheus says to PromQL.

    Args:
        client: of the Prometheus.
    """

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def values(self, expression: str) -> list[float]:
        """The values of an expression at this moment, NaN included."""
        found = self._ask("query", query=expression)["result"]
        return [float(each["value"][1]) for each in found]

    def labels(self, metric: str, label: str) -> set[str]:
        """The values of a label of a metric's series."""
        found = self._client.get(f"/api/v1/label/{label}/values", params={"match[]": metric})
        return set(found.json()["data"])

    def exemplars(self, metric: str) -> list[dict[str, str]]:
        """The labels of a metric's exemplars."""
        span = {"start": time.time() - 600, "end": time.time()}
        found = self._ask("query_exemplars", query=metric, **span)
        return [exemplar["labels"] for series in found for exemplar in series["exemplars"]]

    def rules(self) -> list[dict[str, Any]]:
        """Every rule, and how its last evaluation went."""
        return [rule for group in self._ask("rules")["groups"] for rule in group["rules"]]

    def _ask(self, what: str, **parameters: Any) -> Any:
        answer = self._client.get(f"/api/v1/{what}", params=parameters)
        assert answer.status_code == 200, (parameters, answer.text)
        return answer.json()["data"]
