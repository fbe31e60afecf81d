"""The facade: streams, appends, results, readers, failures, restarts."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from itertools import pairwise
from statistics import median

import pytest

from service.adapters.clock import SystemClock
from service.adapters.memory import MemoryLog
from service.engine.config import StreamConfig
from service.engine.errors import (
    Backpressure,
    InvalidParameter,
    InvalidRecord,
    NeedsNewModel,
    NotReady,
    ResultTimeout,
    StreamExists,
    TransientError,
    UnknownStream,
)
from service.engine.pipeline import Pipeline
from service.engine.policy import BacklogPolicy, SnapshotPolicy
from service.engine.ports import Change
from service.engine.records import EVERYTHING, NewRecord, Position, StreamPartition
from tests.engine.fakes import FakeDetector, FakeFactory, NoMetrics
from tests.engine.world import CONFIG, World, ask, rows, run, until

HERE = StreamPartition("s", 0)
SPREAD = StreamConfig(name="s", features=("x", "y"), shingle_size=2, partitions=3)


def to(**fields) -> Change:
    """A change of some fields."""
    return lambda present: replace(present, **fields)


def test_a_record_comes_back_scored():
    async def body() -> None:
        async with World().engine() as engine:
            await engine.create_stream(CONFIG)
            assert engine.ready, engine.not_ready_reason
            found = await ask(engine, rows((1, 2), (3, 4), (5, 6)))
            assert [result["status"] for result in found] == ["warming", "warming", "scored"]
            assert found[0]["timestamp"] == "2023-11-14T22:13:20.000Z"

    run(body)


def test_commits_keep_their_distance_but_the_first_after_a_rest_does_not_wait():
    async def commits(interval_s: float) -> tuple[list[int], float]:
        world = World(clock=SystemClock())
        world.options = replace(world.options, commit_interval_s=interval_s)
        sizes: list[int] = []
        commit = world.log.commit

        async def counted(transaction) -> None:
            sizes.append(len(transaction.results))
            await commit(transaction)

        world.log.commit = counted
        async with world.engine() as engine:
            await engine.create_stream(CONFIG)
            began_s = time.monotonic()
            await ask(engine, rows((0, 0)))
            first_s = time.monotonic() - began_s
            for n in range(20):
                await engine.append("s", rows((n, n)))
                await asyncio.sleep(0.005)
            await ask(engine, rows((9, 9)))
        assert sum(sizes) == 22
        return sizes, first_s

    async def body() -> None:
        sizes, first_s = await commits(0.2)
        assert len(sizes) <= 4
        assert first_s < 0.15
        assert len((await commits(0.0))[0]) > 10

    run(body)


def test_what_scoring_takes_does_not_come_on_top_of_the_distance_of_commits(monkeypatch):
    process = Pipeline.process

    def slow(self, batch):
        time.sleep(0.15)
        return process(self, batch)

    monkeypatch.setattr(Pipeline, "process", slow)

    async def body() -> None:
        world = World(clock=SystemClock())
        world.options = replace(world.options, commit_interval_s=0.2)
        begins: list[float] = []
        commit = world.log.commit

        async def noted(transaction) -> None:
            begins.append(time.monotonic())
            await commit(transaction)

        world.log.commit = noted
        async with world.engine() as engine:
            await engine.create_stream(CONFIG)
            while len(begins) < 8:
                await engine.append("s", rows((1, 1)))
                await asyncio.sleep(0.01)
        distances = [later - earlier for earlier, later in pairwise(begins)]
        assert 0.19 < median(distances) < 0.3

    run(body)


def test_records_that_others_appended_count_as_lag():
    class Lags(NoMetrics):
        def __init__(self) -> None:
            self.found: list[int] = []

        def lag(self, partition, records) -> None:
            self.found.append(records)

    async def body() -> None:
        metrics = Lags()
        world = World(metrics=metrics)
        poll = world.log.poll

        async def told(*arguments):
            return replace(await poll(*arguments), behind=7)

        world.log.poll = told
        async with world.engine() as engine:
            await engine.create_stream(CONFIG)
            await ask(engine, rows((0, 0)))
            assert metrics.found == [0, 7]

    run(body)


def test_results_come_in_the_order_asked_for():
    async def body() -> None:
        async with World().engine() as engine:
            await engine.create_stream(SPREAD)
            records = [rows((n, 0), key=f"k{n % 7}")[0] for n in range(50)]
            found = await ask(engine, records)
            assert [result["values"][0] for result in found] == list(range(50))
            assert len({result["partition"] for result in found}) > 1

    run(body)


def test_streams_are_made_once_changed_with_care_and_deleted():
    async def body() -> None:
        world = World()
        async with world.engine() as engine:
            made = await engine.create_stream(CONFIG)
            assert await engine.create_stream(CONFIG) == made
            with pytest.raises(StreamExists) as exists:
                await engine.create_stream(replace(CONFIG, trees=7))
            assert exists.value.changed == ("trees",)
            with pytest.raises(NeedsNewModel) as needs:
                await engine.update_stream("s", to(trees=7, max_series=9), reset=False)
            assert needs.value.changed == ("trees",)
            with pytest.raises(InvalidParameter, match="partitions"):
                await engine.update_stream("s", to(partitions=2), reset=True)
            live = await engine.update_stream("s", to(max_series=9), reset=False)
            assert (live.generation, live.max_series) == (1, 9)
            assert await engine.update_stream("s", to(), reset=False) == live
            fresh = await engine.update_stream("s", to(shingle_size=1), reset=True)
            assert fresh.generation == 2
            assert engine.stream("s") == fresh
            assert engine.streams() == [fresh]
            await engine.delete_stream("s")
            assert engine.streams() == []
            assert engine.ready
            for call in (engine.append("s", rows((1, 2))), engine.delete_stream("s")):
                with pytest.raises(UnknownStream):
                    await call
        assert world.store.names("") == []

    run(body)


def test_a_stream_made_again_under_its_name_knows_nothing():
    async def body() -> None:
        async with World().engine() as engine:
            for _ in range(3):
                await engine.create_stream(CONFIG)
                found = await ask(engine, rows((1, 2), (3, 4), (5, 6)))
                assert [result["offset"] for result in found] == [0, 1, 2]
                assert found[1]["status"] == "warming"
                await engine.delete_stream("s")

    run(body)


def test_a_reset_takes_effect_where_it_stands_in_the_log():
    async def body() -> None:
        async with World().engine() as engine:
            await engine.create_stream(CONFIG)
            await ask(engine, rows((1, 2), (3, 4), (5, 6)))
            await engine.update_stream("s", to(), reset=True)
            (found,) = await ask(engine, rows((7, 8)))
            assert (found["status"], found["offset"]) == ("warming", 4)
            page = await engine.results("s")
            assert json.loads(page.results[3])["status"] == "control"

    run(body)


def test_decode_judges_as_scoring_will():
    async def body() -> None:
        async with World().engine() as engine:
            await engine.create_stream(CONFIG)
            assert engine.decode("s", b'{"key":"k","values":[1,2]}').key == "k"
            for value in (b"[1]", b"[1,1e300]", b'{"key":"%s","values":[1,2]}' % (b"k" * 2000)):
                with pytest.raises(InvalidRecord):
                    engine.decode("s", value)
            with pytest.raises(InvalidRecord):
                await engine.append("s", [NewRecord(b"[1,2]", "k" * 2000)])
            with pytest.raises(InvalidRecord):
                await engine.append("s", [NewRecord(b"[1,2]", None, 10**18)])
            assert (await engine.results("s")).results == []

    run(body)


def test_pages_go_through_everything_once_in_the_order_of_each_partition():
    async def body() -> None:
        async with World().engine() as engine:
            await engine.create_stream(SPREAD)
            records = [rows((n, 0), key=f"k{n % 9}", time_ms=n * 1000)[0] for n in range(100)]
            await ask(engine, records)
            found, cursor = [], None
            while True:
                page = await engine.results("s", limit=7, cursor=cursor)
                assert len(page.results) <= 7
                found += [json.loads(result) for result in page.results]
                cursor = page.next
                if cursor is None:
                    break
            assert [result["values"][0] for result in found] == list(range(100))  # by time
            by_key = await engine.results("s", key="k4", from_ms=10_000, to_ms=50_000)
            values = [json.loads(result)["values"][0] for result in by_key.results]
            assert values == [13, 22, 31, 40, 49]
            for wrong in ({"cursor": "1,2"}, {"cursor": "x,1,2"}, {"limit": 0}, {"limit": 10**6}):
                with pytest.raises(InvalidParameter):
                    await engine.results("s", **wrong)

    run(body)


def test_a_feed_catches_up_goes_live_and_resumes_after_any_event():
    async def body() -> None:
        async with World().engine() as engine:
            await engine.create_stream(SPREAD)

            async def take(count: int, after: str | None, add: int = 0) -> list[tuple[str, dict]]:
                events = engine.subscribe("s", anomalies=False, after=after)
                waiting = asyncio.create_task(collect(events, count))
                await asyncio.sleep(0.02)
                if add:
                    await ask(engine, [rows((n, 1), key=f"k{n}")[0] for n in range(add)])
                return await waiting

            async def collect(events, count: int) -> list[tuple[str, dict]]:
                found = []
                async for place, kind, data in events:
                    if kind == "incident":
                        continue
                    found.append((place, json.loads(data)))
                    if len(found) == count:
                        break
                return found

            live = await take(5, None, add=5)
            assert len(live) == 5
            whole = await take(8, "0,0,0", add=3)
            for place in (0, 3, 6):
                rest = await take(7 - place, whole[place][0])
                assert by_place(rest) == by_place(whole[place + 1 :])
            with pytest.raises(InvalidParameter):
                engine.subscribe("s", anomalies=False, after="nonsense")

    run(body)


def by_place(events: list[tuple[str, dict]]) -> list[dict]:
    """Order events as no two partitions need to be."""
    return sorted((data for _, data in events), key=lambda d: (d["partition"], d["offset"]))


def test_a_feed_ends_with_its_stream():
    async def body() -> None:
        async with World().engine() as engine:
            await engine.create_stream(CONFIG)

            async def follow() -> str:
                async for _ in engine.subscribe("s", anomalies=True, after=None):
                    pass
                return "ended"

            following = asyncio.create_task(follow())
            await asyncio.sleep(0.02)
            await engine.delete_stream("s")
            assert await following == "ended"

    run(body)


class SlowFactory(FakeFactory):
    """Makes detectors that wait for a gate."""

    def __init__(self) -> None:
        import threading

        self.gate = threading.Event()

    def create(self, config, seed):
        detector, gate = super().create(config, seed), self.gate

        class Gated(FakeDetector):
            def process(self, values, times, *, explain):
                gate.wait(10)
                return super().process(values, times, explain=explain)

        return Gated(detector.state, detector.seen, detector.warm)


def test_what_cannot_wait_is_refused_whole_and_time_runs_out_softly():
    async def body() -> None:
        factory = SlowFactory()
        options = replace(World().options, backlog=BacklogPolicy(records=100, size=10_000))
        async with World(factory=factory, options=options).engine() as engine:
            await engine.create_stream(CONFIG)
            positions = await engine.append("s", rows(*[(1, 2)] * 80))
            with pytest.raises(Backpressure) as refused:
                await engine.append("s", rows(*[(1, 2)] * 30))
            assert 1 <= refused.value.retry_after_s <= 60
            with pytest.raises(Backpressure):
                await engine.append("s", [NewRecord(bytes(10_000))])
            with pytest.raises(ResultTimeout):
                await engine.results_at("s", positions[:1], 0.02)
            factory.gate.set()
            assert len(await engine.results_at("s", positions, 5)) == 80
            more = await engine.append("s", rows(*[(1, 2)] * 30))
            assert more[0] == Position(0, 80)

    run(body)


def test_a_partition_whose_detector_breaks_stops_alone_and_says_so():
    class Breaking(FakeFactory):
        def create(self, config, seed):
            detector = super().create(config, seed)

            class Broken(FakeDetector):
                def process(self, values, times, *, explain):
                    if (values == 13).any():
                        raise ZeroDivisionError
                    return super().process(values, times, explain=explain)

            return Broken(detector.state, detector.seen, detector.warm)

    async def body() -> None:
        async with World(factory=Breaking()).engine() as engine:
            await engine.create_stream(CONFIG)
            await engine.create_stream(replace(CONFIG, name="t"))
            with pytest.raises(NotReady):
                await ask(engine, rows((1, 2), (13, 0)))
            assert not engine.ready
            assert "s/0 is failed" in (engine.not_ready_reason or "")
            assert (await engine.results("s")).results == []
            assert len(await ask(engine, rows((1, 2)), "t")) == 1

    run(body)


@pytest.mark.parametrize("name", ["commit.before", "commit.after", "restore.assigned"])
def test_a_passing_failure_is_got_over(name):
    class Failing:
        def __init__(self) -> None:
            self.count = 0

        def __call__(self, met: str) -> None:
            if met == name:
                self.count += 1
                if self.count in (1, 3, 4):
                    raise TransientError("injected")

    async def body() -> None:
        world = World(failpoint=Failing())
        async with world.engine() as engine:
            await engine.create_stream(CONFIG)
            for _ in range(6):
                await ask(engine, rows((1, 2), (3, 4)))
            await until(lambda: engine.ready)
        offsets = [
            r.offset for r in (await world.log.read_results(HERE, 0, 99, EVERYTHING)).results
        ]
        assert offsets == list(range(12))

    run(body)


def snapshotting(world: World, interval_s: float = 1.0) -> World:
    policy = SnapshotPolicy(interval_s=interval_s, share=1.0)
    world.options = replace(world.options, snapshot=policy)
    return world


async def grow(world: World, engine, times: int) -> None:
    """Let snapshots appear: records, then time."""
    for _ in range(times):
        before = world.store.names("")
        await ask(engine, [rows((1, n), key=f"k{n}")[0] for n in range(4)])
        world.clock.s += 2.0
        await until(lambda before=before: world.store.names("") != before)
        await asyncio.sleep(0.03)  # its pointer


def test_a_restart_goes_on_from_the_newest_snapshot_with_equal_state():
    async def body() -> None:
        world = snapshotting(World())
        async with world.engine() as engine:
            await engine.create_stream(CONFIG)
            await grow(world, engine, 2)
            await ask(engine, rows((9, 9), key="k1"))
            before = engine.state_digests()
        async with world.engine() as engine:
            await until(lambda: engine.ready)
            assert engine.state_digests() == before
        pointers = (await world.log.assign(HERE)).pointers
        assert pointers[0].offset == 9  # the stop left one of the very end
        assert len(pointers) == 3

    run(body)


@pytest.mark.parametrize("bad", [1, 2, 3])
def test_a_corrupt_snapshot_means_an_older_one_and_none_means_the_log(bad):
    async def body() -> None:
        world = snapshotting(World())
        async with world.engine() as engine:
            await engine.create_stream(CONFIG)
            await grow(world, engine, 4)
            before = engine.state_digests()
        for pointer in (await world.log.assign(HERE)).pointers[:bad]:
            data = world.store.files[pointer.manifest]
            world.store.files[pointer.manifest] = data[:40] + b"?" + data[41:]
        async with world.engine() as engine:
            await until(lambda: engine.ready)
            assert engine.state_digests() == before

    run(body)


def test_without_snapshot_and_input_the_state_counts_as_lost():
    async def body() -> None:
        world = snapshotting(World())
        async with world.engine() as engine:
            await engine.create_stream(CONFIG)
            await grow(world, engine, 3)
        part = world.log._parts[HERE]
        del part.input[:2]
        part.begin = 2
        for pointer in part.pointers:
            del world.store.files[pointer.manifest]
        async with world.engine() as engine:
            await until(lambda: "no sound snapshot" in (engine.not_ready_reason or ""))

    run(body)


def test_old_snapshot_files_are_collected():
    async def body() -> None:
        world = snapshotting(World())
        async with world.engine() as engine:
            await engine.create_stream(CONFIG)
            await grow(world, engine, 12)
        manifests = [name for name in world.store.names("") if name.endswith(".manifest")]
        packs = [name for name in world.store.names("") if name.endswith(".pack")]
        assert len(manifests) == 3
        assert len(packs) <= 3

    run(body)


def test_retention_trims_input_and_results_but_never_above_the_oldest_snapshot():
    async def body() -> None:
        world = snapshotting(World())
        async with world.engine() as engine:
            await engine.create_stream(replace(CONFIG, retention=1000))
            for _ in range(8):
                await ask(engine, rows(*[(1, 2)] * 400))
                world.clock.s += 2.0
                await asyncio.sleep(0.05)
            await ask(engine, rows((1, 2)))
        assignment = await world.log.assign(HERE)
        assert 0 < assignment.begin <= assignment.end - 1000
        assert assignment.begin <= min(pointer.offset for pointer in assignment.pointers)
        async with world.engine() as engine:
            await until(lambda: engine.ready)
            page = await engine.results("s", limit=100_000)
            assert json.loads(page.results[0])["offset"] == assignment.begin

    run(body)


def test_a_snapshot_that_cannot_be_written_is_tried_again_and_loses_nothing():
    async def body() -> None:
        world = snapshotting(World())
        write, refused = world.store.write, []

        def full(name: str, chunks) -> None:
            if len(refused) < 2:
                refused.append(name)
                raise OSError("disk full")
            write(name, chunks)

        world.store.write = full  # type: ignore[method-assign]  # this store alone
        async with world.engine() as engine:
            await engine.create_stream(CONFIG)
            for _ in range(2):
                await ask(engine, rows((1, 2), key="only-once-in-a-while"))
                world.clock.s += 2.0
                count = len(refused)
                await until(lambda count=count: len(refused) > count or len(refused) == 2)
            await grow(world, engine, 1)
            before = engine.state_digests()
            assert engine.ready
        async with world.engine() as engine:
            await until(lambda: engine.ready)
            assert engine.state_digests() == before

    run(body)


def test_partitions_are_scored_at_the_same_time():
    import threading

    both = threading.Barrier(2, timeout=5)

    class Meeting(FakeFactory):
        def create(self, config, seed):
            detector = super().create(config, seed)

            class Waiting(FakeDetector):
                def process(self, values, times, *, explain):
                    both.wait()
                    return super().process(values, times, explain=explain)

            return Waiting(detector.state, detector.seen, detector.warm)

    async def body() -> None:
        async with World(factory=Meeting()).engine() as engine:
            await engine.create_stream(replace(CONFIG, partitions=2))
            records = [rows((1, 2), key=key)[0] for key in ("a", None)]
            found = await ask(engine, records)
            assert {result["partition"] for result in found} == {0, 1}

    run(body)


def test_a_snapshot_of_other_numerics_is_used_but_not_compared():
    async def body() -> None:
        world = snapshotting(World())
        async with world.engine() as engine:
            await engine.create_stream(CONFIG)
            await grow(world, engine, 1)
            await ask(engine, rows((9, 9)))
            runners = list(engine._owned.runners.values())
            for task in engine._owned.tasks.values():
                task.cancel()  # a death: no last snapshot
            before = runners[0].pipeline.detectors.digests()
        stored = world.log._parts[HERE].results
        last = stored[-1]
        stored[-1] = type(last)(last.offset, last.timestamp_ms, last.key, last.anomaly, b"other")
        world.options = replace(world.options, fingerprint="another machine")
        async with world.engine() as engine:
            await until(lambda: engine.ready)
            assert engine.state_digests()[HERE] == before
        assert world.log._parts[HERE].results[-1].value == b"other"

    run(body)


class Unfinished(MemoryLog):
    """A log in which the deletion of a stream was cut short."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.left = [name]

    async def delete_stream(self, stream: str) -> None:
        if stream in self.left:
            self.left.remove(stream)
        else:
            await super().delete_stream(stream)


