"""New series that begin with what others have learnt: real forests, whatever happens in between."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from service.adapters.codec import decoder_for
from service.adapters.forest import ForestFactory
from service.adapters.snapshots import MemorySnapshotStore
from service.engine.config import StreamConfig
from service.engine.control import encode_config
from service.engine.detectors import SeriesDetectors
from service.engine.pipeline import Output, Pipeline
from service.engine.ports import no_failpoint
from service.engine.records import Batch, Record, StreamPartition
from service.engine.snapshot import capture, load, read_manifest, write

HERE = StreamPartition("s", 0)
CONFIG = StreamConfig(
    name="s", features=("x", "y"), trees=6, sample_size=16, new_series="shared", max_series=9
)
#: What a stream changes while it runs; the decay changes how much room new forests have.
LIVE = {"cool_down": 5, "alert_budget": 3, "threshold": "sigma", "time_decay": 0.02}


def records(seed: int, count: int = 400) -> list[Record]:
    """Values of ever more series, some out of range, and a live change on the way."""
    rng = random.Random(seed)
    found = []
    for offset in range(count):
        key = rng.choice("abcdefghijk"[: 2 + offset // 30])
        x = rng.choice((1e39, rng.gauss(0, 1), rng.gauss(0, 1), rng.gauss(0, 1)))
        found.append(Record(offset, 1000 * offset, key, b"[%r,%r]" % (x, rng.gauss(5, 1))))
    at = count // 3
    found[at] = Record(at, 0, None, encode_config(replace(CONFIG, **LIVE)), True)
    return found


def pipeline(detectors: SeriesDetectors, config: StreamConfig = CONFIG, at: int = 0) -> Pipeline:
    return Pipeline(HERE, config, detectors, decoder_for, at)


def restored(step: Pipeline) -> Pipeline:
    """The same from a snapshot: every series but the first sleeps."""
    store = MemorySnapshotStore()
    written = write(store, "f/1-", capture(step, {}), "here", no_failpoint)
    detectors = SeriesDetectors(ForestFactory())
    load(store, read_manifest(store, written.pointer), detectors, no_failpoint)
    again = pipeline(detectors, step.config, step.position)
    again.intake, again.limit, again.alerting = step.intake, step.limit, step.alerting
    return again


def process(step: Pipeline, part: list[Record]) -> Output:
    return step.process(Batch(HERE, part, part[-1].offset + 1))


@pytest.mark.parametrize("seed", range(6))
def test_batches_restores_and_live_changes_change_nothing(seed: int) -> None:
    rows, rng = records(seed), random.Random(seed)
    whole = pipeline(SeriesDetectors(ForestFactory()))
    expected = process(whole, rows).results
    step = pipeline(SeriesDetectors(ForestFactory()))
    found, at = [], 0
    while at < len(rows):
        size = rng.randrange(1, 40)
        found += process(step, rows[at : at + size]).results
        at += size
        if rng.random() < 0.2 and len(step.detectors):
            step = restored(step)
    assert found == expected
    assert step.detectors.digests() == whole.detectors.digests()
    assert len(step.detectors) == CONFIG.max_series


def test_a_new_series_has_scores_at_once() -> None:
    """Where those before it are ripe; and it is not the same as beginning cold."""
    step = pipeline(SeriesDetectors(ForestFactory()))
    rng = random.Random(1)
    rows = [Record(at, at, "a", b"[%r,1]" % rng.gauss(0, 1)) for at in range(40)]
    process(step, rows)
    (new,) = process(step, [Record(40, 40, "b", b"[0.1,1]")]).results
    assert b'"status":"scored"' in new.value
    cold = pipeline(SeriesDetectors(ForestFactory()), replace(CONFIG, new_series="cold"))
    process(cold, rows)
    (new,) = process(cold, [Record(40, 40, "b", b"[0.1,1]")]).results
    assert b'"status":"warming"' in new.value


def test_a_series_that_begins_after_a_live_change_is_judged_with_older_ones() -> None:
    """Cold ones too: their forests have other room for records, and share a call."""
    config = replace(CONFIG, new_series="cold")
    step = pipeline(SeriesDetectors(ForestFactory()), config)
    rows = [Record(at, at, "a", b"[%d,1]" % (at % 7)) for at in range(60)]
    change = Record(60, 0, None, encode_config(replace(config, **LIVE)), True)
    process(step, [*rows, change])
    after = [Record(61 + at, at, "ab"[at % 2], b"[%d,1]" % (at % 7)) for at in range(60)]
    assert len(process(step, after).results) == 60


def test_a_reset_series_that_was_only_admitted_is_saved_anew() -> None:
    """Its first record gives a counter no rate, so it is not processed, and yet it is another."""
    config = StreamConfig(name="s", features=("x", "y"), trees=2, sample_size=8, counters=("x",))
    step = pipeline(SeriesDetectors(ForestFactory()), config)
    process(step, [Record(at, 1000 * at, "k", b"[%d,1]" % at) for at in range(30)])
    store = MemorySnapshotStore()
    first = write(store, "f/1-", capture(step, {}), "here", no_failpoint)
    places = {reference.key: reference for reference in first.series}
    reset = replace(config, generation=2, seed=9)
    process(step, [Record(30, 0, None, encode_config(reset), True)])
    process(step, [Record(31, 31_000, "k", b"[40,1]")])
    second = write(store, "f/2-", capture(step, places), "here", no_failpoint)
    detectors = SeriesDetectors(ForestFactory())
    load(store, read_manifest(store, second.pointer), detectors, no_failpoint)
    assert detectors.digests() == step.detectors.digests()
