"""Appends the built-in sources to the engine's log, as any client would.

The law: what a feed sends is decided by the clock and by what the log holds, so a restart goes on
where the last process stopped and sends no step twice.
"""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

import msgspec

from service.engine.config import StreamConfig
from service.engine.engine import Engine
from service.engine.errors import Backpressure, TransientError, UnknownStream
from service.engine.records import NewRecord, Position
from service.sources import demo
from service.sources.host import FEATURES as HOST_FEATURES
from service.sources.host import INTERVAL_S, Host

log = logging.getLogger(__name__)

DEMO_STREAM = StreamConfig(name="demo", features=("value",), partitions=2, retention=200_000)
HOST_STREAM = StreamConfig(name="host", features=HOST_FEATURES, partitions=1)

HISTORY_STEPS = 2_400
"""Steps of the demo that a first start replays, eight minutes: every detector is warm after it,
and has seen its kind of anomaly."""

_STEP_MS = int(demo.STEP_S * 1000)
_CHUNK_STEPS = 200
_encode = msgspec.json.Encoder().encode


class _Timed(msgspec.Struct):
    timestamp: str


_decode_time = msgspec.json.Decoder(_Timed).decode


async def run_demo(
    engine: Engine, *, warm: asyncio.Event, now_s: Callable[[], float] = time.time
) -> None:
    """Feed the stream `demo` for ever; set `warm` once its history is scored."""
    try:
        await _ensure(engine, DEMO_STREAM)
        step = await _next_step(engine, now_s)
        while True:
            until = _step(now_s())
            step = max(step, until - HISTORY_STEPS)
            while step < until:
                chunk = min(until - step, _CHUNK_STEPS)
                await _append(engine, DEMO_STREAM.name, list(demo_records(step, chunk)), warm)
                step += chunk
            warm.set()
            await asyncio.sleep(step * demo.STEP_S - now_s() + demo.STEP_S)
    except UnknownStream:
        log.info("the stream demo was deleted; its feed ends")
    finally:
        warm.set()


async def run_host(engine: Engine, *, now_s: Callable[[], float] = time.time) -> None:
    """Feed the stream `host` for ever with this machine's figures, once a second."""
    try:
        await _ensure(engine, HOST_STREAM)
        host = Host(now_s())
        while True:
            await asyncio.sleep(INTERVAL_S - now_s() % INTERVAL_S)
            now = now_s()
            value = _encode({"timestamp": round(now * 1000), "values": host.read(now)})
            record = NewRecord(value, None, round(now * 1000))
            await _append(engine, HOST_STREAM.name, [record], None)
    except UnknownStream:
        log.info("the stream host was deleted; its feed ends")


def demo_records(start: int, count: int) -> Iterator[NewRecord]:
    """Records of all keys for steps [start, start + count), step by step.

    A record inside a labelled anomaly carries the anomaly's kind in the field `label`; scoring
    does not read it.
    """
    values = [demo.values(shape, start, count).tolist() for shape in demo.SHAPES]
    labelled = {
        (label.key, step): label.kind
        for shape in demo.SHAPES
        for label in demo.labels(shape, start, count)
        for step in range(label.start, label.end + 1)
    }
    for index in range(count):
        timestamp_ms = (start + index) * _STEP_MS
        for shape, series in zip(demo.SHAPES, values, strict=True):
            record = {
                "key": shape.key,
                "timestamp": timestamp_ms,
                "values": [series[index]],
                "label": labelled.get((shape.key, start + index)),
            }
            yield NewRecord(_encode(record), shape.key, timestamp_ms)


def _step(now_s: float) -> int:
    return math.floor(now_s / demo.STEP_S)


async def _ensure(engine: Engine, config: StreamConfig) -> None:
    """Create the stream, unless one of this name is there; then it is the user's to shape."""
    try:
        engine.stream(config.name)
    except UnknownStream:
        await engine.create_stream(config)


async def _next_step(engine: Engine, now_s: Callable[[], float]) -> int:
    """The step after the last one in the log, or the first of the history."""
    first = _step(now_s()) - HISTORY_STEPS
    last = first - 1
    cursor: str | None = None
    while True:
        page = await engine.results(
            DEMO_STREAM.name, from_ms=first * _STEP_MS, limit=20_000, cursor=cursor
        )
        for result in page.results[-len(demo.SHAPES) :]:
            last = max(last, _step_of(result))
        cursor = page.next
        if cursor is None:
            return last + 1


def _step_of(result: bytes) -> int:
    moment = datetime.fromisoformat(_decode_time(result).timestamp)
    return round(moment.timestamp() / demo.STEP_S)


async def _append(
    engine: Engine, stream: str, records: Sequence[NewRecord], warm: asyncio.Event | None
) -> None:
    """Append; a full log means that this feed, which nobody pays for, waits."""
    while True:
        try:
            positions = await engine.append(stream, records)
        except (Backpressure, TransientError) as refusal:
            log.debug("the feed of %s waits: %s", stream, refusal)
            await asyncio.sleep(getattr(refusal, "retry_after_s", 1))
            continue
        if warm is not None and not warm.is_set():
            await _scored(engine, stream, positions)
        return


async def _scored(engine: Engine, stream: str, positions: Sequence[Position]) -> None:
    """Wait for the last result of each partition, within a bound."""
    last = {position.partition: position for position in positions}
    with contextlib.suppress(TransientError):
        await engine.results_at(stream, list(last.values()), timeout_s=60)
