"""Streams whose forests see records transformed: what results and answers say of them."""

from __future__ import annotations

import json

from service.adapters.codec import decoder_for
from service.adapters.forest import ForestFactory
from service.engine.asking import how_crowded, why
from service.engine.config import StreamConfig
from service.engine.detectors import SeriesDetectors
from service.engine.pipeline import Pipeline
from service.engine.records import Batch, Record, StreamPartition

HERE = StreamPartition("s", 0)
CONFIG = StreamConfig(
    name="s",
    features=("share", "bytes"),
    transform="normalize",
    weights=(1.0, 2.0),
    time_weight=0.5,
    trees=10,
    sample_size=64,
)


def test_each_feature_is_seen_on_its_own_scale_and_time_is_one_more() -> None:
    step = Pipeline(HERE, CONFIG, SeriesDetectors(ForestFactory()), decoder_for)
    rows = [(0.5 + 0.01 * (n % 7), 1e9 + 1e7 * (n % 5), 1000 * n) for n in range(120)]
    rows += [(0.9, 1e9, 120_000), (0.5, 1e9, 121_000), (0.5, 1e9, 900_000)]
    batch = [
        Record(offset, time_ms, "k", json.dumps([share, size]).encode())
        for offset, (share, size, time_ms) in enumerate(rows)
    ]
    results = step.process(Batch(HERE, batch, len(batch))).results
    odd, _, late = (json.loads(result.value) for result in results[-3:])
    assert odd["anomaly"] and odd["attribution"][0]["feature"] == "share"
    assert odd["values"] == [0.9, 1e9] and odd["expected"][1] > 1e8
    assert late["score"] > late["threshold"]

    series = step.detectors.look_at("k")
    told = why(CONFIG.coordinates, (0.9, 1e9))(series)
    assert told.attribution[0].feature == "share"
    crowding = how_crowded(CONFIG.coordinates, (0.9, 1e9))(series)
    assert [each.feature for each in crowding.features] == ["share", "bytes", "time"]
    assert crowding.distance is not None and crowding.distance > 1.0
