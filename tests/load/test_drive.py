"""Open-loop traffic: what latency means, what the knee is, and the commands for a few seconds."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web

from load import drive, http_door, soak
from load.http_door import FORMATS, Format, HttpDoor
from load.latency import Latencies
from load.ramp import NoKneeError, Step, find_knee
from load.service import Model, Served
from load.traffic import Traffic
from load.watch import Sample, growth, slope_per_minute
from tests.left_out import left_out


def test_quantiles_are_those_of_what_was_noted():
    took = np.random.default_rng(3).lognormal(-4, 1, 5_000)
    latencies = Latencies(slice_s=10.0)
    latencies.add_many((n / 100, each) for n, each in enumerate(took.tolist()))
    latencies.add(49.9, 5.0, records=7)
    assert latencies.records == 5_007
    every = np.concatenate([took, np.full(7, 5.0)])
    for percentile in (50, 99, 99.9, 100):
        exact = 1e3 * np.percentile(every, percentile, method="inverted_cdf")
        assert latencies.ms(percentile) == pytest.approx(exact, rel=2e-3)
    ends, highest = zip(*latencies.over_time(100), strict=True)
    assert ends == (10, 20, 30, 40, 50)
    assert highest[-1] == pytest.approx(5_000, rel=2e-3) and max(highest[:-1]) < 2_000


def test_popularity_follows_its_law_and_its_seed():
    traffic = Traffic(series=50, zipf=1.2, seed=4)
    pool = traffic.pool(30_000)
    assert pool == Traffic(50, 1.2, 4).pool(30_000) != Traffic(50, 1.2, 5).pool(30_000)
    shares = np.bincount([series for series, _ in pool], minlength=50) / len(pool)
    law = np.arange(1, 51) ** -1.2
    np.testing.assert_allclose(shares, law / law.sum(), atol=0.01)
    assert [series for series, _ in traffic.warming(2)] == [*range(50)] * 2


@pytest.mark.parametrize("name", FORMATS)
def test_bodies_are_what_the_service_reads(name):
    form = FORMATS[name]
    body = form.body([(7, b'{"values":[1.5]}')] * form.batch)
    if form.kind == http_door.NDJSON:
        rows = [json.loads(line) for line in body.splitlines()]
    else:
        rows = json.loads(body).get("records") or [json.loads(body)]
    assert rows == [{"key": "series-7", "values": [1.5]}] * form.batch


class Queue:
    """A server that takes 1 / `capacity` s for each record, in the order of their coming."""

    def __init__(self, capacity: float, hiccups: tuple[int, ...] = ()) -> None:
        self.capacity, self.hiccups, self.runs = capacity, hiccups, 0

    def measure(self, rate: float) -> Step:
        seconds = 4.0
        step = Step(rate, seconds, int(rate * seconds), latencies=Latencies(seconds / 8))
        due = np.arange(step.sent) / rate
        done = np.maximum.accumulate(due - np.arange(step.sent) / self.capacity)
        done += (np.arange(step.sent) + 1) / self.capacity
        if self.runs in self.hiccups:
            done += 1.0
        self.runs += 1
        step.within = int((done <= seconds).sum())
        step.latencies.add_many(zip(due.round(1).tolist(), (done - due).tolist(), strict=True))
        return step


@pytest.mark.parametrize(("capacity", "begin"), [(3_000.0, 500.0), (777.0, 2_000.0)])
def test_the_knee_is_the_capacity_of_a_server(capacity, begin):
    said = []
    queue = Queue(capacity, hiccups=(1,))
    knee, steps = find_knee(
        queue.measure, begin=begin, limit_ms=200, said=lambda *each: said.append(each)
    )
    assert 0.88 * capacity < knee < 1.05 * capacity
    assert [step.rate for step in steps] == sorted(step.rate for step in steps)
    assert len(said) == queue.runs > len(steps)  # what is not sustained is tried twice
    held = [step.objection(200) is None for step in steps]
    assert held == sorted(held, reverse=True), "noise that comes once does not end the ramp"


def test_a_server_that_bears_nothing_has_no_knee():
    with pytest.raises(NoKneeError, match="not even"):
        find_knee(Queue(1.0).measure, begin=1_000, limit_ms=100)


@pytest.mark.parametrize("what", ["refused", "failed", "unsent"])
def test_a_rate_at_which_records_are_lost_is_not_sustained(what):
    step = Queue(1_000.0).measure(100)
    assert step.objection(100) is None
    setattr(step, what, 1)
    assert step.objection(100) == f"1 {what}"


@contextmanager
def stalling(pauses: dict[int, float]):
    """A server that answers at once, but for some requests, which hold everything up."""
    started, loop = threading.Event(), asyncio.new_event_loop()
    found: dict[str, object] = {"requests": 0}

    async def post(request: web.Request) -> web.Response:
        await request.read()
        found["requests"] += 1
        time.sleep(pauses.get(found["requests"], 0.0))  # noqa: ASYNC251  (that is the point)
        return web.Response(status=200 if found["requests"] != 5 else 429)

    async def partitions(_: web.Request) -> web.Response:
        return web.json_response({"partitions": []})

    async def serve() -> None:
        application = web.Application()
        application.router.add_post("/v1/streams/s/records", post)
        application.router.add_get("/v1/streams/s/partitions", partitions)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        found["url"] = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        started.set()
        found["end"] = asyncio.Event()
        await found["end"].wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield Served(str(found["url"]), "s", Model(), 0, Path())
    finally:
        loop.call_soon_threadsafe(found["end"].set)
        thread.join(10)
        loop.close()


@pytest.mark.parametrize("most_open", [500, 1])
def test_a_stall_counts_for_everything_that_was_due_meanwhile(most_open, monkeypatch):
    """No coordinated omission, not even where the client has to wait for a free connection."""
    monkeypatch.setattr(http_door, "MOST_OPEN", most_open)
    with stalling({20: 0.5}) as service:
        door = HttpDoor(service, Traffic(series=3), Format(http_door.JSON, 1))
        step = door.run(100.0, 1.0, lambda _seconds: None, 60.0)
    assert (step.sent, step.refused, step.failed, step.unsent) == (100, 1, 0, 0)
    assert step.latencies.records == 99
    # Half a second holds up some fifty requests; those due at its end waited least.
    assert step.latencies.ms(75) > 100
    assert step.latencies.ms(99) > 400


def test_a_slope_is_that_of_the_trend_and_not_of_bursts():
    rng = np.random.default_rng(1)

    def samples(per_minute: float) -> list[Sample]:
        return [
            Sample(s, 100 + per_minute * s / 60 + (40 if s % 60 < 6 else 0) + rng.normal(), 9, 4, 5)
            for s in range(600)
        ]

    assert slope_per_minute(samples(0.0)) == pytest.approx(0.0, abs=0.2)
    assert slope_per_minute(samples(3.0)) == pytest.approx(3.0, abs=0.2)
    with pytest.raises(ValueError, match="no trend"):
        slope_per_minute(samples(0.0)[:2])
    assert growth([5, 5, 6, 5, 5, 5]) == 0
    assert growth([5, 5, 6, 7, 9, 9]) == 4


def test_every_limit_of_a_soak_is_watched():
    given = soak.parse(["embedded", "--p99-limit-ms", "100"])
    step = Queue(1_000.0).measure(100)
    sound = {"log": "embedded", "p99 ms": 50.0, "MB/min": 0.3}
    sound |= {"descriptors +": 1.0, "threads +": 0.0, "tasks +": 3.0}
    assert soak.objections(sound, step, given) == []
    for name, value in {
        **{"p99 ms": 101.0, "MB/min": 1.1},
        **{"descriptors +": 9.0, "threads +": 3.0, "tasks +": 17.0},
    }.items():
        (said,) = soak.objections(sound | {name: value}, step, given)
        assert name in said and "allowed" in said
    step.failed = 3
    assert soak.objections(sound, step, given) == ["embedded: 3 records failed"]


SMALL = ["--series", "30", "--warm", "3"]


def reported(capsys) -> tuple[dict, str]:
    """The report that a command printed, and what it said besides."""
    said = capsys.readouterr()
    return json.loads(said.out), said.err


@pytest.mark.slow
def test_a_drive_reports_its_knee(capsys, tmp_path):
    plot = tmp_path / "drive.html"
    ramp = ["--begin", "400", "--step-s", "1", "--seconds", "2", "--limit-ms", "20000"]
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patched:
        patched.setattr("load.ramp.MOST_STEPS", 2)
        assert drive.main(["batch", *SMALL, *ramp, "--plot", str(plot)]) == 0
    report, said = reported(capsys)
    (row,) = report["rows"]
    assert row["knee/s"] in (400, 600) and row["rate/s"] == pytest.approx(0.7 * row["knee/s"])
    assert 0 < row["p50 ms"] <= row["p99 ms"] <= row["p99.9 ms"] <= row["most ms"]
    assert row["refused"] == row["failed"] == 0
    assert report["settings"]["seed"] == 1 and report["machine"]["hdrhistogram"] != "absent"
    assert "batch: 400/s: sustained" in said and "knee/s" in said
    drawn = plot.read_text("utf-8")
    assert "batch: latency by rate" in drawn and "uPlot" in drawn


@pytest.mark.slow
def test_a_soak_on_kafka_fails_loudly(capsys, kafka_address, monkeypatch):
    if kafka_address is None:
        left_out.leave_out("Kafka", left_out.reasons["Kafka"])
    monkeypatch.setenv("RCF_TEST_KAFKA", kafka_address)
    limits = ["--slope-limit=-1e9", "--p99-limit-ms", "60000"]
    assert soak.main(["kafka", *SMALL, "--rate", "300", "--seconds", "3", *limits]) == 1
    report, said = reported(capsys)
    (row,) = report["rows"]
    assert row["log"] == "kafka" and row["rate/s"] == 300
    assert row["answered/s"] > 200 and row["p50 ms"] > 0 and row["memory MB"] > 50
    (exceeded,) = report["settings"]["limits_exceeded"]
    assert "MB/min" in exceeded and f"FAILED: {exceeded}" in said


def test_an_unknown_way_is_said(capsys):
    with pytest.raises(SystemExit) as left:
        drive.COMMAND.parse(["pigeon"])
    assert left.value.code == 2
    assert "single, batch, ndjson, kafka" in capsys.readouterr().err