def test_a_deletion_that_was_cut_short_can_be_repeated():
    async def body() -> None:
        world = World(Unfinished("s"))
        async with world.engine() as engine:
            await engine.delete_stream("s")
            assert world.log.left == []
            with pytest.raises(UnknownStream):
                await engine.delete_stream("s")

    run(body)


class Misread(MemoryLog):
    """What is left of a log for who cannot read one of its streams."""

    def __init__(self, log: MemoryLog, name: str) -> None:
        super().__init__()
        self._entries = {known: log._entries[known] for known in log._entries if known != name}
        self._parts = {part: log._parts[part] for part in log._parts if part.stream != name}
        self.unreadable = (name,)


def test_orphans_of_deleted_streams_are_swept_at_the_next_start():
    async def body() -> None:
        world = World()
        async with world.engine() as engine:
            await engine.create_stream(CONFIG)
        orphan = f"{world.log.identity}/gone.7/0/00000001-5.pack"
        world.store.write(orphan, [b"x"])
        async with world.engine():
            assert world.store.names(orphan) == []

    run(body)


def test_snapshots_of_a_log_that_lost_its_streams_stay():
    async def body() -> None:
        world = World()
        async with world.engine() as engine:
            await engine.create_stream(CONFIG)
            await ask(engine, rows((1, 1)))
        before = world.store.names("")
        assert before != []
        world.log = MemoryLog()
        async with world.engine():
            assert world.store.names("") == before

    run(body)


