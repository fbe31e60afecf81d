"""What the engine asks of the world. Adapters implement these; the engine imports none.

Time-outs and bounds belong to the adapters: no call may wait for ever, except `changes` and
`poll`, which are cancelled.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from service.engine.config import StreamConfig
from service.engine.records import (
    Assignment,
    Batch,
    DeadLetter,
    Decoded,
    NewRecord,
    Overview,
    OwnershipChange,
    Position,
    Result,
    ResultFilter,
    ResultSlice,
    StreamEntry,
    StreamPartition,
    Transaction,
)

Numbers = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

Change: TypeAlias = Callable[[StreamConfig], StreamConfig | None]


class LogBackend(Protocol):
    """A partitioned log with transactions: embedded, or Kafka's.

    Attributes:
        identity: tells this log from every other one that may keep its snapshots in the same
            place; letters, digits, ".", "_" and "-"; known once the log is open.
    """

    identity: str

    @property
    def unreadable(self) -> Collection[str]:
        """Names of streams in the catalogue of which this process cannot read what they are.

        They are another one's, of another version perhaps: `streams` leaves them out, and nobody
        may change them, or take what belongs to them for nobody's.
        """

    async def open(self) -> None:
        """Get ready to serve.

        Raises:
            DataDirectoryInUse: another process serves this log's directory.
        """

    async def close(self) -> None:
        """Finish what was begun and let go; further calls fail."""

    async def streams(self) -> list[StreamEntry]:
        """Return the catalogue, ordered by name."""

    async def create_stream(self, config: StreamConfig) -> StreamEntry:
        """Add a stream and its empty partitions; announce them through `changes`.

        Raises:
            StreamExists: the name is taken.
            InvalidParameter: the name is not for this stream to have; another process may have
                made one of this name that cannot be read here.
        """

    async def update_stream(self, stream: str, change: Change) -> StreamEntry:
        """Change the configuration and append a control record to every partition, at once.

        Args:
            stream: its name.
            change: makes the next configuration of the present one, which nobody else changes
                meanwhile; None: it stays, and nothing is written. Perhaps called in another
                thread.

        Raises:
            UnknownStream: there is none of this name.
            CallerError: what `change` raised; nothing was written.
        """

    async def delete_stream(self, stream: str) -> None:
        """Remove a stream with its input, results and pointers; announce it through `changes`.

        Raises:
            UnknownStream: there is none of this name, and nothing left of one.
            TransientError: it may be that something is left of it; call it again.
        """

    async def append(self, stream: str, records: Sequence[tuple[int, NewRecord]]) -> list[Position]:
        """Append records to the partitions named beside them.

        Returns once they are durable, with their positions in the order given. Records of one
        partition stand in the order given. Every record has its timestamp.

        Raises:
            UnknownStream: there is none of this name.
            InvalidRecord: one is larger than the log takes; of the others a part may have been
                appended.
            Fenced: another process took the log over.
            TransientError: the log could not be written. Nothing was appended; only where the
                log is shared, a part may have been.
        """

    async def changes(self) -> OwnershipChange:
        """Wait for the next change of what this process owns. One caller at a time."""

    async def assign(self, partition: StreamPartition) -> Assignment:
        """Take a partition over: fence the former owner, abort what it left, read where it is."""

    async def poll(
        self, partition: StreamPartition, offset: int, max_records: int, max_bytes: int
    ) -> Batch:
        """Wait for records of a partition taken over; at least one, even when above `max_bytes`."""

    async def commit(self, transaction: Transaction) -> None:
        """Make a transaction durable and visible as a whole.

        Raises:
            Fenced: the epoch is not the partition's newest.
            InvariantError: the transaction does not start at the committed offset, or does not
                hold one result per offset; nothing was written.
            TransientError: nothing was written, or it is unknown whether it was; `assign` tells.
        """

    async def read_results(
        self,
        partition: StreamPartition,
        offset: int,
        limit: int,
        where: ResultFilter,
    ) -> ResultSlice:
        """Read up to `limit` committed results from `offset` on that the filter accepts."""

    async def read_dead_letters(
        self, partition: StreamPartition, offset: int, limit: int
    ) -> list[DeadLetter]:
        """Read up to `limit` committed dead letters from `offset` on."""


class ForeignResults(Protocol):
    """What other processes commit to a log that several processes share."""

    async def await_results(
        self, partition: StreamPartition, offset: int | None, limit: int
    ) -> ResultSlice:
        """Wait for committed results from `offset` on, whichever process commits them.

        At least one result, at most `limit`. None asks where results end at the moment: no
        results, and the offset to go on at.

        Raises:
            UnknownStream: there is none of this name.
            TransientError: the log cannot be read for the moment.
        """


class LogView(Protocol):
    """A log as one looks at it from outside, whoever works on it: nothing is owned.

    `requeue` alone writes. Reads do not wait for what is not there yet.
    """

    async def open(self) -> None:
        """Get ready to read.

        Raises:
            TransientError: the log cannot be reached.
            EngineError: there is no log.
        """

    async def close(self) -> None:
        """Let go."""

    async def streams(self) -> list[StreamEntry]:
        """Return the catalogue, ordered by name."""

    async def overview(self, partition: StreamPartition) -> Overview:
        """Tell how a partition stands.

        Raises:
            UnknownStream: there is none of this name.
        """

    async def read_records(self, partition: StreamPartition, offset: int, limit: int) -> Batch:
        """Read up to `limit` records from `offset` on; none at the log's end."""

    async def read_results(
        self, partition: StreamPartition, offset: int, limit: int, where: ResultFilter
    ) -> ResultSlice:
        """Read up to `limit` committed results from `offset` on that the filter accepts."""

    async def read_dead_letters(
        self, partition: StreamPartition, offset: int, limit: int
    ) -> list[DeadLetter]:
        """Read up to `limit` committed dead letters from `offset` on."""

    async def requeue(
        self, partition: StreamPartition, letters: Sequence[DeadLetter]
    ) -> list[Position]:
        """Append dead letters to the input once more, as they first came; where they stand.

        Raises:
            DataDirectoryInUse: a running process has the log for itself.
            TransientError: it is unknown how many of them were appended.
        """


