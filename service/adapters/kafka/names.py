"""The topics of a stream, and the ids under which the service works on it."""

from __future__ import annotations

from dataclasses import dataclass

from service.adapters.kafka.connection import Connection
from service.engine.records import StreamPartition


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one stream. All have the input's partitions; p writes to p."""

    input: str
    scores: str
    anomalies: str
    dead_letters: str
    checkpoints: str

    @property
    def outputs(self) -> tuple[str, ...]:
        """All but the input."""
        return (self.scores, self.anomalies, self.dead_letters, self.checkpoints)


def topics_of(stream: str) -> Topics:
    """Return the names of a stream's topics; the input's is the stream's own."""
    return Topics(
        stream, f"{stream}.scores", f"{stream}.anomalies", f"{stream}.dlq", f"{stream}.checkpoints"
    )


def control_topic(connection: Connection) -> str:
    """Return the compacted topic that holds the catalogue."""
    return f"{connection.application}.streams"


def transactional_id(connection: Connection, partition: StreamPartition) -> str:
    """Return the id that fences: one for each input partition, whoever runs it."""
    return f"{connection.application}-{partition.stream}-{partition.partition}"


def control_id(connection: Connection) -> str:
    """Return the id under which the catalogue changes; one process at a time."""
    return f"{connection.application}.streams"
