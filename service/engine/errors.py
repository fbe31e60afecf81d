# ruff: noqa: N818  (named as who reads them thinks: what happened)
"""Errors say who must act, and carry the data to act on.

- the caller: `CallerError` (wrong record, wrong parameter, unknown stream, ...)
- slow down: `Backpressure`
- try again: `TransientError`
- the operator: `Halted`
- nobody but us, a promise is broken: `InvariantError`; a partition stops rather than emit
  wrong scores.
- another owner took over: `Fenced`; this process lets go of what it held.

A failed operation has changed nothing.
"""

from __future__ import annotations


class EngineError(Exception):
    """Every error that the engine raises on purpose."""


class CallerError(EngineError):
    """The request is wrong; repeating it unchanged cannot help."""


class InvalidParameter(CallerError):
    """A parameter has a value that is not allowed.

    Attributes:
        field: the parameter's name.
        value: what was given.
        allowed: a sentence that says which values are allowed.
    """

    def __init__(self, field: str, value: object, allowed: str) -> None:
        self.field = field
        self.value = value
        self.allowed = allowed
        super().__init__(f"{field}: {_short(value)} is not allowed; allowed: {allowed}")


class InvalidRecord(CallerError):
    """A record cannot be read as a vector of the stream's features.

    Attributes:
        field: the part of the record that is wrong ("values", "values.cpu", "timestamp", "").
        value: what stood there, shortened text, or None when nothing did.
        reason: a sentence for humans.
    """

    def __init__(self, field: str, value: str | None, reason: str) -> None:
        self.field = field
        self.value = value
        self.reason = reason
        super().__init__(f"{field or 'record'}: {reason}")


class UnknownStream(CallerError):
    """No stream has this name."""

    def __init__(self, stream: str) -> None:
        self.stream = stream
        super().__init__(f"no stream is named {_short(stream)}")


class UnknownSeries(CallerError):
    """A stream has no series of this key."""

    def __init__(self, stream: str, key: str) -> None:
        self.stream = stream
        self.key = key
        super().__init__(f"stream {stream!r} holds no series with the key {_short(key)}")


class Elsewhere(CallerError):
    """Another process runs the partition, and holds what it has learnt.

    Attributes:
        stream, partition: which.
    """

    def __init__(self, stream: str, partition: int) -> None:
        self.stream = stream
        self.partition = partition
        super().__init__(f"{stream}/{partition} is run by another process; ask that one")


class StreamExists(CallerError):
    """A stream of this name exists with another configuration.

    Attributes:
        stream: its name.
        changed: the fields whose values differ.
    """

    def __init__(self, stream: str, changed: tuple[str, ...]) -> None:
        self.stream = stream
        self.changed = changed
        super().__init__(f"stream {stream!r} exists with another {', '.join(changed)}")


class NeedsNewModel(CallerError):
    """The change would throw away what the stream has learnt, and nobody asked for that.

    Attributes:
        stream: its name.
        changed: the fields whose change needs another model.
    """

    def __init__(self, stream: str, changed: tuple[str, ...]) -> None:
        self.stream = stream
        self.changed = changed
        super().__init__(
            f"changing {', '.join(changed)} of stream {stream!r} starts its model afresh; "
            "say so with reset"
        )


class Backpressure(EngineError):
    """More input waits than may wait; nothing of the request was taken.

    Attributes:
        retry_after_s: when to try again, in seconds, at least 1.
        reason: which bound was met.
    """

    def __init__(self, retry_after_s: int, reason: str) -> None:
        self.retry_after_s = retry_after_s
        self.reason = reason
        super().__init__(f"{reason}; try again in {retry_after_s} s")


class TransientError(EngineError):
    """The world failed for the moment; the same request may succeed later."""


class NotReady(TransientError):
    """The engine, or the partition asked for, does not serve at the moment."""


class ResultTimeout(TransientError):
    """The result did not appear within the time asked for; the record stays accepted.

    Attributes:
        stream, partition, offset: where the result will appear.
    """

    def __init__(self, stream: str, partition: int, offset: int, timeout_s: float) -> None:
        self.stream = stream
        self.partition = partition
        self.offset = offset
        super().__init__(
            f"no result for offset {offset} of {stream}/{partition} within {timeout_s:g} s"
        )


class Halted(EngineError):
    """A partition stands still because too many of its records became dead letters.

    Attributes:
        stream, partition, offset: where.
    """

    def __init__(self, stream: str, partition: int, offset: int, reason: str) -> None:
        self.stream = stream
        self.partition = partition
        self.offset = offset
        super().__init__(
            f"{stream}/{partition} is halted at offset {offset}: {reason}; "
            "look at its dead letters, mend their source, then resume the stream"
        )


class Fenced(EngineError):
    """Another owner took over the log or the partition."""


class DataDirectoryInUse(EngineError):
    """Another process has this data directory open."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        super().__init__(
            f"the data directory {directory} is in use by another process; "
            "stop that one, or choose another directory"
        )


class SnapshotsRefused(OSError):
    """The store of snapshots refuses, or does not answer; the message says which call, and why."""


class CorruptSnapshot(EngineError):
    """A stored snapshot is missing, torn or altered; an older one must do."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason
        super().__init__(f"snapshot {name}: {reason}")


class InvariantError(EngineError):
    """A promise of ours is broken; the partition stops.

    Attributes:
        stream, partition, offset: where it shows.
    """

    def __init__(self, stream: str, partition: int, offset: int, reason: str) -> None:
        self.stream = stream
        self.partition = partition
        self.offset = offset
        self.reason = reason
        super().__init__(f"{stream}/{partition} at offset {offset}: {reason}")


class StateLost(InvariantError):
    """No sound snapshot is left and the input that could rebuild the state is trimmed."""


class CannotReplay(CallerError):
    """The state before an offset cannot be made again.

    Attributes:
        stream, partition, offset: what was asked for.
    """

    def __init__(self, stream: str, partition: int, offset: int, reason: str) -> None:
        self.stream = stream
        self.partition = partition
        self.offset = offset
        super().__init__(f"{stream}/{partition} cannot be replayed up to {offset}: {reason}")


class TornLog(InvariantError):
    """Results and committed offset of a partition do not meet."""


class ReplayMismatch(InvariantError):
    """Repeating a committed record gave another result than the one stored."""


def _short(value: object, limit: int = 120) -> str:
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}…"
