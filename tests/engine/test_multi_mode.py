"""Streams whose records' distances have a say: results, batches, restores and live changes."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

import pytest

from service.adapters.codec import decoder_for
from service.adapters.forest import ForestFactory
from service.adapters.snapshots import MemorySnapshotStore
from service.engine.config import CHANGES, MULTI_MODES, StreamConfig, model_digest
from service.engine.control import encode_config
from service.engine.detectors import SeriesDetectors
from service.engine.errors import InvalidParameter
from service.engine.feedback import LEAST_GRADE, ThresholdFactor, bent
from service.engine.pipeline import Output, Pipeline, by_distance
from service.engine.ports import no_failpoint
from service.engine.records import Batch, Record, StreamPartition
from service.engine.snapshot import capture, load, read_manifest, write
from tests.messages.schemas import validate

HERE = StreamPartition("s", 0)
CONFIG = StreamConfig(
    name="s", features=("x", "y"), trees=8, sample_size=32, smoothing=3, cool_down=5
)
ON = MULTI_MODES[1:]
KEYS = "abc"


def records(seed: int, *changes: StreamConfig) -> list[Record]:
    """Noise of a few series with spikes of two sizes, and changes of the stream on the way."""
    rng = random.Random(seed)
    found = []
    for offset in range(1500):
        spike = rng.choice((6.0, 6.0, 6.0, 200.0)) if rng.random() < 0.03 else 0.0
        value = b"[%r,%r]" % (rng.gauss(spike, 1), rng.gauss(5 + spike, 1))
        found.append(Record(offset, 1000 * offset, rng.choice(KEYS), value))
    for number, change in enumerate(changes, 1):
        at = 1500 * number // (len(changes) + 1)
        found[at] = Record(at, 0, None, encode_config(change), True)
    return found


def pipeline(config: StreamConfig) -> Pipeline:
    return Pipeline(HERE, config, SeriesDetectors(ForestFactory()), decoder_for)


def restored(step: Pipeline) -> Pipeline:
    store = MemorySnapshotStore()
    written = write(store, "f/1-", capture(step, {}), "here", no_failpoint)
    detectors = SeriesDetectors(ForestFactory())
    load(store, read_manifest(store, written.pointer), detectors, no_failpoint)
    again = Pipeline(HERE, step.config, detectors, decoder_for, step.position)
    again.intake, again.limit, again.alerting = step.intake, step.limit, step.alerting
    return again


def process(step: Pipeline, part: list[Record]) -> Output:
    return step.process(Batch(HERE, part, part[-1].offset + 1))


def results(config: StreamConfig, rows: list[Record]) -> list[dict[str, Any]]:
    return [json.loads(result.value) for result in process(pipeline(config), rows).results]


def is_far(result: dict[str, Any]) -> bool:
    return result["distance"] > result.get("distance_threshold", float("inf"))


@pytest.mark.parametrize("mode", ON)
def test_results_say_what_the_distance_did(mode: str) -> None:
    found = results(replace(CONFIG, multi_mode=mode, threshold="percentile"), records(1))
    for result in found:
        validate("score", result)
        assert ("distance" in result) == (result["score"] is not None)
    scored = [result for result in found if result["score"] is not None]
    assert sum("distance_threshold" not in result for result in scored) in (30, 33)  # ten a series
    held = [each for each in scored if each.get("held_back", {}).get("reason") == "distance"]
    alone = [each for each in scored if each["anomaly"] and each["score"] < each["threshold"]]
    assert any(each["anomaly"] and each["score"] >= each["threshold"] for each in scored)
    if mode == "precision":
        assert held and not alone
        for each in held:
            assert each["status"] == "suppressed" and not each["anomaly"] and not is_far(each)
            assert each["score"] >= each["threshold"] and each["grade"] == 0.0
            assert each["held_back"]["rule"] == "" and "started" not in each
    else:
        assert alone and not held
        for each in alone:
            assert is_far(each) and each["grade"] > 0.0 and each["started"] == each["timestamp"]
            shares = sum(part["high"] + part["low"] for part in each["attribution"])
            assert shares == pytest.approx(each["distance"], rel=1e-6)
            assert each["incidents"], "it is told of"
            validate("anomaly", each)


@pytest.mark.parametrize("explain", ["anomalies", "all"])
@pytest.mark.parametrize("mode", ON)
def test_batches_restores_and_live_changes_change_nothing(mode: str, explain: str) -> None:
    config = replace(CONFIG, explain=explain)
    other = ON[1 - ON.index(mode)]
    rows = records(2, *(replace(config, multi_mode=each) for each in (mode, other, "none")))
    whole, step, rng = pipeline(config), pipeline(config), random.Random(3)
    expected, found, at = process(whole, rows).results, [], 0
    while at < len(rows):
        size = rng.randrange(1, 60)
        found += process(step, rows[at : at + size]).results
        at += size
        if rng.random() < 0.2:
            step = restored(step)
    assert found == expected
    assert step.detectors.digests() == whole.detectors.digests()
    stories = [json.loads(result.value) for result in found]
    at = [number for number, story in enumerate(stories) if story["status"] == "control"]
    measured = [number for number, story in enumerate(stories) if "distance" in story]
    assert at[0] < min(measured) and max(measured) < at[2] and len(measured) > 600
    assert len({story["model"] for story in stories}) == 3


def test_without_a_mode_results_and_states_are_those_of_a_stream_that_never_had_one() -> None:
    rows, off = records(4)[1:], Record(0, 0, None, encode_config(CONFIG), True)
    never, turned = pipeline(CONFIG), pipeline(replace(CONFIG, multi_mode="recall"))
    process(turned, [off])
    assert process(turned, rows).results == process(never, rows).results
    assert turned.detectors.digests() == never.detectors.digests()


def test_the_mode_changes_while_a_stream_runs_and_names_another_model() -> None:
    assert CHANGES["multi_mode"] == "live"
    digests = {model_digest(replace(CONFIG, multi_mode=mode)) for mode in MULTI_MODES}
    assert len(digests) == 3
    for wrong in ("both", "", None, 1, []):
        with pytest.raises(InvalidParameter, match="none, precision, recall") as caught:
            replace(CONFIG, multi_mode=wrong)
        assert caught.value.field == "multi_mode"


@pytest.mark.parametrize("factor", [0.5, 4.0])
@pytest.mark.parametrize("mode", ON)
def test_a_factor_of_the_threshold_says_nothing_of_distances(mode: str, factor: float) -> None:
    """What is far stays told, however high the threshold; what is near is not, however low."""
    config = replace(CONFIG, multi_mode=mode, threshold="percentile")
    moved = replace(config, threshold_factors=(ThresholdFactor("*", factor),))
    plain, bended = results(config, records(5)), results(moved, records(5))
    if mode == "recall":
        alone = [row for row, each in enumerate(plain) if each["anomaly"] and is_far(each)]
        assert alone and all(bended[row]["anomaly"] for row in alone)
    else:
        known = [each for each in bended if "distance_threshold" in each]
        assert not any(each["anomaly"] and not is_far(each) for each in known)
        near = [e for e in known if e.get("held_back", {}).get("reason") == "distance"]
        assert bool(near) == (factor < 1.0)
        assert all(each["score"] >= each["threshold"] and each["grade"] == 0.0 for each in near)


def test_what_a_factor_makes_of_a_distance() -> None:
    assert by_distance("none", (9.0, 1.0)) is None
    assert [by_distance("precision", (each, 2.0)) for each in (2.0, 3.0)] == ["near", None]
    assert [by_distance("recall", (each, 2.0)) for each in (2.0, 3.0)] == [None, "far"]
    assert bent(8.0, 10.0, 0.0, 0.8, "near") == (8.0, 0.0)
    assert bent(8.0, 10.0, 0.25, 1.5, "far") == (15.0, 0.25)
    assert bent(8.0, 10.0, 0.0, 0.8, None) == (8.0, LEAST_GRADE)