class SnapshotStore(Protocol):
    """Immutable named files. Names are relative paths with "/" between parts. Blocking calls.

    Raises:
        OSError: a file could not be written, listed or deleted, for whatever reason.
    """

    def write(self, name: str, chunks: Iterable[bytes]) -> None:
        """Write a file; on return it is whole and durable, and before that it is not there."""

    def read(self, name: str) -> bytes:
        """Read a file.

        Raises:
            CorruptSnapshot: there is none of this name.
            TransientError: the store does not answer for the moment.
        """

    def names(self, prefix: str) -> list[str]:
        """List the files whose names begin with the prefix, sorted."""

    def delete(self, name: str) -> None:
        """Remove a file; nothing happens when there is none."""


class Decoder(Protocol):
    """Reads the values of one stream's records."""

    def __call__(self, value: bytes) -> Decoded:
        """Read one record's value.

        Raises:
            InvalidRecord: the bytes are no record with the stream's features.
        """


class DecoderFactory(Protocol):
    """Makes the decoder of a configuration."""

    def __call__(self, config: StreamConfig) -> Decoder:
        """Return a decoder for the configuration's features."""


class Judgement(Protocol):
    """What a detector says of n records: float64 arrays (n,), NaN while it warms up."""

    @property
    def score(self) -> Numbers:
        """The forest's number, unbounded."""

    @property
    def threshold(self) -> Numbers:
        """The score above which the grade is above 0."""

    @property
    def grade(self) -> Numbers:
        """How anomalous, [0, 1]."""

    @property
    def confidence(self) -> Numbers:
        """Share of the series' records that score lower, (0, 1)."""

    @property
    def held_back(self) -> npt.NDArray[np.int64]:
        """Why a record that reaches the threshold, or its distance's, has grade 0; 0 for others."""

    @property
    def started(self) -> Numbers:
        """When the event began to which the record belongs, in seconds; NaN where it is in none."""

    @property
    def distance(self) -> Numbers:
        """How far the record lies from what is around it; NaN without a multi mode."""

    @property
    def distance_threshold(self) -> Numbers:
        """Above it a distance is out of the ordinary; NaN while that is unknown."""


class Expectation(Protocol):
    """What n records were expected to be: float64 (n, features), NaN for a first record."""

    @property
    def expected(self) -> Numbers:
        """The values expected."""

    @property
    def lower(self) -> Numbers:
        """Lower ends of the bands."""

    @property
    def upper(self) -> Numbers:
        """Upper ends of the bands."""


