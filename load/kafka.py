"""Records a second from a Kafka topic to committed scores, what a record costs, and how late it is.

A broker of its own (or the one that RCF_TEST_KAFKA=host:port names) and one or two workers, all on
this machine: what the broker and the clients take is missing to the workers.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, TaskID

from load.kafka_traffic import Drip, Line, Reader, Scores, fill
from load.kafka_worker import PARTS
from load.latency import Latencies
from load.report import Row, publish
from load.service import broker
from load.streams import seasonal

PARTITIONS, SERIES = 4, 20
WARM = 1_000  # records a series; reservoirs are full by then
LOAD = 0.7  # of the capacity that was measured
DRIP_S = 20.0
WAIT_S = 300.0

Sample = dict[str, float]


@dataclass
class Bench:
    """Workers over one stream of a broker."""

    address: str
    folder: Path
    progress: Progress
    application: str = field(default_factory=lambda: f"load{uuid.uuid4().hex[:8]}")

    @property
    def stream(self) -> str:
        """Name of the stream."""
        return f"s-{self.application}"

    def make_stream(self) -> None:
        """Make the stream, as a worker could."""
        from service.adapters.kafka import Connection, KafkaLog
        from service.engine.config import StreamConfig

        async def make() -> None:
            log = KafkaLog(Connection(self.address, application=self.application))
            await log.open()
            await log.create_stream(
                StreamConfig(
                    name=self.stream,
                    features=("value",),
                    partitions=PARTITIONS,
                    shingle_size=8,
                    trees=50,
                    sample_size=256,
                )
            )
            await log.close()

        asyncio.run(make())

    @contextlib.contextmanager
    def workers(self, count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
        """Start workers; they end with the block."""
        settings = {
            "data_dir": str(self.folder),
            "kafka_bootstrap": self.address,
            "kafka_application": self.application,
        }
        command = [sys.executable, "-m", "load.kafka_worker", json.dumps(settings)]
        started = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            for _ in range(count)
        ]
        try:
            yield started
        finally:
            for worker in started:
                worker.kill()
                worker.wait()

    def settled(self) -> int:
        """Offsets that the group has committed, all partitions together."""
        from confluent_kafka import Consumer, TopicPartition

        consumer = Consumer({"bootstrap.servers": self.address, "group.id": self.application})
        places = [TopicPartition(self.stream, number) for number in range(PARTITIONS)]
        found = consumer.committed(places, timeout=10)
        consumer.close()
        return sum(max(place.offset, 0) for place in found)

    def wait(self, records: int, task: TaskID) -> None:
        """Wait until so many records are settled."""
        limit_s = time.monotonic() + WAIT_S
        while (settled := self.settled()) < records:
            self.progress.update(task, completed=settled, total=records)
            if time.monotonic() > limit_s:
                raise RuntimeError(f"{settled} records of {records} after {WAIT_S:g} s")
            time.sleep(0.3)
        self.progress.update(task, completed=records, total=records)


def lines(records: int, seed: int) -> list[Line]:
    """Series in turns, a partition's always on it."""
    values = seasonal(records, 1, seed=seed).values[:, 0].tolist()
    keys = [(i % PARTITIONS, b"series-%d" % i) for i in range(SERIES)]
    return [
        (*keys[i % SERIES], f'{{"values":[{value!r}]}}'.encode()) for i, value in enumerate(values)
    ]


def ask(workers: list[subprocess.Popen[bytes]]) -> list[list[Sample]]:
    """What each worker did so far."""
    found = []
    for worker in workers:
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(b"\n")
        worker.stdin.flush()
        found.append(json.loads(worker.stdout.readline()))
    return found


def costs(reports: list[list[Sample]], warm: int) -> Row:
    """Records a second while all worked, and µs of processor time a record by part.

    Args:
        reports: of each worker that had records.
        warm: records of each that do not count.
    """
    begins = [next(each for each in report if each["records"] >= warm) for report in reports]
    begin_s, end_s = (
        max(each["time_s"] for each in begins),
        min(report[-1]["time_s"] for report in reports),
    )
    records, spent = 0.0, dict.fromkeys(("process", *PARTS), 0.0)
    for report in reports:
        never = [part for part in spent if part not in report[-1]]
        if never:
            raise RuntimeError(f"a worker never came to {never[0]}: mend `PARTS`")
        within = [each for each in report if begin_s <= each["time_s"] <= end_s]
        records += within[-1]["records"] - within[0]["records"]
        for part in spent:
            spent[part] += within[-1].get(part, 0.0) - within[0].get(part, 0.0)
    a_record = {part: 1e6 * seconds / records for part, seconds in spent.items()}
    judge, forest = a_record["pipeline"], a_record["forest"]
    client = a_record["process"] - judge - a_record["decode"] - a_record["encode"]
    return {
        "records/s": records / (end_s - begin_s),
        "forest µs": forest,
        "outside µs": a_record["process"] - forest,
        "decode µs": a_record["decode"],
        "pipeline µs": judge - forest,
        "encode µs": a_record["encode"],
        "transactions, loop µs": client,
    }


def measure(bench: Bench, count: int, records: int) -> Row:
    """One line of the table."""
    progress = bench.progress
    warm = WARM * SERIES
    task = progress.add_task(f"{count} workers: filling the topic", total=warm + records)
    posted = lines(warm + records, seed=2)
    bench.make_stream()
    fill(bench.address, bench.stream, posted, lambda done: progress.update(task, completed=done))
    with bench.workers(count) as workers:
        progress.update(task, description=f"{count} workers: as fast as it goes")
        bench.wait(warm + records, task)
        reports = [report for report in ask(workers) if report]
        found = costs(reports, warm // count)
        rate = LOAD * float(found["records/s"])
        dripped = lines(int(rate * DRIP_S), seed=3)
        progress.update(task, description=f"{count} workers: at 70 % load", total=len(dripped))
        drip, late = Drip(bench.address, bench.stream, rate), Latencies()
        counted_ms = 1e3 * (drip.began_s + DRIP_S / 10)

        def note(scores: Scores) -> None:
            late.add_many((0.0, (now - due) / 1e3) for due, now in scores if due >= counted_ms)

        reader = Reader(bench.address, f"{bench.stream}.scores", PARTITIONS, note)
        reader.start()
        drip.run(dripped, len(dripped), lambda done: progress.update(task, completed=done))
        bench.wait(warm + records + len(dripped), task)
        time.sleep(1.0)
        reader.leave()
    progress.remove_task(task)
    return {
        "workers": len(reports),
        **found,
        "load/s": rate,
        "p50 ms": late.ms(50),
        "p99 ms": late.ms(99),
    }


def main(records: int = 200_000) -> None:
    """Measure and publish; where no broker can be had, say so."""
    from tests.kafka.jars import NotToBeHadError

    try:
        rows = measured(records)
    except NotToBeHadError as error:
        sys.stderr.write(f"Kafka is left out: {error}\n")
        return
    publish(
        "Kafka: topic to committed scores",
        rows,
        records=records,
        trees=50,
        sample_size=256,
        shingle_size=8,
        series=SERIES,
        partitions=PARTITIONS,
    )


def measured(records: int) -> list[Row]:
    """One line for each number of workers."""
    rows: list[Row] = []
    shown = Progress(console=Console(stderr=True), transient=True)
    with (
        tempfile.TemporaryDirectory(prefix="rcf-load-") as folder,
        broker() as address,
        shown as progress,
    ):
        for count in (1, 2):
            bench = Bench(address, Path(folder) / f"{count}", progress)
            rows.append(measure(bench, count, records))
    return rows
