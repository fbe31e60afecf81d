"""Records a second from a Kafka topic to committed scores, what a record costs, and how late it is.

A broker of its own (or the one that RCF_TEST_KAFKA=host:port names) and one or two workers, all on
this machine: what the broker and the clients take is missing to the workers. Records a second are
those of a full topic; the knee (see `load.ramp`) is lower where those who write and read records
share the processors.
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

from load.driving import KNEE_LIMIT_MS, LOAD
from load.kafka_door import Topic
from load.kafka_traffic import Line, fill
from load.kafka_worker import PARTS
from load.ramp import Step, find_knee
from load.report import Row, publish
from load.service import broker
from load.streams import seasonal

PARTITIONS, SERIES = 4, 20
WARM = 1_000  # records a series; reservoirs are full by then
BEGIN, GROWTH = 0.4, 1.3  # of the records a second of a full topic, where the knee is looked for
STEP_S, LAST_S, SLICE_S = 10.0, 20.0, 0.5
RUNS = 3  # at 70 % of the knee; the one with the median of p99 counts
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
        knee, last = below_knee(bench, float(found["records/s"]), task)
    progress.remove_task(task)
    return {
        "workers": len(reports),
        **found,
        "knee/s": knee,
        "load/s": last.rate,
        "p50 ms": last.latencies.ms(50),
        "p99 ms": last.latencies.ms(99),
    }


def below_knee(bench: Bench, most: float, task: TaskID) -> tuple[float, Step]:
    """The knee of the workers, in records a second, and the median run at 70 % of it.

    Raises:
        NoKneeError: there is none.
        RuntimeError: records were not scored.
    """
    progress = bench.progress
    topic = Topic(bench.address, bench.stream, PARTITIONS, lines(10_000 * SERIES, seed=3))

    def at(rate: float, seconds: float) -> Step:
        text = f"{rate:,.0f} records/s"
        progress.update(task, description=text, completed=0, total=seconds)
        return topic.run(rate, seconds, lambda gone: progress.update(task, completed=gone), SLICE_S)

    try:
        at(BEGIN * most, STEP_S)  # who were busy with a full topic find their pace
        knee, _ = find_knee(
            lambda rate: at(rate, STEP_S),
            begin=BEGIN * most,
            limit_ms=KNEE_LIMIT_MS,
            growth=GROWTH,
        )
        runs = [at(LOAD * knee, LAST_S) for _ in range(RUNS)]
    finally:
        topic.close()
    for run in runs:
        if run.failed:
            raise RuntimeError(f"{run.failed} records of {run.sent} were not scored")
    return knee, sorted(runs, key=lambda run: run.latencies.ms(99))[RUNS // 2]


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
