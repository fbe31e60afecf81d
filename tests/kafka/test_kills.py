"""kill -9 of workers on a real broker: outputs and states as if nothing had happened."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Sequence

import numpy as np
import pytest

from service.adapters.forest import ForestFactory
from service.engine.config import StreamConfig
from service.engine.outcome import incident_events
from service.engine.records import NewRecord
from tests.kafka.probe import produce
from tests.kafka.workers import Cluster, undisturbed
from tests.simulation.lives import announce, warm
from tests.simulation.workload import POISON, Workload

PARTITIONS = 8


def make_stream(name: str) -> StreamConfig:
    return StreamConfig(
        name=name,
        partitions=PARTITIONS,
        features=("x", "y"),
        trees=10,
        sample_size=32,
        shingle_size=2,
        seed=5,
    )


def make_records(
    seed: int, count: int, poison: Sequence[bytes] = POISON, share: float = 0.01
) -> list[tuple[int, NewRecord]]:
    """Records of forty series over all partitions; a share of them cannot be read."""
    rng, numbers = random.Random(seed), np.random.default_rng(seed)
    values = numbers.normal(size=(count, 2))
    values[numbers.random(count) < 0.02] *= 20
    found = []
    for index, (x, y) in enumerate(values.tolist()):
        key = f"series-{rng.randrange(40)}"
        value = rng.choice(poison) if rng.random() < share else json.dumps([x, y]).encode()
        if index % 3 == 0 and share < 1:
            value = json.dumps({"host": f"h{index % 7}", "values": [x, y], "n": index}).encode()
        found.append((hash_of(key), NewRecord(value, key, 1_700_000_000_000 + index)))
    return found


def hash_of(key: str) -> int:
    return int(key.rpartition("-")[2]) % PARTITIONS


def as_written(records: list[tuple[int, NewRecord]]) -> list[tuple]:
    return [
        (part, each.key.encode(), each.value, each.timestamp_ms, [("trace", trace(each))])
        for part, each in records
    ]


def trace(record) -> bytes:
    """What each record bears as a header, and its result or dead letter after it."""
    return b"trace-%d" % record.timestamp_ms


def ends_of(records: list[tuple[int, NewRecord]]) -> list[int]:
    return [sum(part == number for part, _ in records) for number in range(PARTITIONS)]


def check_outputs(cluster: Cluster, config: StreamConfig, reference: dict) -> None:
    """Every output record is the reference's, once, in order."""
    found = cluster.outputs(config)
    for number in range(config.partitions):
        results = reference["results"][number]
        scores = [(each.offset, each.key.encode(), each.value) for each in results]
        names = [
            (dict(headers)["ce_id"], key, value)
            for key, value, _, headers in found["scores"][number]
        ]
        assert [(int(name.rpartition(b"/")[2]), key, value) for name, key, value in names] == scores
        traces = [dict(headers)["trace"] for *_, headers in found["scores"][number]]
        assert traces == [trace(each) for each in results]
        wanted = []
        for each in results:
            told = [each.value] if each.anomaly else []
            wanted += [(each.key.encode(), value) for value in told + incident_events(each.value)]
        assert [each[:2] for each in found["anomalies"][number]] == wanted
        dead = [(each.key.encode(), each.value) for each in reference["dead"][number]]
        assert [(key, value or b"") for key, value, *_ in found["dlq"][number]] == dead
        traces = [dict(headers)["trace"] for *_, headers in found["dlq"][number]]
        assert traces == [trace(each) for each in reference["dead"][number]]


@pytest.mark.slow
def test_kills_change_nothing(kafka, tmp_path):
    """`make chaos ARGS="kafka kills-2 kills-3"`: 60 kills, 400,000 records."""
    seed, count, kills = 11, 8_000, 3
    announce(seed)
    config, rng = make_stream("killed"), random.Random(seed)
    warm(ForestFactory(), Workload((config,), {}))
    records = make_records(seed, count)
    cluster = Cluster(kafka, tmp_path)
    asyncio.run(cluster.create(config))
    workers = [cluster.start(), cluster.start()]
    share = count // (kills + 1)
    for kill in range(kills):
        part = records[kill * share : (kill + 1) * share]
        produce(kafka.bootstrap, config.name, as_written(part))
        time.sleep(rng.choice((rng.uniform(0.1, 1.0), rng.uniform(1.0, 4.5))))
        workers.pop(rng.randrange(2)).kill()
        workers.append(cluster.start())
    produce(kafka.bootstrap, config.name, as_written(records[kills * share :]))
    workers.pop(0).kill()
    cluster.until_settled(config, ends_of(records), 60)
    time.sleep(1.0)
    report = workers.pop().stop()
    reference = asyncio.run(undisturbed(config, records))
    assert report["broken"] == {}
    check_outputs(cluster, config, reference)
    assert report["states"] == reference["states"]
