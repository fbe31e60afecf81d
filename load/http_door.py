"""Open-loop traffic over HTTP: requests leave when they are due, however slow the answers are.

Latency runs from the moment at which a request was due, so waiting behind a slow answer counts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

import aiohttp

from load.latency import Latencies
from load.ramp import Step
from load.service import Served
from load.traffic import Traffic, key_of

JSON, NDJSON = "application/json", "application/x-ndjson"
MOST_OPEN = 500  #: requests under way; the next ones wait, and their latency goes on
AHEAD_S = 0.05  #: from the call to the first request
DRAIN_S = 15.0  #: after the last request was due
FILL = 2_000  #: records in a request that warms
REFUSALS = (429, 503)


@dataclass(frozen=True)
class Format:
    """How records travel: content type, and how many in a request."""

    kind: str
    batch: int

    def body(self, records: Sequence[tuple[int, bytes]]) -> bytes:
        """A request's body from (series, value) of each record."""
        lines = [b'{"key":"%b",%b' % (key_of(k).encode(), value[1:]) for k, value in records]
        if self.kind == NDJSON:
            return b"\n".join(lines)
        return lines[0] if self.batch == 1 else b'{"records":[%b]}' % b",".join(lines)


FORMATS = {
    "single": Format(JSON, 1),
    "batch": Format(JSON, 100),
    "ndjson": Format(NDJSON, 1_000),
}


class HttpDoor:
    """Sends to a service over HTTP, and waits for the scores.

    Args:
        service: where to.
        traffic: what.
        format: how.
    """

    def __init__(self, service: Served, traffic: Traffic, format: Format) -> None:
        self._service = service
        self._url = f"{service.url}/v1/streams/{service.stream}/records"
        self._traffic = traffic
        self._format = format
        self._records = cycle(traffic.pool())

    def warm(self, each: int, done: Callable[[int], None]) -> None:
        """Send so many records of every series, as fast as they are taken."""
        asyncio.run(self._warm(each, done))
        self._service.until_settled()

    async def _warm(self, each: int, done: Callable[[int], None]) -> None:
        rows, sent = self._traffic.warming(each), 0
        fill = Format(NDJSON, FILL)
        async with _session() as session:
            while part := list(islice(rows, FILL)):
                await _insist(session, self._url, fill.body(part))
                sent += len(part)
                done(sent)

    def run(
        self, rate: float, seconds: float, done: Callable[[float], None], slice_s: float
    ) -> Step:
        """Send at a rate.

        Args:
            rate: records a second.
            seconds: for how long.
            done: told the seconds that have passed.
            slice_s: see `Latencies`.
        """
        self._service.until_settled()
        return asyncio.run(self._run(Step(rate, seconds, latencies=Latencies(slice_s)), done))

    async def _run(self, step: Step, done: Callable[[float], None]) -> Step:
        batch = self._format.batch
        requests = max(round(step.rate * step.seconds / batch), 1)
        gap_s = step.seconds / requests
        free = asyncio.Semaphore(MOST_OPEN)
        under_way: set[asyncio.Task[None]] = set()
        async with _session() as session:
            begin_s = time.perf_counter() + AHEAD_S
            last_s = begin_s + step.seconds
            for number in range(requests):
                due_s = begin_s + number * gap_s
                await asyncio.sleep(max(due_s - time.perf_counter(), 0.0))
                await free.acquire()
                if time.perf_counter() > last_s + DRAIN_S:
                    step.unsent = (requests - number) * batch
                    break
                shot = _Shot(self._url, self._format.kind, begin_s, due_s, batch)
                body = self._format.body(list(islice(self._records, batch)))
                task = asyncio.create_task(shot.fire(session, body, step))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
                task.add_done_callback(lambda _: free.release())
                step.sent += batch
                done(time.perf_counter() - begin_s)
            late = await _drained(under_way, last_s + DRAIN_S - time.perf_counter())
            step.failed += late * batch
        return step

    def close(self) -> None:
        """Nothing stays open."""


@dataclass(frozen=True, slots=True)
class _Shot:
    """One request."""

    url: str
    kind: str
    begin_s: float
    due_s: float
    records: int

    async def fire(self, session: aiohttp.ClientSession, body: bytes, step: Step) -> None:
        """Send it and count what came of it."""
        try:
            async with session.post(
                self.url, data=body, headers={"Content-Type": self.kind}
            ) as answer:
                await answer.read()
                status = answer.status
        except (aiohttp.ClientError, TimeoutError):
            status = 0
        now_s = time.perf_counter()
        if status == 200:
            step.latencies.add(self.due_s - self.begin_s, now_s - self.due_s, self.records)
            step.within += self.records if now_s <= self.begin_s + step.seconds else 0
        elif status in REFUSALS:
            step.refused += self.records
        else:
            step.failed += self.records


async def _drained(under_way: set[asyncio.Task[None]], seconds: float) -> int:
    """Wait for requests; give up those that take longer, and count them."""
    if not under_way:
        return 0
    _, late = await asyncio.wait(under_way, timeout=max(seconds, 0.0))
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    return len(late)


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=60)
    )


async def _insist(session: aiohttp.ClientSession, url: str, body: bytes) -> None:
    """Post until it is taken."""
    while True:
        async with session.post(
            f"{url}?wait=ack", data=body, headers={"Content-Type": NDJSON}
        ) as answer:
            text = await answer.text()
            if answer.status == 202:
                return
            if answer.status != 429:
                raise RuntimeError(f"{answer.status}: {text[:300]}")
            await asyncio.sleep(float(answer.headers["Retry-After"]))
