"""`make chaos ARGS="kafka [NAME …]"`: on a real broker, what the tests try, for longer.

Each run feeds records at a steady pace, does its harm, and compares everything with what one
worker in memory makes of the same records. Pauses are measured from outside, by the group's
offsets: how long a partition in which records waited stood still.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
from confluent_kafka import Producer
from rich.console import Console
from rich.progress import Progress

from load.report import Row, one_line, publish, write_readme
from service.adapters.forest import ForestFactory
from service.engine.config import StreamConfig
from service.engine.records import NewRecord
from tests.kafka.broker import Broker
from tests.kafka.fixtures import connection
from tests.kafka.probe import committed_records
from tests.kafka.proxy import Api, Kind, Proxy
from tests.kafka.test_kills import as_written, check_outputs, ends_of, make_records, make_stream
from tests.kafka.workers import OPTIONS, PARTS, Cluster, Parts, Worker, undisturbed
from tests.simulation.damage import SkewedClock, SlowFactory, Told, damage, newest_files
from tests.simulation.harms import MOST_GROWTH_MB, await_snapshots
from tests.simulation.lives import warm
from tests.simulation.workload import HARSH, LARGE, POISON, Workload

FAILED = "FAILED"
CHUNK = 200
LOOK_S = 0.25
SETTLE_S = 300.0
SESSION_S = 3.0  # of `fixtures.connection`
SPARED_S = SESSION_S + 5.0
"""No death of one worker keeps the partitions of another from moving for longer."""

STORM_SHARE = 0.2
"""Of the progress of quiet times, that there must be while workers come and go."""

STUCK_S = 20.0
"""No transaction keeps a partition for longer, the time that a broker takes to start included."""

Records = list[tuple[int, NewRecord]]


@dataclass
class Feed(threading.Thread):
    """Writes records at a pace, and watches how the group's offsets follow.

    Attributes:
        longest_s: of each partition, the longest pause.
        spared_s: of each partition, the longest pause during which no worker was killed whose it
            was.
    """

    cluster: Cluster
    config: StreamConfig
    address: str
    records: Records
    per_s: float
    workers: list[Worker]
    told: Told
    written: list[int] = field(default_factory=list)
    longest_s: list[float] = field(default_factory=list)
    spared_s: list[float] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    failed: BaseException | None = None

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self.written = [0] * self.config.partitions
        self.longest_s = [0.0] * self.config.partitions
        self.spared_s = [0.0] * self.config.partitions
        self.watcher = threading.Thread(target=self._watch, daemon=True)

    __hash__ = threading.Thread.__hash__

    def run(self) -> None:
        """See `threading.Thread`."""
        self.watcher.start()
        try:
            self._write()
        except BaseException as error:
            self.failed = error

    def check(self) -> None:
        """Raise what ended it before its time."""
        if self.failed is not None:
            raise self.failed

    def _write(self) -> None:
        # It does not give up: the broker may be away for long.
        options = {"enable.idempotence": True, "linger.ms": 5, "message.timeout.ms": 180_000}
        producer = Producer({"bootstrap.servers": self.address} | options)
        began_s = time.monotonic()
        for first in range(0, len(self.records), CHUNK):
            wait_s = began_s + first / self.per_s - time.monotonic()
            time.sleep(max(wait_s, 0.0))
            chunk = as_written(self.records[first : first + CHUNK])
            for part, key, value, time_ms, headers in chunk:
                name = self.config.name
                producer.produce(name, value, key, part, timestamp=time_ms, headers=headers)
            assert producer.flush(180) == 0, "the broker takes no records"
            for part, *_ in chunk:
                self.written[part] += 1
            self.told((first + CHUNK) / len(self.records))

    def _watch(self) -> None:
        count = self.config.partitions
        last, since = [-1001] * count, [time.monotonic()] * count  # the first: none
        owners: list[Worker | None] = [None] * count
        waited = [False] * count  # at the last look
        hit = [True] * count  # since the last commit; before the first nobody worked on it
        while not self.over.wait(LOOK_S):
            try:
                found = self.cluster.offsets(self.config, stable=False)
            except Exception:  # the broker is away; that time counts as a pause
                continue
            now_s = time.monotonic()
            for worker in list(self.workers):
                for number in worker.partitions():
                    owners[number] = worker
            for number, offset in enumerate(found):
                owner = owners[number]
                hit[number] |= owner is not None and not owner.alive
                if waited[number]:  # a pause that ended since counts up to this look
                    pause_s = now_s - since[number]
                    self.longest_s[number] = max(self.longest_s[number], pause_s)
                    if not hit[number]:
                        self.spared_s[number] = max(self.spared_s[number], pause_s)
                waited[number] = max(offset, 0) < self.written[number]
                if offset != last[number]:
                    hit[number] = False
                if offset != last[number] or not waited[number]:
                    last[number], since[number] = offset, now_s


@dataclass
class Harm:
    """What a run has to work with."""

    broker: Broker
    cluster: Cluster
    workers: list[Worker]
    feed: Feed
    rng: random.Random
    proxy: Proxy | None
    notes: list[str] = field(default_factory=list)
    left: list[dict] = field(default_factory=list)
    """What workers said that left in good order."""

    def while_fed(self) -> bool:
        return self.feed.is_alive()


@dataclass(frozen=True)
class Run:
    """One kind of harm, and its sizes.

    Attributes:
        parts: what workers are made of.
        poison: what a share of the records is, that cannot be read.
        limit_s: longest pause of a partition that is allowed.
        spared_limit_s: the same, of a partition whose worker was not killed.
    """

    name: str
    harm: Callable[[Harm], None]
    workers: int = 2
    records: int = 40_000
    per_s: float = 1500.0
    proxied: bool = False
    limit_s: float = math.inf
    spared_limit_s: float = math.inf
    parts: Parts = PARTS
    poison: Sequence[bytes] = POISON


def kills(harm: Harm, count: int = 30) -> None:
    """kill -9 of workers at any moment of their lives: as they start, restore, rebalance, work."""
    for _ in range(count):
        if not harm.while_fed():
            harm.notes.append("the feed ended before the last kill")
            return
        time.sleep(harm.rng.choice((harm.rng.uniform(0.1, 1.0), harm.rng.uniform(1.0, 7.0))))
        newest = harm.rng.random() < 0.4  # one that has just begun to restore
        index = -1 if newest else harm.rng.randrange(len(harm.workers))
        harm.workers.pop(index).kill()
        harm.workers.append(harm.cluster.start())


def pauses(harm: Harm) -> None:
    """One worker lives, the other one is killed and replaced, with time to settle in between."""
    while harm.while_fed():
        time.sleep(harm.rng.uniform(10.0, 14.0))
        harm.workers.pop(1).kill()
        time.sleep(harm.rng.choice((0.0, 1.0, 5.0)))
        harm.workers.append(harm.cluster.start())


def zombie(harm: Harm) -> None:
    """A worker that is stopped for 30 s, in the middle of its work, and woken."""
    time.sleep(5.0)
    harm.workers[0].freeze()
    time.sleep(30.0)
    harm.workers[0].wake()


def restarts(harm: Harm) -> None:
    """The broker is stopped and started five times."""
    _five_times(harm, harm.broker.stop)


def crashes(harm: Harm) -> None:
    """The broker is killed five times."""
    _five_times(harm, harm.broker.kill)


def _five_times(harm: Harm, end: Callable[[], None]) -> None:
    away_s = 0.0
    for _ in range(5):
        time.sleep(harm.rng.uniform(3.0, 6.0))
        began_s = time.monotonic()
        end()
        time.sleep(harm.rng.uniform(0.0, 1.0))
        harm.broker.start()
        away_s = max(away_s, time.monotonic() - began_s)
    harm.notes.append(f"broker away for up to {away_s:.1f} s")


def stalls(harm: Harm) -> None:
    """Everything between worker and broker stands still for 5, 20 and 60 s."""
    assert harm.proxy is not None
    for seconds in (5.0, 20.0, 60.0):
        time.sleep(4.0)
        harm.proxy.stall()
        time.sleep(seconds)
        harm.proxy.flow()


def endings(harm: Harm) -> None:
    """Ends of transactions are delayed, lost on the way there, and lost on the way back."""
    assert harm.proxy is not None
    for kind in (Kind.HOLD, Kind.DROP, Kind.LOSE) * 2:
        time.sleep(2.0)
        with harm.proxy.fault(Api.END_TRANSACTION, kind, times=3) as fault:
            fault.met.wait(20)
            time.sleep(harm.rng.uniform(1.0, 14.0) if kind is Kind.HOLD else 1.0)


def storm(harm: Harm) -> None:
    """Every two seconds for a minute a worker joins, or one leaves in good order."""
    calm, stormy = 10.0, 60.0
    before = _progress(harm)
    time.sleep(calm)
    normal = (_progress(harm) - before) / calm
    before, began_s = _progress(harm), time.monotonic()
    while time.monotonic() - began_s < stormy:
        if len(harm.workers) < 3:
            harm.workers.append(harm.cluster.start())
        else:
            harm.left.append(harm.workers.pop(harm.rng.randrange(2)).stop())
        time.sleep(2.0)
    share = (_progress(harm) - before) / (time.monotonic() - began_s) / normal
    harm.notes.append(f"{share:.0%} of the progress of quiet times")
    assert harm.while_fed(), "the feed ended before the storm"
    assert share >= STORM_SHARE, f"{share:.0%} of the progress of quiet times"


def _progress(harm: Harm) -> int:
    """Records that are settled."""
    found = harm.feed.cluster.offsets(harm.feed.config, stable=False)
    return sum(max(offset, 0) for offset in found)


def slow(harm: Harm) -> None:
    """Scoring takes twenty times as long; what waits must not fill the memory."""
    processes = [psutil.Process(worker.pid) for worker in harm.workers]
    before = [each.memory_info().rss for each in processes]
    most = 0.0
    while harm.while_fed():
        now = [each.memory_info().rss for each in processes]
        most = max(most, *((b - a) / 1e6 for a, b in zip(before, now, strict=True)))
        time.sleep(0.2)
    waited = sum(harm.feed.written) - _progress(harm)
    harm.notes.append(f"{waited} records waited at the end, memory grew by {most:.0f} MB")
    assert waited > 0, "nothing waited"
    assert most < MOST_GROWTH_MB, f"memory grew by {most:.0f} MB"


def corrupt(harm: Harm) -> None:
    """A worker is killed, and bits of the newest snapshots' files are flipped, eight times."""
    folder, damaged = harm.cluster.snapshots, 0
    for _ in range(8):
        await_snapshots(folder, 16)
        harm.workers.pop(0).kill()
        for path in newest_files(folder, 8):
            with contextlib.suppress(FileNotFoundError):  # the other one tidies up
                damage(harm.rng, path)
                damaged += 1
        harm.workers.append(harm.cluster.start())
    harm.notes.append(f"{damaged} files damaged")


