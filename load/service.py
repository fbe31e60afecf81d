"""The service as a process of its own, embedded or on Kafka, for everything that drives it."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

START_S = 300.0  #: a machine may compile the kernels first
STOP_S = 30.0
SETTLE_S = 300.0


@dataclass(frozen=True)
class Model:
    """The stream that is driven: its detectors, its parts, and how many series it may hold."""

    trees: int = 8
    sample_size: int = 64
    shingle_size: int = 8
    partitions: int = 4
    series: int = 10_000


@dataclass(frozen=True)
class Served:
    """A running service with one stream.

    Attributes:
        url: of its HTTP door.
        stream: the stream's name.
        model: the stream.
        pid: of the process.
        tasks_file: see `load.counted`.
        kafka: host:port of the broker that it works on; None: it is embedded.
    """

    url: str
    stream: str
    model: Model
    pid: int
    tasks_file: Path
    kafka: str | None = None

    @property
    def log(self) -> str:
        """The kind of its log."""
        return "embedded" if self.kafka is None else "Kafka"

    def tasks(self) -> int:
        """Tasks of its loop, at most a second ago."""
        return int(self.tasks_file.read_text())

    def until_settled(self) -> None:
        """Wait until nothing waits to be scored.

        Raises:
            RuntimeError: something still does after some minutes.
        """
        limit_s = time.monotonic() + SETTLE_S
        while time.monotonic() < limit_s:
            with urllib.request.urlopen(
                f"{self.url}/v1/streams/{self.stream}/partitions", timeout=SETTLE_S
            ) as answer:
                found = json.load(answer)["partitions"]
            if not any(each["waiting"] for each in found):
                return
            time.sleep(0.1)
        raise RuntimeError("records still wait to be scored")


@contextlib.contextmanager
def served(model: Model, kafka: str | None = None) -> Iterator[Served]:
    """A `rcf serve` process on a free port, with an empty stream; it ends with the block.

    Raises:
        RuntimeError: it did not start.
    """
    with tempfile.TemporaryDirectory(prefix="rcf-load-") as folder:
        tasks_file = Path(folder) / "tasks"
        stream = f"load-{uuid.uuid4().hex[:8]}"
        command = [sys.executable, "-m", "load.counted", str(tasks_file)]
        command += ["serve", "--port", "0", "--data-dir", folder]
        settings = {"NO_COLOR": "1", "RCF_KAFKA_APPLICATION": stream, "RCF_LOG_LEVEL": "warning"}
        if kafka is not None:
            command += ["--kafka-bootstrap", kafka]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, **settings}
        )
        try:
            url = _address(process)
            _until_ready(url)
            found = Served(url, stream, model, process.pid, tasks_file, kafka)
            _make_stream(found)
            _until_ready(url)
            yield found
        finally:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=STOP_S)
            process.kill()
            process.wait()


def _address(process: subprocess.Popen[str]) -> str:
    """Where the process says that it listens; what it says after that is read and dropped."""
    heard: queue.SimpleQueue[str] = queue.SimpleQueue()

    def listen() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            heard.put(line)
        heard.put("")

    threading.Thread(target=listen, daemon=True).start()
    limit_s = time.monotonic() + START_S
    with contextlib.suppress(queue.Empty):
        while line := heard.get(timeout=max(limit_s - time.monotonic(), 0.0)):
            found = re.search(r"http://[\d.]+:\d+", line)
            if found:
                return found.group()
    raise RuntimeError("the server did not say where it listens")


def _until_ready(url: str) -> None:
    limit_s = time.monotonic() + START_S
    while True:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=10):
                return
        except (urllib.error.URLError, TimeoutError) as error:
            if time.monotonic() > limit_s:
                raise RuntimeError(f"the server did not become ready: {error}") from error
        time.sleep(0.1)


def _make_stream(service: Served) -> None:
    model = service.model
    body = {
        "features": ["value"],
        "partitions": model.partitions,
        "shingle_size": model.shingle_size,
        "trees": model.trees,
        "sample_size": model.sample_size,
        "max_series": model.series,
    }
    request = urllib.request.Request(
        f"{service.url}/v1/streams/{service.stream}",
        data=json.dumps(body).encode(),
        method="PUT",
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=START_S):
        pass


@contextlib.contextmanager
def broker() -> Iterator[str]:
    """Address of a broker: the one that RCF_TEST_KAFKA=host:port names, or one of its own."""
    from tests.kafka.broker import Broker

    there = os.environ.get("RCF_TEST_KAFKA")
    if there:
        yield there
        return
    with tempfile.TemporaryDirectory(prefix="rcf-load-") as folder:
        own = Broker(Path(folder) / "broker")
        try:
            own.format()
            own.start()
            yield own.address
        finally:
            own.kill()


def progress_bars() -> Progress:
    """Bars on standard error, gone when they are done."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
