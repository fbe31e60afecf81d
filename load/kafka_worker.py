"""One worker of the Kafka report: the service's own engine, with a clock at each of its parts.

`python -m load.kafka_worker SETTINGS` (JSON) works until its standard input ends. For each line
there it answers with one of JSON: for each commit so far the time, the records until then, and the
seconds of processor time that each part took until then, in whichever thread.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from functools import wraps
from typing import Any

import uvloop
from aiokafka.consumer import fetcher
from prometheus_client import CollectorRegistry

from service import interpreter
from service.adapters.forest import ForestFactory
from service.adapters.kafka import partition, producer
from service.adapters.prometheus import PrometheusMetrics
from service.engine import pipeline
from service.engine.records import DeadLetter, Result, StreamPartition
from service.settings import Settings
from service.wiring import build_engine, load_kernels

#: Part -> the functions that are the part. A part's time holds that of the parts called in it.
PARTS: dict[str, list[tuple[Any, str]]] = {
    "decode": [(fetcher.FetchResult, "getall"), (partition, "decode_records")],
    "encode": [(partition, "encode_results"), (producer, "_build")],
    "pipeline": [(pipeline.Pipeline, "process")],
    "forest": [(ForestFactory, "process")],
}


class Meter:
    """Seconds of processor time by part, and what they came to at each commit."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.records = 0
        self.samples: list[dict[str, float]] = []

    def attach(self) -> None:
        """Measure the parts from here on."""
        for part, functions in PARTS.items():
            for owner, name in functions:
                setattr(owner, name, self._timed(part, getattr(owner, name)))

    def _timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def timed(*arguments: Any, **named: Any) -> Any:
            began_s = time.thread_time()
            try:
                return function(*arguments, **named)
            finally:
                self.seconds[part] += time.thread_time() - began_s

        return timed

    def committed(self, records: int) -> None:
        """Note a commit."""
        self.records += records
        self.samples.append(
            {
                "time_s": time.time(),
                "records": self.records,
                "process": time.process_time(),
                **self.seconds,
            }
        )


class MeteringMetrics(PrometheusMetrics):
    """The service's metrics, which tell the meter of each commit."""

    meter: Meter

    def processed(
        self,
        partition: StreamPartition,
        *,
        records: int,
        scored: int,
        anomalous: int,
        dead: int,
        anomaly: Result | None,
        dead_letter: DeadLetter | None,
    ) -> None:
        """See `Metrics`."""
        super().processed(
            partition,
            records=records,
            scored=scored,
            anomalous=anomalous,
            dead=dead,
            anomaly=anomaly,
            dead_letter=dead_letter,
        )
        self.meter.committed(records)


async def work(settings: Settings, meter: Meter) -> None:
    """Work until standard input ends, and answer its lines."""
    metrics = MeteringMetrics(CollectorRegistry(), time.time)
    metrics.meter = meter
    engine = build_engine(settings, metrics)
    await engine.start()
    while await asyncio.to_thread(sys.stdin.readline):
        sys.stdout.write(json.dumps(meter.samples) + "\n")
        sys.stdout.flush()
    await engine.stop()


def main() -> None:
    """Work."""
    settings = Settings.model_validate(json.loads(sys.argv[1]))
    load_kernels()
    interpreter.tune()
    meter = Meter()
    meter.attach()
    uvloop.run(work(settings, meter))  # as under uvicorn


if __name__ == "__main__":
    main()
