"""Records a second through the engine and its embedded log, without network.

Appends batches as the HTTP door does, waits until the last record's result is committed, and says
how much of the time was the forest's.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

import msgspec
import numpy as np
from prometheus_client import CollectorRegistry

import rcf
from load.report import Row, publish
from load.streams import seasonal
from service.adapters.prometheus import PrometheusMetrics
from service.engine.config import StreamConfig
from service.engine.engine import Engine
from service.engine.errors import Backpressure
from service.engine.records import NewRecord, Position
from service.settings import Settings
from service.wiring import build_engine

BATCH = 1_000
WARM = 2_000  # records a series; reservoirs are full by then
WAIT_S = 120.0


def encoded(records: int, keys: int) -> list[NewRecord]:
    """A stream of `keys` series in turns, as it is posted."""
    values = seasonal(records, 1, seed=2).values[:, 0].tolist()
    encode = msgspec.json.Encoder().encode
    return [
        NewRecord(encode({"values": [value]}), f"series-{i % keys}", 1_000 * i)
        for i, value in enumerate(values)
    ]


async def run(config: StreamConfig, records: list[NewRecord], warm: int, folder: Path) -> float:
    """Seconds from the first append after `warm` records to the last committed result."""
    metrics = PrometheusMetrics(CollectorRegistry(), time.time)
    engine = build_engine(Settings.model_validate({"data_dir": folder}), metrics)
    await engine.start()
    try:
        await engine.create_stream(config)
        await send(engine, config.name, records[:warm])
        began = time.perf_counter()
        await send(engine, config.name, records[warm:])
        return time.perf_counter() - began
    finally:
        await engine.stop()


async def send(engine: Engine, stream: str, records: list[NewRecord]) -> None:
    """Append in batches and wait for the last result of every partition."""
    last: dict[int, Position] = {}
    for start in range(0, len(records), BATCH):
        while True:
            try:
                positions = await engine.append(stream, records[start : start + BATCH])
                break
            except Backpressure as slow_down:
                await asyncio.sleep(slow_down.retry_after_s)
        last.update((position.partition, position) for position in positions)
    await engine.results_at(stream, list(last.values()), WAIT_S)


def forest_alone(config: StreamConfig, records: int, warm: int, keys: int) -> float:
    """Seconds that the detectors need for the same records in the same batches."""
    values = seasonal(records + warm, 1, seed=2).values
    detectors = [
        rcf.Detector(
            features=1,
            shingle_size=config.shingle_size,
            trees=config.trees,
            sample_size=config.sample_size,
            seed=key,
        )
        for key in range(keys)
    ]
    for key, detector in enumerate(detectors):
        detector.process(values[:warm][key::keys])
    each = BATCH // keys
    starts = np.arange(0, BATCH + 1, each)
    began = time.perf_counter()
    for start in range(warm, warm + records, BATCH):
        turns = values[start : start + BATCH].reshape(each, keys)
        rows = np.ascontiguousarray(turns.T).reshape(-1, 1)
        rcf.Detector.process_together(detectors, starts, rows)
    return time.perf_counter() - began


def measure(trees: int, keys: int, partitions: int, records: int) -> Row:
    """One line of the table, after `WARM` records of each series."""
    warm = WARM * keys
    config = StreamConfig(
        name="load", features=("value",), partitions=partitions, shingle_size=8, trees=trees
    )
    posted = encoded(records + warm, keys)
    forest_alone(config, BATCH, 0, keys)  # loads the kernels
    with tempfile.TemporaryDirectory(prefix="rcf-load-") as folder:
        total = asyncio.run(run(config, posted, warm, Path(folder)))
    forest = forest_alone(config, records, warm, keys)
    return {
        "trees": trees,
        "series": keys,
        "partitions": partitions,
        "records": records,
        "records/s": records / total,
        "µs a record": 1e6 * total / records,
        "forest alone µs": 1e6 * forest / records,
    }


def main(records: int = 50_000) -> None:
    """Measure and publish."""
    np.seterr(all="raise")
    rows = [
        measure(trees, keys, partitions, records)
        for trees, keys, partitions in ((1, 10, 1), (50, 10, 1), (50, 10, 2), (50, 100, 2))
    ]
    publish("pipeline: log to committed result, no network", rows, batch=BATCH, log="SQLite FULL")
