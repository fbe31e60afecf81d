"""One Kafka node (KRaft: broker and controller in one process) on loopback."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path

from tests.kafka.jars import NotToBeHadError, class_path, java

HOST = "127.0.0.1"
START_S = 60
HEAP = ("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
LOGGING = ("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",)

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
listeners={listeners},CONTROLLER://{host}:{controller}
advertised.listeners={listeners}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,{protocols}
log.dirs={directory}/data
auto.create.topics.enable=true
num.partitions=1
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.cleaner.dedupe.buffer.size=2000000
log.cleaner.backoff.ms=500
{extra}
"""


class Broker:
    """A broker process and its directory; the directory outlives the process.

    Args:
        directory: empty, or that of an earlier broker with these ports.
        version: of Apache Kafka; None takes the one in pom.xml.
        extra: further lines of the configuration.
        listeners: further listeners, name -> (port, security protocol).
    """

    def __init__(
        self,
        directory: Path,
        *,
        version: str | None = None,
        extra: str = "",
        listeners: dict[str, tuple[int, str]] | None = None,
    ) -> None:
        self._directory = directory
        self._class_path = class_path(version)
        self.port, controller = free_ports(2)
        self._properties = directory / "server.properties"
        self._process: subprocess.Popen[bytes] | None = None
        named = {"PLAINTEXT": (self.port, "PLAINTEXT")} | (listeners or {})
        self._ports = [port for port, _ in named.values()]
        directory.mkdir(parents=True, exist_ok=True)
        self._properties.write_text(
            PROPERTIES.format(
                host=HOST,
                controller=controller,
                directory=directory,
                extra=extra,
                listeners=",".join(f"{name}://{HOST}:{port}" for name, (port, _) in named.items()),
                protocols=",".join(f"{name}:{protocol}" for name, (_, protocol) in named.items()),
            )
        )

    @property
    def address(self) -> str:
        """host:port for clients."""
        return f"{HOST}:{self.port}"

    @property
    def log_file(self) -> Path:
        """What the process writes."""
        return self._directory / "broker.log"

    def format(self, *arguments: str) -> None:
        """Prepare the directory; once, before the first start."""
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # In one word: an id may begin with a dash, and be taken for an option.
        command = ["format", f"--cluster-id={cluster}", "-c", str(self._properties), *arguments]
        done = subprocess.run(
            self._java("kafka.tools.StorageTool", *command),
            capture_output=True,
            text=True,
            timeout=START_S,
            check=False,
        )
        if done.returncode:
            raise NotToBeHadError(f"the broker's directory was not made: {done.stderr[-500:]}")

    def start(self) -> None:
        """Start the process and wait until it answers."""
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self._java("kafka.Kafka", str(self._properties)),
                stdout=log,
                stderr=log,
                # So that no broker outlives the tests.
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509  (prctl alone)
            )
        limit = time.monotonic() + START_S
        while not all(map(listens, self._ports)):
            if self._process.poll() is not None or time.monotonic() > limit:
                said = self.log_file.read_text(errors="replace")[-1500:]
                self.kill()
                raise NotToBeHadError(f"the broker did not start; it wrote: {said}")
            time.sleep(0.05)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """Stop in good order; kill -9 after ten seconds."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def wake(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _java(self, name: str, *arguments: str) -> list[str]:
        return [java(), *HEAP, *LOGGING, "-cp", self._class_path, name, *arguments]


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    held = [socket.socket() for _ in range(count)]
    try:
        for each in held:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in held]
    finally:
        for each in held:
            each.close()


def listens(port: int) -> bool:
    """Tell whether somebody takes connections on a port."""
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex((HOST, port)) == 0


def _die_with_parent() -> None:
    """Make the kernel end this process when the tests' process dies."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() == 1:
        os._exit(1)
