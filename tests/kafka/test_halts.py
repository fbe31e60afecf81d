"""A halt on a real broker: kill -9 of workers does not move it, a word from anybody ends it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from service.adapters.codec import JsonDecoder
from service.adapters.forest import ForestFactory
from service.engine.config import StreamConfig
from service.engine.control import encode_config
from service.engine.detectors import SeriesDetectors
from service.engine.halting import Halt
from service.engine.pipeline import Output, Pipeline
from service.engine.records import Batch, Record, StreamPartition
from tests.kafka.probe import produce
from tests.kafka.workers import Cluster
from tests.simulation.lives import warm
from tests.simulation.workload import Workload

SESSION_S = 1.5
TIME_MS = 1_700_000_000_000
COUNT = 400
BURST = range(150, 190)


def written() -> list[tuple[int, bytes, bytes, int]]:
    """Partition, key, value and time of each record; a burst of bad ones in partition 0."""
    return [
        (number, b"k%d" % (n % 3), b"{" if number == 0 and n in BURST else b"%d" % (n % 9), TIME_MS)
        for n in range(COUNT)
        for number in (0, 1)
    ]


def oracle(config: StreamConfig, number: int) -> tuple[Pipeline, list[Output], list[Halt]]:
    """What one pipeline makes of a partition, and where it halts."""
    parts = [row for row in written() if row[0] == number]
    log = [
        Record(n, time_ms, key.decode(), value) for n, (_, key, value, time_ms) in enumerate(parts)
    ]
    log.append(Record(COUNT, TIME_MS, None, encode_config(config), True))
    pipeline = Pipeline(
        StreamPartition(config.name, number),
        config,
        SeriesDetectors(ForestFactory()),
        JsonDecoder,
    )
    outputs, halts = [], []
    while pipeline.position <= COUNT:
        pipeline.resume()
        batch = Batch(pipeline.partition, log[pipeline.position :], COUNT + 1)
        outputs.append(pipeline.process(batch))
        if pipeline.halt is not None:
            halts.append(pipeline.halt)
    return pipeline, outputs, halts


@pytest.mark.slow
def test_workers_that_die_halt_at_one_record_and_go_on_when_told(kafka, tmp_path):
    config = StreamConfig(
        name=f"halts-{kafka.application}",
        partitions=2,
        shingle_size=2,
        trees=5,
        sample_size=16,
        dead_letter_run=25,
    )
    expected = [oracle(config, number) for number in range(2)]
    (halt,) = expected[0][2]
    assert halt.offset == BURST[24] and expected[1][2] == []
    warm(ForestFactory(), Workload((config,), {}))
    connection = replace(kafka, session_s=SESSION_S, heartbeat_s=SESSION_S / 10)
    cluster = Cluster(connection, tmp_path)
    asyncio.run(cluster.create(config))
    produce(kafka.bootstrap, config.name, written())
    worker = cluster.start()
    try:
        cluster.until_settled(config, [halt.offset + 1, COUNT], 40)
        worker.kill()
        worker = cluster.start()
        time.sleep(2 * SESSION_S)  # it took over, and halted where the other one did
        assert cluster.offsets(config) == [halt.offset + 1, COUNT]
        asyncio.run(cluster.resume(config))
        cluster.until_settled(config, [COUNT + 1, COUNT + 1], 40)
        report = worker.stop()
    finally:
        if worker.alive:
            worker.kill()
    assert report["broken"] == {}
    found = cluster.outputs(config)
    for number, (pipeline, outputs, _) in enumerate(expected):
        values = [result.value for output in outputs for result in output.results]
        assert [value for _, value, *_ in found["scores"][number]] == values
        dead = [letter.value for output in outputs for letter in output.dead_letters]
        assert [value for _, value, *_ in found["dlq"][number]] == dead
        digests = report["states"][f"{config.name}/{number}"]
        assert digests == pipeline.detectors.digests()
