"""A log that an engine worked on and left, in a file or in Kafka: for commands that look at it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from typer.testing import CliRunner

from service.adapters.clock import SystemClock
from service.adapters.codec import JsonDecoder
from service.adapters.forest import ForestFactory
from service.adapters.kafka import Connection, KafkaLog
from service.adapters.snapshots import DirectorySnapshotStore
from service.adapters.sqlite import SqliteLog
from service.cli.app import app
from service.cli.errors import CommandError
from service.engine.config import StreamConfig
from service.engine.engine import Engine
from service.engine.options import EngineOptions
from service.engine.policy import SnapshotPolicy
from service.engine.ports import LogBackend, Ports
from service.engine.records import NewRecord
from service.opening import fingerprint
from tests.engine.fakes import NoMetrics
from tests.simulation.lives import warm
from tests.simulation.workload import Workload

BAD = b'{"values": "far too hot"}'
RECORDS = 240
"""Records in each half of the log; each half ends with a snapshot."""


@dataclass
class Lived:
    """Where the log is, and how commands are told.

    Attributes:
        connection: to Kafka; None when the log is a file.
        directory: data directory; snapshots are below it either way.
        stream: its name.
    """

    connection: Connection | None
    directory: Path
    stream: str

    def log(self) -> LogBackend:
        if self.connection is None:
            return SqliteLog(self.directory)
        return KafkaLog(self.connection)

    def work(self, body: Callable[[Engine], Awaitable[None]]) -> None:
        """Let an engine live as long as `body` takes; it leaves a snapshot behind."""

        async def main() -> None:
            log = self.log()
            ports = Ports(
                log,
                DirectorySnapshotStore(self.directory / "snapshots"),
                JsonDecoder,
                ForestFactory(),
                SystemClock(),
                NoMetrics(),
                foreign=None if self.connection is None else log,  # type: ignore[arg-type]  # Kafka's
            )
            policy = SnapshotPolicy(interval_s=3600, replay_s=3600, share=1.0)
            options = EngineOptions(snapshot=policy, fingerprint=fingerprint(), tick_s=0.05)
            engine = Engine(ports, options)
            await engine.start()
            try:
                await asyncio.wait_for(body(engine), 40)
            finally:
                await engine.stop()

        asyncio.run(main())

    def run(self, *arguments: str, code: int | None = 0) -> str:
        """Run `rcf` in this process, and return what it printed, errors included.

        Args:
            arguments: Of the command line.
            code: The exit code that it must have; None for any.
        """
        environment = {"RCF_DATA_DIR": str(self.directory), "RCF_KAFKA_BOOTSTRAP": None}
        if self.connection is not None:
            environment |= {
                "RCF_KAFKA_BOOTSTRAP": self.connection.bootstrap,
                "RCF_KAFKA_APPLICATION": self.connection.application,
                "RCF_KAFKA_SESSION_S": "3",
            }
        done = CliRunner().invoke(app, list(arguments), env=environment)
        if isinstance(done.exception, CommandError):
            assert code in (done.exception.code, None), str(done.exception)
            return f"{done.output}rcf: {done.exception}\n"
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert code in (done.exit_code, None), done.output
        return done.output

    def rows(self, *arguments: str) -> list[dict]:
        """Run `rcf … --json` and return its objects."""
        return [json.loads(line) for line in self.run(*arguments, "--json").splitlines()]


async def settled(engine: Engine, stream: str, since_s: float = 0.0) -> None:
    """Wait until all partitions are live and nothing waits."""
    await asyncio.sleep(since_s)
    while True:
        found = engine.partitions(stream)
        if all((each.state, each.waiting) == ("live", 0) for each in found):
            return
        await asyncio.sleep(0.02)


def make(lived: Lived) -> None:
    """Two lives, a snapshot after each, bad records in both, and a spike in the second."""
    config = StreamConfig(
        name=lived.stream, partitions=2, shingle_size=2, trees=10, sample_size=32, seed=3
    )

    warm(ForestFactory(), Workload((config,), {}))  # kernels may have to be compiled

    async def first(engine: Engine) -> None:
        await engine.create_stream(config)
        await _feed(engine, config, 0)

    async def second(engine: Engine) -> None:
        await settled(engine, lived.stream)
        await engine.update_stream(
            config.name, lambda now: replace(now, max_series=20), reset=False
        )
        await _feed(engine, config, RECORDS)

    lived.work(first)
    lived.work(second)


async def _feed(engine: Engine, config: StreamConfig, begin: int) -> None:
    records = []
    for n in range(begin, begin + RECORDS):
        value = b"90" if n == RECORDS + 200 else b"%d" % (n * 7 % 10)
        value = BAD if n % 80 == 79 else value
        records.append(NewRecord(value, f"k{n % 5}", 1_700_000_000_000 + n))
    places = await engine.append(config.name, records)
    await engine.results_at(config.name, places, 20)
