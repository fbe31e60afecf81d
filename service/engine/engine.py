"""The facade that HTTP and other doors talk to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from service.engine.config import StreamConfig
from service.engine.records import Decoded, NewRecord, Position, ResultsPage


class Engine:
    """Streams of records in, one result per record out."""

    async def start(self) -> None:
        """Open the log, take over the partitions, restore and go on."""
        raise NotImplementedError

    async def stop(self) -> None:
        """Drain, commit, write snapshots and let go, within a bound."""
        raise NotImplementedError

    @property
    def ready(self) -> bool:
        """Whether every partition is restored and running."""
        raise NotImplementedError

    @property
    def not_ready_reason(self) -> str | None:
        """Why `ready` is false, in a sentence; None when it is true."""
        raise NotImplementedError

    async def create_stream(self, config: StreamConfig) -> StreamConfig:
        """Make a stream, or return the one there when it is configured equally.

        Raises:
            StreamExists: one of this name is configured otherwise.
        """
        raise NotImplementedError

    async def update_stream(self, config: StreamConfig, *, reset: bool) -> StreamConfig:
        """Change a stream; its detectors start afresh if `reset`.

        Raises:
            UnknownStream: there is none of this name.
            NeedsNewModel: the change needs another model and `reset` is false.
            InvalidParameter: a field that never changes (`partitions`) would.
        """
        raise NotImplementedError

    async def delete_stream(self, name: str) -> None:
        """Remove a stream with its records, results and snapshots.

        Raises:
            UnknownStream: there is none of this name.
        """
        raise NotImplementedError

    def stream(self, name: str) -> StreamConfig:
        """Return a stream's configuration.

        Raises:
            UnknownStream: there is none of this name.
        """
        raise NotImplementedError

    def streams(self) -> list[StreamConfig]:
        """Return all configurations, ordered by name."""
        raise NotImplementedError

    def decode(self, stream: str, value: bytes) -> Decoded:
        """Read a record's value exactly as scoring will, without taking it in.

        Raises:
            UnknownStream: there is none of this name.
            InvalidRecord: scoring would make it an `error` result and a dead letter.
        """
        raise NotImplementedError

    async def append(self, stream: str, records: Sequence[NewRecord]) -> list[Position]:
        """Take records in, all or none; durable on return, in the order given.

        Raises:
            UnknownStream: there is none of this name.
            Backpressure: too much waits to be scored.
        """
        raise NotImplementedError

    async def results_at(
        self, stream: str, positions: Sequence[Position], timeout_s: float
    ) -> list[bytes]:
        """Wait for the results of records, JSON each, in the order of `positions`.

        Raises:
            UnknownStream: there is none of this name.
            ResultTimeout: they did not appear in time; the records stay accepted.
            NotReady: the partition stopped.
        """
        raise NotImplementedError

    async def results(
        self,
        stream: str,
        *,
        key: str | None = None,
        from_ms: int | None = None,
        to_ms: int | None = None,
        anomalies: bool = False,
        limit: int = 1000,
        cursor: str | None = None,
    ) -> ResultsPage:
        """Read one page of committed results; without a cursor from the oldest on.

        Raises:
            UnknownStream: there is none of this name.
            InvalidParameter: the cursor or the limit (1 to 100000) is wrong.
        """
        raise NotImplementedError

    def subscribe(
        self, stream: str, *, anomalies: bool, after: str | None
    ) -> AsyncIterator[tuple[str, bytes]]:
        """Follow a stream's results: (event id, JSON).

        Goes on after the event id `after`, from the log; without one, from here on. Ends when
        the stream is deleted or the engine stops. A slow reader is never waited for: it reads
        from the log at its own pace.

        Raises:
            UnknownStream: there is none of this name.
            InvalidParameter: the event id is wrong.
        """
        raise NotImplementedError
