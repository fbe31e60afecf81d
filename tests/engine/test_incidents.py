"""Anomalies become incidents: opened once, updated with news, closed when they are over."""

from __future__ import annotations

import json
import random

import msgspec
import pytest

from service.engine import snapshot as snapshot_module
from service.engine.alerting import Alerting, AlertState
from service.engine.board import grouped
from service.engine.config import StreamConfig
from service.engine.control import encode_config
from service.engine.incidents import Anomaly, IncidentEvent, Incidents
from service.engine.outcome import incident_events
from service.engine.records import Batch, Record, StreamPartition
from service.engine.rules import Rule
from tests.engine.graded import P0, GradedFactory, pipeline, record
from tests.engine.world import World, ask, rows, run
from tests.messages.schemas import validate

CONFIG = StreamConfig(name="s", shingle_size=4, incident_gap=10, incident_window_s=5)


def events_of(text: str, config: StreamConfig = CONFIG, **others: str) -> list[str]:
    """What happens along a line of records, one a second: "x" is anomalous, "." is not.

    Each of `others` is the line of another series, whose record comes 1 ms after; " " for none.
    Records that nobody minds change nothing: they may be left out.
    """
    incidents, told, offset = Incidents(P0), [], 0
    for index in range(len(text)):
        for place, (key, line) in enumerate({"k": text, **others}.items()):
            sign = line[index] if index < len(line) else " "
            if sign == " ":
                continue
            time_ms = index * 1000 + place
            grade = {"x": 0.5, "X": 1.0}.get(sign)
            anomaly = None if grade is None else Anomaly(grade, time_ms)
            minded = anomaly is not None or incidents.minds(config, key, time_ms)
            before = incidents.state()
            events = incidents.note(config, offset, key, time_ms, anomaly)
            assert minded or (events == [] and incidents.state() == before)
            told += [f"{index} {each.event} {each.because} {each.number}" for each in events]
            offset += 1
    return told


def test_a_run_is_one_incident_and_closes_after_the_gap():
    assert events_of("..xxxx" + "." * 20) == ["2 open anomaly 1", "15 close quiet 2"]


def test_anomalies_within_the_gap_open_nothing_and_are_told_after_a_calm():
    line = "x.x" + "...." + "x" + "." * 9 + "x" + "." * 10 + "x"
    assert events_of(line) == [
        "0 open anomaly 1",
        "7 update again 2",  # a whole shingle of normal records lies between
        "17 update again 3",
        "27 close quiet 4",
        "28 open anomaly 1",
    ]


def test_what_gets_worse_is_said_once():
    assert events_of("xxXXxX.") == ["0 open anomaly 1", "2 update severity 2"]


def test_series_close_in_time_join_and_others_stand_apart():
    assert events_of("x" + "." * 9, other="    x") == ["0 open anomaly 1", "4 update series 2"]
    assert events_of("x" + "." * 9, other="      x") == ["0 open anomaly 1", "6 open anomaly 1"]
    apart = StreamConfig(name="s", incident_gap=10, incident_window_s=0)
    assert events_of("x" + "." * 9, apart, other="x") == ["0 open anomaly 1", "0 open anomaly 1"]


def test_an_incident_is_over_when_its_last_series_is():
    told = events_of("x" + "." * 20, other="  x" + "." * 20)
    assert told == ["0 open anomaly 1", "2 update series 2", "12 close quiet 3"]


def test_a_series_that_sends_nothing_more_does_not_keep_an_incident_open():
    config = StreamConfig(name="s", incident_gap=10, incident_silence_s=6, incident_window_s=0)
    told = events_of("." * 20, config, other="  x")
    assert told == ["2 open anomaly 1", "9 close silent 2"]
    assert events_of("." * 20, config, other="  x     .")[-1] == "15 close silent 2"


def test_an_event_tells_all_and_ranks_it():
    config = StreamConfig(name="s", features=("a", "b"), incident_window_s=60)
    incidents = Incidents(P0)
    incidents.note(config, 5, "mild", 5000, Anomaly(0.25, 4000, [1.0, 3.0]))
    (event,) = incidents.note(config, 6, "bad", 6000, Anomaly(0.75, 6000, [0.0, 4.0]))
    assert (event.incident, event.event, event.number) == ("s/0/5", "update", 2)
    assert (event.started, event.last) == ("1970-01-01T00:00:04.000Z", "1970-01-01T00:00:06.000Z")
    assert (event.severity, event.anomalies, event.series_count) == (0.75, 2, 2)
    assert [(each.key, each.severity) for each in event.series] == [("bad", 0.75), ("mild", 0.25)]
    assert [(each.feature, each.share) for each in event.features] == [("b", 0.875), ("a", 0.125)]
    validate("incident", msgspec.to_builtins(event))


