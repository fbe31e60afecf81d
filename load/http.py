"""Records a second posted to a real server over loopback, in batches of a thousand."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

import aiohttp

from load.report import Row, publish
from load.streams import seasonal

BATCH = 1_000
START_S = 120.0


@contextmanager
def server() -> Iterator[str]:
    """A `rcf serve` process on a free port; yields its address."""
    with tempfile.TemporaryDirectory(prefix="rcf-load-") as folder:
        command = [
            *(sys.executable, "-m", "service", "serve", "--port", "0"),
            *("--data-dir", folder, "--auto-create"),
        ]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, "NO_COLOR": "1"}
        )
        try:
            yield _address(process)
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)


def _address(process: subprocess.Popen[str]) -> str:
    deadline = time.monotonic() + START_S
    assert process.stdout is not None
    for line in process.stdout:
        found = re.search(r"http://[\d.]+:\d+", line)
        if found:
            return found.group()
        if time.monotonic() > deadline:
            break
    raise RuntimeError("the server did not say where it listens")


async def post(address: str, bodies: list[bytes], kind: str, query: str) -> list[float]:
    """Seconds of each request, one after the other."""
    seconds = []
    url = f"{address}/v1/streams/load-{kind.rsplit('/', maxsplit=1)[-1]}/records{query}"
    async with aiohttp.ClientSession() as session:
        for body in bodies:
            while True:
                began = time.perf_counter()
                async with session.post(url, data=body, headers={"Content-Type": kind}) as answer:
                    text = await answer.text()
                    if answer.status == 429:
                        await asyncio.sleep(float(answer.headers["Retry-After"]))
                        continue
                    if answer.status not in (200, 202):
                        raise RuntimeError(f"{answer.status}: {text[:300]}")
                break
            seconds.append(time.perf_counter() - began)
    return seconds


async def wait_ready(address: str) -> None:
    """Return when the server is ready."""
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"{address}/readyz") as answer:
                if answer.status == 200:
                    return
            await asyncio.sleep(0.1)


def bodies(kind: str, batches: int) -> list[bytes]:
    """Batches of one stream with ten series."""
    values = seasonal(BATCH * batches, 1, seed=3).values[:, 0].tolist()
    lines = [f'{{"key":"k{i % 10}","values":[{v!r}]}}' for i, v in enumerate(values)]
    parts = [lines[i : i + BATCH] for i in range(0, len(lines), BATCH)]
    if kind == "application/json":
        return [('{"records":[' + ",".join(part) + "]}").encode() for part in parts]
    return ["\n".join(part).encode() for part in parts]


def main(batches: int = 30) -> None:
    """Measure and publish."""
    rows: list[Row] = []
    with server() as address:
        asyncio.run(wait_ready(address))
        for kind in ("application/json", "application/x-ndjson"):
            for query, waits in (("", "result"), ("?wait=ack", "ack")):
                sent = bodies(kind, batches)
                asyncio.run(post(address, sent[:3], kind, query))
                seconds = asyncio.run(post(address, sent[3:], kind, query))
                rows.append(
                    {
                        "format": kind,
                        "waits for": waits,
                        "records/s": BATCH * len(seconds) / sum(seconds),
                        "median ms a batch": 1e3 * median(seconds),
                    }
                )
    publish("HTTP: batches of 1,000, one client", rows, batch=BATCH, batches=batches)