def skew(harm: Harm) -> None:
    """Workers whose clocks are wrong by up to an hour come in the place of others."""
    for _ in range(6):
        time.sleep(harm.rng.uniform(2.0, 4.0))
        harm.workers.pop(0).kill()
        harm.workers.append(harm.cluster.start(Parts(clock=SkewedClock(harm.rng.getrandbits(32)))))


def some_kills(harm: Harm) -> None:
    """Five kills."""
    kills(harm, 5)


RUNS = {
    run.name: run
    for run in (
        Run("kills-2", kills, records=200_000, per_s=2000.0, spared_limit_s=SPARED_S),
        Run("kills-3", kills, workers=3, records=200_000, per_s=2000.0, spared_limit_s=SPARED_S),
        Run("pauses", pauses, per_s=500.0, limit_s=SPARED_S),
        Run("zombie", zombie, records=60_000),
        Run("restarts", restarts, limit_s=STUCK_S),
        Run("crashes", crashes, limit_s=STUCK_S),
        Run("stalls", stalls, workers=1, proxied=True),
        Run("endings", endings, workers=1, proxied=True),
        Run("storm", storm, records=130_000),
        Run("slow-consumer", slow, per_s=4000.0, parts=Parts(SlowFactory(ForestFactory()))),
        Run("corrupt-snapshot", corrupt, records=60_000),
        Run("clock-skew", skew, parts=Parts(clock=SkewedClock(1))),
        Run("poison-1", some_kills, poison=(*HARSH, LARGE[:900_000])),
    )
}


