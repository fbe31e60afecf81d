"""What the engine holds for one stream while it runs."""

from __future__ import annotations

from collections.abc import Sequence

from service.engine.board import IncidentBoard
from service.engine.ports import Decoder, Ports
from service.engine.reading import ResultReader
from service.engine.records import StreamEntry, StreamPartition
from service.engine.series import partition_of
from service.engine.tail import PartitionTail, kept_bytes_of_each


class HeldStream:
    """A stream's newest configuration, and what readers of its results ask.

    Attributes:
        entry: the stream as the log's catalogue holds it.
        decode: reads a record's value exactly as scoring will.
        tails: the newest results, of each partition.
        reader: all that are kept.
        board: its incidents.
    """

    def __init__(self, entry: StreamEntry, ports: Ports) -> None:
        self._ports = ports
        count = entry.config.partitions
        self.tails = [PartitionTail(kept_bytes_of_each(count)) for _ in range(count)]
        self.reader = ResultReader(entry.config.name, ports.log, self.tails)
        self.board = IncidentBoard(self.reader)
        self.configure(entry)

    def configure(self, entry: StreamEntry) -> None:
        """Take note of another configuration of the same stream."""
        self.entry = entry
        self.decode: Decoder = self._ports.decoder_for(entry.config)

    @property
    def partitions(self) -> list[StreamPartition]:
        """All of them."""
        return [StreamPartition(self.entry.config.name, n) for n in range(len(self.tails))]

    def partitions_of(self, key: str | None) -> Sequence[int]:
        """Return the partitions that may hold results of a key; all for None."""
        count = len(self.tails)
        return range(count) if key is None else [partition_of(key, count)]

    def end_readers(self, error: Exception) -> None:
        """Let whoever reads results, or waits for some, hear why there are no more."""
        for tail in self.tails:
            tail.fail(error)
