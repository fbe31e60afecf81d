"""Where a partition stands: the group's offset and the pointers to its snapshots. Only reads."""

from __future__ import annotations

import logging
from typing import NamedTuple

import msgspec

from service.adapters.kafka import names
from service.adapters.kafka.connection import Connection
from service.adapters.kafka.formats import decode_pointer
from service.adapters.kafka.reader import Cursor
from service.adapters.kafka.topics import Topics
from service.messages.pointer import StoredPointer
from service.messages.stream import Stored

logger = logging.getLogger(__name__)


class Committed(NamedTuple):
    """The group's offset in a partition.

    Attributes:
        offset: the next one to settle.
        bare_to: one past the last of the offsets from there on that are known to hold no record,
            but markers of transactions; `offset` when none are.
    """

    offset: int
    bare_to: int


def metadata_of(stored: Stored, bare_to: int) -> str:
    """Write what stands beside a committed offset."""
    return f"{stored.number} {bare_to}"


async def committed_offset(
    topics: Topics, connection: Connection, stored: Stored, number: int
) -> Committed | None:
    """Return the group's offset in a partition, unless it is of an earlier stream of this name.

    Raises:
        TransientError: the brokers do not answer.
    """
    topic = names.topics_of(stored.config.name).input
    found = await topics.committed(connection.application, topic, number)
    incarnation, _, bare_to = ("", "", "") if found is None else found[1].partition(" ")
    if found is None or incarnation != str(stored.number):
        return None
    return Committed(found[0], max(found[0], int(bare_to or 0)))


async def read_pointers(cursor: Cursor, stored: Stored, number: int) -> list[StoredPointer]:
    """Return a partition's kept pointers, newest first.

    Raises:
        TransientError: the brokers do not answer.
    """
    topic = names.topics_of(stored.config.name).checkpoints
    ends = await cursor.ends(topic, number)
    slots: dict[bytes, StoredPointer] = {}
    async for record in cursor.scan(topic, number, ends.begin, ends.end):
        try:
            pointer = decode_pointer(record.value or b"")
        except msgspec.MsgspecError as error:
            logger.error("%s/%d: a pointer cannot be read: %s", stored.config.name, number, error)
            continue
        if pointer.incarnation == stored.number:
            slots[record.key] = pointer
    return sorted(slots.values(), key=lambda each: each.number, reverse=True)