def test_snapshots_of_a_stream_that_cannot_be_read_stay():
    async def body() -> None:
        world = World()
        async with world.engine() as engine:
            for name in ("s", "other"):
                await engine.create_stream(replace(CONFIG, name=name))
            await ask(engine, rows((1, 1)))
        before = world.store.names(f"{world.log.identity}/s.")
        assert before != []
        world.log = Misread(world.log, "s")
        async with world.engine() as engine:
            assert [config.name for config in engine.streams()] == ["other"]
            assert world.store.names(f"{world.log.identity}/s.") == before

    run(body)


def test_changes_at_the_same_moment_are_all_made():
    async def body() -> None:
        async with World().engine() as engine:
            await engine.create_stream(CONFIG)
            changes = ({"max_series": 9}, {"time_decay": 0.1}, {"incident_gap": 7})
            await asyncio.gather(
                *(engine.update_stream("s", to(**fields), reset=False) for fields in changes)
            )
            config = engine.stream("s")
            assert (config.max_series, config.time_decay, config.incident_gap) == (9, 0.1, 7)

    run(body)


def test_a_refused_backfill_leaves_the_stream_as_it_was():
    async def body() -> None:
        world = World()
        async with world.engine() as engine:
            before = await engine.create_stream(CONFIG)
            engine._owned.runners[HERE].backlog.reserve(10**6, 0)
            with pytest.raises(Backpressure):
                await engine.backfill("s", [NewRecord(b"[1,2]", "k", 2000)])
            assert world.log._parts[HERE].end == 0
            assert engine.stream("s") == before

    run(body)


def test_what_others_keep_beside_snapshots_stays():
    """A bucket of the company, or that of another log with streams of the same names."""

    async def body() -> None:
        world = World()
        others = ["another-log/s.1/0/00000001-5.pack", "letters/2026.txt", "s.1/0/1.manifest"]
        for name in others:
            world.store.write(name, [b"x"])
        async with world.engine() as engine:
            await engine.create_stream(CONFIG)
            await ask(engine, rows((1, 1)))
            await engine.delete_stream(CONFIG.name)
        assert world.store.names("") == others

    run(body)
