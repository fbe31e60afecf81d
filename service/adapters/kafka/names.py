"""The names of topics, and the ids under which the service works on them."""

from __future__ import annotations

from service.adapters.kafka.connection import Connection
from service.engine.records import StreamPartition
from service.messages import topics
from service.messages.topics import topics_of

__all__ = ["control_id", "control_topic", "topics_of", "transactional_id"]


def control_topic(connection: Connection) -> str:
    """Return the compacted topic that holds the catalogue."""
    return topics.control_topic(connection.application)


def transactional_id(connection: Connection, partition: StreamPartition) -> str:
    """Return the id that fences: one for each input partition, whoever runs it."""
    return f"{connection.application}-{partition.stream}-{partition.partition}"


def control_id(connection: Connection) -> str:
    """Return the id under which the catalogue changes; one process at a time."""
    return f"{connection.application}.streams"
