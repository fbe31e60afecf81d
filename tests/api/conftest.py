"""A real server on a real socket, over an engine in memory with detectors that need no compiler."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from itertools import count

import httpx
import pytest
import uvicorn
from prometheus_client import CollectorRegistry

from service.adapters.clock import SystemClock
from service.adapters.codec import decoder_for
from service.adapters.memory import MemoryLog
from service.adapters.prometheus import PrometheusMetrics
from service.adapters.snapshots import MemorySnapshotStore
from service.api.app import create_app
from service.api.context import Context, Limits
from service.engine.engine import Engine
from service.engine.options import EngineOptions
from service.engine.ports import DetectorFactory, Ports
from service.wiring import Server
from tests.engine.fakes import FakeFactory


class Running:
    """A server in a thread; `client` talks to it, `context` is what its resources share."""

    def __init__(self, context: Context, engine: Engine | None = None) -> None:
        self.context = context
        self.metrics = PrometheusMetrics(CollectorRegistry(), time.time)
        context.metrics_text = self.metrics.text
        context.count_request = self.metrics.requested
        context.decoder_for = decoder_for
        self._engine = engine
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.loop: asyncio.AbstractEventLoop | None = None
        app = create_app(context, self._lifespan)
        config = uvicorn.Config(app, log_config=None, lifespan="on", timeout_graceful_shutdown=3)
        self.server = Server(config, context)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.client = httpx.Client(base_url=self.url, timeout=20)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app):
        self.loop = asyncio.get_running_loop()
        engine = self._engine or memory_engine(self.metrics)
        await engine.start()
        self.context.open(engine)
        self.engine = engine
        yield
        await engine.stop()

    def _run(self) -> None:
        asyncio.run(self.server.serve(sockets=[self._socket]))

    def start(self) -> None:
        self._thread.start()
        until = time.monotonic() + 10
        while not self.server.started:
            assert time.monotonic() < until and self._thread.is_alive()
            time.sleep(0.01)

    def tell_to_stop(self) -> None:
        """What the signal handler does, from this thread."""
        assert self.loop is not None
        self.loop.call_soon_threadsafe(self.server.handle_exit, 15, None)

    def stop(self, within_s: float = 10) -> float:
        """Stop, and return the seconds that it took."""
        began = time.monotonic()
        with contextlib.suppress(RuntimeError):
            self.tell_to_stop()
        self._thread.join(within_s)
        self.client.close()
        assert not self._thread.is_alive(), "the server did not stop"
        return time.monotonic() - began


def memory_engine(metrics: object, detectors: DetectorFactory | None = None) -> Engine:
    ports = Ports(
        log=MemoryLog(),
        snapshots=MemorySnapshotStore(),
        decoder_for=decoder_for,
        detectors=detectors or FakeFactory(),
        clock=SystemClock(),
        metrics=metrics,  # type: ignore[arg-type]  # a stand-in that counts
    )
    return Engine(ports, EngineOptions(stop_s=2))


@contextlib.contextmanager
def running(context: Context, engine: Engine | None = None) -> Iterator[Running]:
    server = Running(context, engine)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def server() -> Iterator[Running]:
    """Creates unknown streams; limits small enough to meet."""
    limits = Limits(body_bytes=1_000_000, body_records=5_000, heartbeat_interval_s=0.2)
    with running(Context(limits=limits, auto_create=True, partitions=2, max_series=900)) as started:
        yield started


@pytest.fixture
def client(server: Running) -> httpx.Client:
    return server.client


_numbers = count()


@pytest.fixture
def stream() -> str:
    """A name that no other test uses."""
    return f"stream-{next(_numbers)}"