class Told(Protocol):
    """What a series says of n records."""

    @property
    def judgements(self) -> Judgement:
        """What its detector says."""

    @property
    def forecast(self) -> Expectation | None:
        """What was expected, if anything was."""

    @property
    def values(self) -> Numbers:
        """The records as they were judged, float64 (n, features), gaps filled."""

    @property
    def imputed(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Whether a record had a gap, (n,)."""

    @property
    def reasons(self) -> Mapping[int, Reasons]:
        """Why, by row, of those of which it is said."""


class Reasons(Protocol):
    """Shares of one record's score, which sum to it: float64 (1, lags, features), oldest first."""

    @property
    def high(self) -> Numbers:
        """What is due to values above what is usual."""

    @property
    def low(self) -> Numbers:
        """What is due to values below."""


SEAL_BYTES = 64
"""Among so many bytes at the begin of a stored detector stands a digest of all that follow."""


class Storable(Protocol):
    """Something that a snapshot can hold; `copy.copy` makes one that no longer changes with it."""

    def to_bytes(self) -> bytes:
        """Return bytes from which an equal detector can be made.

        The first `SEAL_BYTES` of them hold a digest of the others, see `DetectorFactory.verify`.
        """


class SeriesDetector(Storable, Protocol):
    """Judges one series; `rcf.Series` is one."""

    @property
    def detector(self) -> Any:
        """What questions are asked of; `service.engine.asking.Answering`."""

    @property
    def values_seen(self) -> int:
        """Records that it has seen."""


class DetectorFactory(Protocol):
    """Makes detectors, afresh or from bytes, adjusts them, and lets them judge."""

    def create(self, config: StreamConfig, seed: int) -> SeriesDetector:
        """Make a detector that has seen nothing."""

    def merge(self, detector: Any, others: Any) -> None:
        """Let a detector that has seen nothing begin with what others of its stream have learnt.

        Its state follows from theirs at this moment. `others` is a sequence of at least one.
        """

    def verify(self, data: bytes) -> None:
        """Find out whether stored bytes are still what the seal at their begin says.

        Raises:
            CorruptSnapshot: they are not, or no detector wrote them.
        """

    def restore(self, data: bytes) -> SeriesDetector:
        """Make the detector that wrote these bytes.

        Raises:
            CorruptSnapshot: no detector wrote them.
        """

    def adjust(self, detector: Any, config: StreamConfig) -> None:
        """Give a detector made here the fields that a stream may change while it runs.

        A detector that has them already keeps its state to the bit.
        """

    def process(
        self,
        detectors: Any,
        starts: Places,
        values: Numbers,
        times: Numbers,
        *,
        explain: str,
    ) -> Told:
        """Let detectors of one stream judge, then learn, each its rows in order.

        How rows are cut into calls, and which series share one, changes nothing.

        Args:
            detectors: a sequence of those made here, none twice.
            starts: int64 (detectors + 1,), where the rows of each begin, and their number.
            values: float64 (n, features), NaN where a value is missing, which the stream's
                configuration must allow.
            times: float64 (n,), in seconds.
            explain: of which records to say why, as the stream's `explain`. It changes nothing
                else.
        """


class Clock(Protocol):
    """The time of day and the time since whenever."""

    def now_ms(self) -> int:
        """Milliseconds since 1970 UTC."""

    def monotonic_s(self) -> float:
        """Seconds since an arbitrary moment; never steps back."""

    def worked_s(self) -> float:
        """Processor seconds of the calling thread."""


class Failpoints(Protocol):
    """Called at named places of the protocol, so that tests can fail or kill exactly there."""

    def __call__(self, name: str) -> None:
        """Do nothing, or raise, or never return."""


class Metrics(Protocol):
    """What the engine reports; once per batch or rarer. Times in seconds, sizes in bytes."""

    def appended(self, records: int, size: int, seconds: float) -> None:
        """One append was made durable."""

    def refused(self, records: int) -> None:
        """One append met backpressure."""

    def answered(self, seconds: float) -> None:
        """Results that a caller waited for are there; the time since the caller asked."""

    def rebalanced(self) -> None:
        """Which partitions this process runs was decided anew."""

    def taken(self, partition: StreamPartition) -> None:
        """A partition is this process' from here on."""

    def released(self, partition: StreamPartition) -> None:
        """A partition was let go; nothing of what was reported of it stands any more."""

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
        """One batch's results were committed; with one of its anomalies and dead letters."""

    def transacted(self, outcome: str) -> None:
        """A transaction ended: "committed", "fenced", or "unknown", and is tried again."""

    def timed(self, *, batch_s: float, score_s: float, commit_s: float) -> None:
        """One batch took so long: poll's return to commit's, in the pipeline, in the commit."""

    def lag(self, partition: StreamPartition, records: int) -> None:
        """So many records wait in a partition."""

    def series(self, partition: StreamPartition, count: int) -> None:
        """So many series are held for a partition."""

    def halted(self, partition: StreamPartition, stands: bool) -> None:
        """A partition stands still because of its dead letters, or does so no longer."""

    def snapshot_written(
        self, partition: StreamPartition, *, size: int, series: int, seconds: float
    ) -> None:
        """One snapshot is durable and its pointer committed."""

    def snapshot_failed(self, partition: StreamPartition) -> None:
        """The store refused a snapshot; another one follows when it is due."""

    def restored(self, partition: StreamPartition, *, replayed: int, seconds: float) -> None:
        """One partition is live after loading and replaying so many records."""

    def failed(self, partition: StreamPartition, error: str, *, for_good: bool) -> None:
        """A partition stopped, and tries again unless `for_good`; `error` is the error's class."""


def no_failpoint(name: str) -> None:
    """Pass a failpoint by."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The world as the engine is given it; `foreign` where several processes share the log."""

    log: LogBackend
    snapshots: SnapshotStore
    decoder_for: DecoderFactory
    detectors: DetectorFactory
    clock: Clock
    metrics: Metrics
    failpoint: Failpoints = no_failpoint
    foreign: ForeignResults | None = None