def lines(seed: int, length: int = 600) -> list[Record]:
    """Three series, bursts of anomalies, times that jump and run backward, a change in between."""
    rng = random.Random(seed)
    found, time_ms, busy = [], 0, 0
    for offset in range(length):
        time_ms += rng.choice(
            (0, 500, 1000, 1000, 2000, -3000, 400_000 if rng.random() < 0.02 else 0)
        )
        busy = rng.randint(1, 9) if rng.random() < 0.03 else max(busy - 1, 0)
        grade = rng.choice((0.25, 0.5, 1.0)) if busy and rng.random() < 0.7 else 0.0
        found.append(record(offset, grade, rng.choice("abc"), time_ms))
    changed = StreamConfig(name="s", incident_gap=3, incident_window_s=1, generation=2)
    found[length // 2 - 1] = record(length // 2 - 1, 1.0, "b", time_ms)  # open at the change
    found[length // 2] = Record(length // 2, 0, None, encode_config(changed), True)
    return found


@pytest.mark.parametrize("seed", range(10))
def test_batches_and_snapshots_change_nothing(seed):
    rng = random.Random(seed)
    rule = Rule(name="short", fewer_than=2, key="a")
    config = StreamConfig(name="s", incident_gap=5, incident_silence_s=300, rules=(rule,))
    log = lines(seed)
    whole = pipeline(config).process(Batch(P0, log, len(log))).results
    line, cut = pipeline(config), []
    while line.position < len(log):
        end = min(line.position + rng.randint(1, 40), len(log))
        cut += line.process(Batch(P0, log[line.position : end], end)).results
        kept = msgspec.json.encode(line.alerting.state())  # as through a snapshot
        line.alerting = Alerting(P0, msgspec.json.decode(kept, type=AlertState))
    assert cut == whole
    told = [json.loads(event) for result in whole for event in incident_events(result.value)]
    assert {each["event"] for each in told} == {"open", "update", "close"}
    assert "reset" in {each["because"] for each in told}
    numbers: dict[str, int] = {}
    for each in told:
        name = each["incident"]
        assert each["number"] == numbers.get(name, 0) + 1
        assert (each["event"] == "open") == (each["number"] == 1)
        assert numbers.get(name) != -1
        numbers[name] = -1 if each["event"] == "close" else each["number"]
        validate("incident", each)


def test_a_snapshot_taken_is_not_touched_by_what_comes_after():
    line = pipeline(CONFIG)
    line.process(Batch(P0, [record(0, 1.0)], 1))
    state = line.alerting.state()
    before = msgspec.json.encode(state)
    line.process(Batch(P0, [record(1, 1.0), record(2, 0.0)], 3))
    assert msgspec.json.encode(state) == before


def told(name: str, started_s: int, last_s: int, partition: int) -> IncidentEvent:
    incidents = Incidents(StreamPartition("s", partition))
    (event,) = incidents.note(CONFIG, 0, "k", last_s * 1000, Anomaly(1.0, started_s * 1000))
    return msgspec.structs.replace(event, incident=name)


def test_incidents_of_several_partitions_that_overlap_are_one_group():
    events = [told("a", 0, 10, 0), told("b", 14, 20, 1), told("c", 40, 50, 1), told("d", 60, 61, 1)]
    assert grouped(events, 5) == {"a": "a", "b": "a", "c": "c", "d": "d"}
    assert grouped(events[:2], 3) == {"a": "a", "b": "b"}
    assert grouped([told("d", 60, 61, 1), told("e", 62, 63, 1)], 5) == {"d": "d", "e": "e"}


@pytest.mark.parametrize("forgetful", [False, True])
def test_an_incident_outlives_its_process(forgetful, monkeypatch):
    """A start that forgot what was open, as the second one here, would open it once more."""
    if forgetful:
        monkeypatch.setattr(snapshot_module, "alerting_of", lambda manifest: Alerting(P0))

    async def body() -> None:
        world = World(factory=GradedFactory())
        config = StreamConfig(name="s", features=("x",), shingle_size=2, incident_gap=5)
        async with world.engine() as engine:
            await engine.create_stream(config)
            await ask(engine, [row for grade in (0, 0.5, 0, 0) for row in rows((grade,), key="k")])
        async with world.engine() as engine:
            later = [row for grade in (0.5, 0, 0, 0, 0, 0) for row in rows((grade,), key="k")]
            found = await ask(engine, later)
            events = [event["event"] for each in found for event in each.get("incidents", [])]
            assert events == (["open", "close"] if forgetful else ["update", "close"])
            standing = [each.event for each in await engine.incidents("s")]
            names = {"s/0/1": 1, "s/0/4": 2} if forgetful else {"s/0/1": 3}
            assert {each.incident: each.number for each in standing} == names
            page = await engine.results("s", anomalies=True)
            assert [json.loads(each)["offset"] for each in page.results] == [1, 4]

    run(body)
