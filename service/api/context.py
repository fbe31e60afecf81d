"""What every resource needs, handed in once: the engine when it is there, limits, shutdown."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from fastapi import Request

from service.api.errors import not_ready
from service.engine.config import StreamConfig
from service.engine.engine import Engine
from service.engine.errors import InvalidRecord
from service.engine.pipeline import check_values
from service.engine.ports import Decoder, DecoderFactory
from service.engine.records import Decoded
from service.engine.series import MAX_KEY


def _no_decoder(config: StreamConfig) -> Decoder:  # noqa: ARG001  (DecoderFactory)
    raise not_ready("nothing here reads records")


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the HTTP side; units in the names."""

    body_bytes: int = 10_000_000
    body_records: int = 100_000
    result_timeout_s: float = 10.0
    subscribers: int = 1_000
    heartbeat_interval_s: float = 15.0


@dataclass(slots=True)
class Context:
    """The engine and how to treat its callers.

    Attributes:
        limits: bounds of requests.
        auto_create: whether the first record of an unknown stream creates it.
        partitions, max_series: of a stream that does not say how many.
        names: by which the service is asked, without ports; None where any will do.
        token: what requests must show; None where they need not.
        starting: why there is no engine yet; shown by /readyz.
        decoder_for: what reads the records of a configuration, also of one that no stream has.
        closing: set when the process was told to stop; event streams end then.
        metrics_text: everything for /metrics: from the header Accept to content and content type.
        count_request: told of every answer: route, method, status.
    """

    limits: Limits = field(default_factory=Limits)
    auto_create: bool = False
    partitions: int = 4
    max_series: int = 1000
    names: frozenset[str] | None = None
    token: str | None = field(default=None, repr=False)
    starting: str = "the service is starting"
    decoder_for: DecoderFactory = _no_decoder
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    metrics_text: Callable[[str], tuple[bytes, str]] = lambda _accept: (b"", "text/plain")
    count_request: Callable[[str, str, int], None] = lambda _route, _method, _status: None
    subscribers: int = 0
    _engine: Engine | None = None

    def open(self, engine: Engine) -> None:
        """Serve requests from this engine."""
        self._engine = engine

    def engine(self) -> Engine:
        """The engine.

        Raises:
            Problem: `not-ready`, while it starts.
        """
        if self._engine is None:
            raise not_ready(self.starting)
        return self._engine

    def reader_for(self, config: StreamConfig) -> Decoder:
        """What reads records exactly as scoring would, had a stream this configuration."""
        decode = self.decoder_for(config)

        def read(value: bytes) -> Decoded:
            decoded = decode(value)
            check_values(config, decoded.values)
            if decoded.key is not None and len(decoded.key) > MAX_KEY:
                raise InvalidRecord("key", decoded.key[:100], f"longer than {MAX_KEY} characters")
            return decoded

        return read

    async def look_for_stream(self, request: Request) -> None:
        """See to it that the stream in a request's path is known, whoever made it."""
        stream = request.path_params.get("stream")
        if stream is not None and self._engine is not None:
            await self._engine.look_for(stream)

    def not_ready_reason(self) -> str | None:
        """Why requests would fail at the moment, or None."""
        if self.closing.is_set():
            return "the service is stopping"
        if self._engine is None:
            return self.starting
        return None if self._engine.ready else self._engine.not_ready_reason