def check_states(reports: list[dict], expected: dict[str, dict], ends: list[int]) -> None:
    """AssertionError unless every state at the end of its partition is the one expected.

    A worker that has yet to hear that it lost a partition holds the state of where it stopped.
    """
    for (part, state), end in zip(sorted(expected.items()), ends, strict=True):
        positions = [report["positions"].get(part) for report in reports]
        held = [report for report, at in zip(reports, positions, strict=True) if at == end]
        assert held, f"nobody held the state of {part} at {end}, but at {positions}"
        for report in held:
            found = report["states"][part]
            other = [key for key in found.keys() | state.keys() if found.get(key) != state.get(key)]
            assert not other, f"in {part}, the states of {len(other)} series differ: {other[:3]}"


def play(run: Run, folder: Path, seed: int, told: Told = lambda _share: None) -> str:
    """Do one run; return what came of it. `told` is told the share of the records that is written.

    Raises:
        AssertionError: something differs from the undisturbed run.
    """
    began_s = time.monotonic()
    config, records = make_stream(run.name), make_records(seed, run.records, run.poison)
    warm(ForestFactory(), Workload((config,), {}))
    broker = Broker(folder / "broker")
    broker.format()
    broker.start()
    workers: list[Worker] = []
    proxy = Proxy(broker.address) if run.proxied else None
    if proxy is not None:
        proxy.start()
    try:
        direct = connection(broker.address)
        there = direct if proxy is None else replace(direct, bootstrap=proxy.address)
        cluster = Cluster(there, folder, options=replace(OPTIONS, batch_records=400))
        asyncio.run(cluster.create(config))
        workers += [cluster.start(run.parts) for _ in range(run.workers)]
        watched = Cluster(direct, folder)
        feed = Feed(watched, config, broker.address, records, run.per_s, workers, told)
        harm = Harm(broker, cluster, workers, feed, random.Random(seed), proxy)
        feed.start()
        _until_all_move(feed)
        run.harm(harm)
        feed.join()
        feed.check()
        records = written(broker.address, config, records)
        watched.until_settled(config, ends_of(records), SETTLE_S)
        feed.over.set()
        feed.watcher.join()
        time.sleep(1.0)
        reports = [worker.stop() for worker in harm.workers]
        options = replace(OPTIONS, batch_records=2000)
        reference = asyncio.run(undisturbed(config, records, options))
        broken = [report["broken"] for report in (*harm.left, *reports)]
        assert not any(broken), broken
        check_outputs(watched, config, reference)
        check_states(reports, reference["states"], ends_of(records))
    finally:
        if proxy is not None:
            proxy.stop()
        broker.kill()
        for worker in workers:
            if worker.alive:
                worker.kill()
    longest_s, spared_s = max(feed.longest_s), max(feed.spared_s)
    paused = f"longest pause {longest_s:.1f} s, of a worker that lived {spared_s:.1f} s"
    notes = "; ".join([paused, *harm.notes])
    assert longest_s <= run.limit_s, notes
    assert spared_s <= run.spared_limit_s, notes
    return f"{run.records} records identical; {notes}; {time.monotonic() - began_s:.0f} s in all"


