"""The composition root: settings become adapters, engine, application and server.

Order of a start: the port is taken and answers at once (/readyz says what it waits for); kernels
are loaded or compiled; the engine restores; the built-in sources bring the demo up to date; then
the service is ready. A stop runs the other way: event streams end, requests finish, feeds end, the
engine drains and keeps its state.
"""

import asyncio
import contextlib
import logging
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from types import FrameType
from typing import TYPE_CHECKING

import numpy as np
import uvicorn
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

import rcf
from service import interpreter, opening
from service.adapters.clock import SystemClock
from service.adapters.codec import decoder_for
from service.adapters.forest import ForestFactory
from service.adapters.prometheus import PrometheusMetrics
from service.adapters.sqlite import SqliteLog
from service.api.app import create_app
from service.api.context import Context, Limits
from service.api.foreign import names_on
from service.beside import run_beside
from service.engine.engine import Engine
from service.engine.options import EngineOptions
from service.engine.policy import BacklogPolicy, SnapshotPolicy
from service.engine.ports import Ports
from service.settings import Settings
from service.sources import feed

if TYPE_CHECKING:
    from service.adapters.kafka import KafkaLog

log = logging.getLogger(__name__)

COMPILING = "compiling kernels, once; less than half a minute on a free core"

SLOW_COMPILE_S = 2.0
"""A warm cache loads the kernels in less; when this has passed, the terminal is told to wait."""

STILL_COMPILING_S = 10.0
"""A compilation that takes longer is mentioned again this often."""


class Service:
    """One process' parts, and their life from start to stop."""

    def __init__(
        self,
        settings: Settings,
        *,
        on_phase: Callable[[str], None] = lambda _text: None,
        on_ready: Callable[[float], None] = lambda _seconds: None,
    ) -> None:
        self._settings = settings
        self._on_phase = on_phase
        self._on_ready = on_ready
        self._began_s = time.monotonic()
        self._metrics = PrometheusMetrics(CollectorRegistry(), time.time)
        self._tasks: list[asyncio.Task[None]] = []
        self._engine: Engine | None = None
        self.failure: BaseException | None = None
        self.was_ready = False
        self.context = Context(
            limits=Limits(
                body_bytes=settings.body_limit_bytes,
                body_records=settings.body_limit_records,
                result_timeout_s=settings.result_timeout_s,
                subscribers=settings.max_subscribers,
                heartbeat_interval_s=settings.heartbeat_interval_s,
            ),
            auto_create=bool(settings.auto_create),
            partitions=settings.partitions,
            max_series=settings.max_series,
            names=names_on(settings.host, settings.other_hosts()),
            token=settings.shown_token(),
            decoder_for=decoder_for,
            metrics_text=self._metrics.text,
            count_request=self._metrics.requested,
        )

    def warn(self) -> None:
        """Say in the log what is open to all, if anything is."""
        if self.context.names is None and self.context.token is None:
            host = self._settings.host
            log.warning("whoever reaches %s may read and write: RCF_TOKEN is not set", host)

    @contextlib.asynccontextmanager
    async def lifespan(self, _app: FastAPI) -> AsyncIterator[None]:
        """Start in the background while the port answers; stop when the server is done."""
        starting = asyncio.create_task(self._start())
        try:
            yield
        finally:
            await self._stop(starting)

    async def _start(self) -> None:
        try:
            await self._load_kernels()
            self.context.starting = "restoring the streams"
            self._engine = build_engine(self._settings, self._metrics)
            await self._engine.start()
            if self._settings.demo:
                await self._start_feeds(self._engine)
        except Exception as error:  # whatever it is, the process must end and say why
            log.debug("the start failed", exc_info=error)
            self.failure = error
            self.context.starting = f"the start failed: {error}"
            self.context.closing.set()
            return
        self.context.open(self._engine)
        self.was_ready = True
        seconds = time.monotonic() - self._began_s
        self._metrics.started(seconds)
        self._on_ready(seconds)

    async def _load_kernels(self) -> None:
        self.context.starting = COMPILING
        began_s = time.monotonic()
        loading = run_beside(load_kernels, "kernels")
        done, _ = await asyncio.wait((loading,), timeout=SLOW_COMPILE_S)
        if not done:
            self._on_phase(f"{COMPILING} …")
        while not done:
            done, _ = await asyncio.wait((loading,), timeout=STILL_COMPILING_S)
            if not done:
                self._on_phase(f"  still compiling, {time.monotonic() - began_s:.0f} s so far …")
        await loading
        interpreter.tune()
        self._metrics.compiled(time.monotonic() - began_s)

    async def _start_feeds(self, engine: Engine) -> None:
        self.context.starting = "bringing the demo up to date"
        warm = asyncio.Event()
        self._tasks = [
            asyncio.create_task(feed.run_demo(engine, warm=warm)),
            asyncio.create_task(feed.run_host(engine)),
        ]
        await warm.wait()

    async def _stop(self, starting: "asyncio.Task[None]") -> None:
        self.context.closing.set()
        for task in (starting, *self._tasks):
            task.cancel()
        ended = await asyncio.gather(starting, *self._tasks, return_exceptions=True)
        for error in ended:
            if isinstance(error, Exception):
                log.error("a background task failed", exc_info=error)
        if self._engine is not None:
            await self._engine.stop()


