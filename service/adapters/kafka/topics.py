"""Makes, checks, trims and deletes topics, and reads a group's offsets: the only admin client."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeVar

from aiokafka import TopicPartition, errors
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.records_to_delete import RecordsToDelete

from service.adapters.kafka.connection import CALL_S, CLOSE_S, Connection, bounded, translated
from service.engine.errors import InvalidParameter, TransientError

T = TypeVar("T")
SETTLE_S = 15.0
"""Bound of waiting until a topic just made, or just deleted, is so everywhere."""

COPIES = 3
"""Copies of a topic where nobody says how many, and where there are brokers enough."""

LARGEST_BYTES = 12 * 2**20
"""Largest record of the topics made here: a request's body, and a dead letter around it."""

KEPT: Mapping[str, str] = {
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "max.message.bytes": str(LARGEST_BYTES),
    "message.timestamp.after.max.ms": str(2**63 - 1),
}
"""Trimmed by the stream's own retention, not by age: records bear the times of their input, and a
broker that keeps a week would delete what is made of older input as soon as it is written. Nor may
a broker refuse times that lie ahead, as it does by default from one hour on: a result that cannot
be written would stop its partition for good."""

COMPACTED: Mapping[str, str] = {
    "cleanup.policy": "compact",
    "segment.bytes": str(2**20),
    "segment.ms": str(3_600_000),
    "min.cleanable.dirty.ratio": "0.1",
}
"""The newest value of each key stays; small segments, so that reading all of it is quick."""


class Topics:
    """An admin client that is made when needed and made anew after a failure."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._client: Any = None
        self._one_caller = asyncio.Lock()

    async def counts(self, topics: Iterable[str]) -> dict[str, int]:
        """Return the partitions of those topics that are there.

        Raises:
            TransientError: the brokers do not answer.
        """
        return {topic: len(found) for topic, found in (await self._leaders(topics)).items()}

    async def _leaders(self, topics: Iterable[str]) -> dict[str, list[int]]:
        """Return the broker that leads each partition of those topics that are there; or -1."""
        wanted = list(topics)
        if not wanted:  # the library would ask for all there are
            return {}
        described = await self._call(
            lambda client: client.describe_topics(wanted), "describing topics"
        )
        return {
            each["topic"]: [part["leader"] for part in each["partitions"]]
            for each in described
            if each["error_code"] == 0
        }

    async def absent(self, topic: str, partitions: int) -> bool:
        """Tell whether a topic is not there.

        Raises:
            InvalidParameter: it is there with another number of partitions.
            TransientError: the brokers do not answer.
        """
        count = (await self.counts([topic])).get(topic)
        _check_count(topic, partitions, count)
        return count is None

    async def make(self, topic: str, partitions: int, configuration: Mapping[str, str]) -> bool:
        """Make a topic unless it is there, and wait until brokers serve all of it.

        Returns whether it was made here.

        Raises:
            InvalidParameter: it is there with another number of partitions.
            TransientError: the brokers do not answer.
        """
        limit_s = time.monotonic() + SETTLE_S
        made = False
        while True:
            leaders = (await self._leaders([topic])).get(topic)
            if leaders is not None and len(leaders) == partitions and min(leaders) >= 0:
                return made
            if not made:
                _check_count(topic, partitions, None if leaders is None else len(leaders))
            if leaders is None and not made:
                made = await self._create(topic, partitions, configuration)
            if time.monotonic() > limit_s:
                said = f"is not served by a broker after {SETTLE_S:g} s"
                raise TransientError(f"Kafka: topic {topic} {said}")
            await asyncio.sleep(0.05)

    async def delete(self, topics: Iterable[str]) -> None:
        """Delete those topics that are there, and wait until they are gone.

        Raises:
            TransientError: the brokers do not answer.
        """
        limit_s = time.monotonic() + SETTLE_S
        left = list(await self.counts(topics))
        if left:  # asked for once: a deletion that comes late must not meet topics made since
            answer = await self._call(lambda client: client.delete_topics(left), "deleting topics")
            _check_deleted(answer.topic_error_codes)
        while left := list(await self.counts(left)):
            if time.monotonic() > limit_s:
                raise TransientError(f"Kafka: {', '.join(left)} could not be deleted")
            await asyncio.sleep(0.1)

    async def trim(self, below: Mapping[TopicPartition, int]) -> None:
        """Delete the records of partitions below offsets.

        Raises:
            TransientError: the brokers do not answer, or refuse.
        """
        wanted = {place: RecordsToDelete(offset) for place, offset in below.items()}
        await self._call(lambda client: client.delete_records(wanted), "trimming topics")

    async def committed(self, group: str, topic: str, partition: int) -> tuple[int, str] | None:
        """Return a group's committed offset and the text beside it; None when there is none.

        Raises:
            TransientError: the brokers do not answer.
        """
        place = TopicPartition(topic, partition)
        found = await self._call(
            lambda client: client.list_consumer_group_offsets(group, partitions=[place]),
            f"offsets of group {group}",
        )
        if place not in found:  # the library overlooks that a coordinator is still loading
            raise TransientError(f"Kafka: the offsets of group {group} are not there yet")
        offset, metadata = found[place]
        return None if offset < 0 else (offset, metadata)

    async def close(self) -> None:
        """Let go."""
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(Exception):
                await bounded(client.close(), "closing an admin client", CLOSE_S)

    async def _create(self, topic: str, partitions: int, configuration: Mapping[str, str]) -> bool:
        copies = self._connection.replication or await self._most_copies()
        wanted = NewTopic(topic, partitions, copies, topic_configs=dict(configuration))
        answer = await self._call(
            lambda client: client.create_topics([wanted]), f"making topic {topic}"
        )
        for _, code, said in answer.topic_errors:
            error = errors.for_code(code)
            if error is errors.TopicAlreadyExistsError:  # another worker's, or being deleted
                return False
            if code:
                raise translated(error(said), f"making topic {topic}")
        return True

    async def cluster_id(self) -> str:
        """Return the name that the brokers drew for themselves."""
        cluster = await self._call(lambda client: client.describe_cluster(), "naming the cluster")
        return cluster.get("cluster_id") or ""

    async def _most_copies(self) -> int:
        cluster = await self._call(lambda client: client.describe_cluster(), "counting brokers")
        return min(COPIES, len(cluster["brokers"]))

    async def _call(self, call: Callable[[Any], Awaitable[T]], what: str) -> T:
        async with self._one_caller, self._usable() as client:
            return await bounded(call(client), what)

    @contextlib.asynccontextmanager
    async def _usable(self) -> AsyncIterator[Any]:
        try:
            if self._client is None:
                self._client = AIOKafkaAdminClient(**self._connection.options())
                await bounded(self._client.start(), "connecting", CALL_S)
            yield self._client
        except BaseException:
            await self.close()
            raise


def _check_count(topic: str, partitions: int, count: int | None) -> None:
    """Refuse a topic that is there with another number of partitions."""
    if count not in (None, partitions):
        allowed = f"{count}, as the topic {topic!r} has; or delete that topic"
        raise InvalidParameter("partitions", partitions, allowed)


def _check_deleted(answers: Iterable[tuple[str, int]]) -> None:
    """Raise what a broker refused; it may take longer than it was given, or have begun before."""
    for topic, code in answers:
        error = errors.for_code(code)
        if code and error not in (errors.RequestTimedOutError, errors.UnknownTopicOrPartitionError):
            raise translated(error(), f"deleting topic {topic}")