def written(address: str, config: StreamConfig, made: Records) -> Records:
    """What the input topic holds: all that was made; some twice, where a broker died.

    A broker that is killed between a write and its answer may forget who wrote, and then takes the
    repetition for something else. Results are one for each record of the topic.
    """
    found = [
        (number, NewRecord(each.value(), each.key().decode(), each.timestamp()[1]))
        for number in range(config.partitions)
        for each in committed_records(address, config.name, number)
    ]
    first: dict[int, tuple[int, NewRecord]] = {}
    for part, record in found:
        first.setdefault(record.timestamp_ms, (part, record))
    assert [first.get(record.timestamp_ms) for _, record in made] == made, "records are missing"
    return found


def _until_all_move(feed: Feed) -> None:
    """Wait until workers have begun: a start without a broker ends the process, which is right."""
    limit_s = time.monotonic() + 60
    while min(feed.cluster.offsets(feed.config)) < 1:
        feed.check()
        assert time.monotonic() < limit_s, "the workers did not begin"
        time.sleep(LOOK_S)


def faults() -> str:
    """Every error at every request, and every bug put in on purpose."""
    import pytest

    os.environ["RCF_LONG"] = "1"
    here = Path(__file__).parent
    code = pytest.main(["-q", str(here / "test_errors.py"), str(here / "test_mutants.py")])
    assert code == 0, f"pytest ended with {code}"
    return "every error and every bug"


def shown(run: Run, seed: int) -> str:
    """Do one run behind a bar."""
    with (
        tempfile.TemporaryDirectory(prefix="rcf-chaos-") as folder,
        Progress(console=Console(stderr=True), transient=True) as progress,
    ):
        task = progress.add_task(f"{run.name}, seed {seed}", total=1.0)
        return play(run, Path(folder), seed, lambda share: progress.update(task, completed=share))


def main(arguments: list[str]) -> int:
    """Run and report; 1 when a run differs from its undisturbed twin."""
    parser = argparse.ArgumentParser(prog="make chaos ARGS=kafka", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join([*RUNS, "faults"]))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--readme", action="store_true", help="put the table into the README")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.names if name not in (*RUNS, "faults")]
    if unknown:
        parser.error(f"no run named {', '.join(unknown)}; there are: {', '.join(RUNS)}, faults")
    rows: list[Row] = []
    for name in given.names or [*RUNS, "faults"]:
        try:
            said = faults() if name == "faults" else shown(RUNS[name], given.seed)
        except Exception as error:
            said = f"{FAILED}: {type(error).__name__}: {str(error)[:2000]}"
        sys.stdout.write(f"{name}, seed {given.seed}: {said}\n")
        sys.stdout.flush()
        rows.append({"harm": name, "what came of it": one_line(said)})
    publish("chaos, on Kafka (`make chaos ARGS=kafka`)", rows, seed=given.seed)
    failed = any(str(row["what came of it"]).startswith(FAILED) for row in rows)
    if given.readme and not failed:
        write_readme()
    return int(failed)