class Server(uvicorn.Server):
    """Tells the service of a signal at once.

    uvicorn waits for open responses before it ends the application, and an event stream only ends
    when the application says so.
    """

    def __init__(self, config: uvicorn.Config, context: Context) -> None:
        super().__init__(config)
        self._context = context

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002  (uvicorn)
        """See uvicorn; called by the signal handler, in the main thread.

        The signal is not kept: uvicorn would raise it again after a clean stop, and the process
        would end as if it had been killed. A second Ctrl-C stops without waiting.
        """
        self._context.closing.set()
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        """See uvicorn; called ten times a second: a failed start ends the process."""
        return await super().on_tick(counter) or self._context.closing.is_set()


def serve(
    settings: Settings,
    listening: socket.socket,
    *,
    on_phase: Callable[[str], None],
    on_ready: Callable[[float], None],
) -> bool:
    """Serve on a listening socket until a signal comes; tell whether it was ever ready.

    Args:
        settings: Everything an operator chose.
        listening: A bound, listening socket; closed at the end.
        on_phase: Told when a start takes long.
        on_ready: Told the seconds that the start took.

    Raises:
        Exception: Whatever made the start fail.
    """
    service = Service(settings, on_phase=on_phase, on_ready=on_ready)
    service.warn()
    config = uvicorn.Config(
        create_app(service.context, service.lifespan),
        log_config=None,
        access_log=False,
        lifespan="on",
        server_header=False,
        timeout_graceful_shutdown=max(1, round(settings.shutdown_timeout_s)),
        # An intermediate proxy keeps connections for a minute; closing first loses requests.
        timeout_keep_alive=75,
    )
    Server(config, service.context).run(sockets=[listening])
    if service.failure is not None:
        raise service.failure
    return service.was_ready


def load_kernels(multi_mode: str = "none") -> None:
    """Compile the kernels, or load them from the cache, and use each once.

    Those for a restore and for a change of the decay too: they would keep records waiting later.
    Those of a multi mode are left out as a rule, because few streams have one.
    """
    rcf.compile_kernels()
    detector = rcf.Detector(
        features=1, shingle_size=2, trees=2, sample_size=16, multi_mode=multi_mode, seed=1
    )
    values = np.sin(np.arange(64.0)).reshape(-1, 1)
    series = rcf.Series(detector, coverage=0.9, missing="forest")
    series.process(values)
    values[-1] = np.nan
    series.process(values, explain="all")
    series = rcf.Series.from_bytes(series.to_bytes())
    series.forecast(1)
    series.detector.forest.set_time_decay(0.01)


def build_engine(settings: Settings, metrics: PrometheusMetrics) -> Engine:
    """The engine over its adapters."""
    kafka = None if settings.kafka_bootstrap is None else build_kafka(settings)
    ports = Ports(
        log=SqliteLog(settings.data_dir) if kafka is None else kafka,
        foreign=kafka,
        snapshots=opening.snapshot_store(settings),
        decoder_for=decoder_for,
        detectors=ForestFactory(),
        clock=SystemClock(),
        metrics=metrics,
    )
    options = EngineOptions(
        score_threads=settings.scoring_threads,
        stop_s=settings.shutdown_timeout_s,
        commit_interval_s=0.0 if kafka is None else settings.kafka_commit_interval_s,
        fingerprint=opening.fingerprint(),
        snapshot=SnapshotPolicy(interval_s=settings.snapshot_interval_s),
        backlog=BacklogPolicy(records=settings.max_pending_records),
    )
    return Engine(ports, options)


def build_kafka(settings: Settings) -> "KafkaLog":
    """The log in Kafka; its client is imported only where it is used."""
    from service.adapters.kafka import KafkaLog

    return KafkaLog(opening.kafka_connection(settings))
