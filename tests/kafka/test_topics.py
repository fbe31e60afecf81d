"""Topics as the brokers tell of them while some of them are away."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

from service.adapters.kafka import Connection
from service.adapters.kafka import topics as kafka_topics
from service.adapters.kafka.topics import KEPT, Topics
from service.engine.errors import InvalidParameter, TransientError


class Client:
    """An admin client that tells of one topic of two partitions.

    Args:
        leaders: who leads the second partition, each time it is asked; the last one stays.
    """

    def __init__(self, *leaders: int) -> None:
        self.leaders = list(leaders)

    async def describe_topics(self, topics: list[str]) -> list[dict[str, Any]]:
        leader = self.leaders.pop(0) if len(self.leaders) > 1 else self.leaders[0]
        parts = [{"partition": 0, "leader": 1}, {"partition": 1, "leader": leader}]
        return [{"topic": topic, "error_code": 0, "partitions": parts} for topic in topics]


def topics_of(client: Client) -> Topics:
    topics = Topics(Connection("127.0.0.1:1"))
    topics._client = client
    return topics


def test_a_partition_without_a_leader_is_there_and_waited_for():
    async def body() -> None:
        client = Client(-1, -1, 0)
        assert await topics_of(client).make("s", 2, KEPT) is False
        assert client.leaders == [0]
        assert await topics_of(Client(-1)).counts(["s"]) == {"s": 2}
        with pytest.raises(InvalidParameter, match=r"partitions: 3 .* 2, as the topic 's' has"):
            await topics_of(Client(-1)).make("s", 3, KEPT)

    asyncio.run(body())


def test_a_partition_without_a_leader_is_not_waited_for_in_vain(monkeypatch):
    monkeypatch.setattr(kafka_topics, "SETTLE_S", 0.2)
    with pytest.raises(TransientError, match=r"topic s is not served by a broker after 0\.2 s"):
        asyncio.run(topics_of(Client(-1)).make("s", 2, KEPT))


def test_a_look_at_a_topic_that_is_absent_does_not_make_it(kafka: Connection) -> None:
    """The broker makes what it is asked for, unless it is told not to."""
    topic = f"{kafka.application}.absent"

    async def body() -> None:
        topics = Topics(kafka)
        assert await topics.counts([topic]) == {}
        await asyncio.sleep(0.5)
        assert await topics.counts([topic]) == {}
        await topics.close()

    asyncio.run(body())
    seen = AdminClient({"bootstrap.servers": kafka.bootstrap}).list_topics(timeout=10).topics
    assert topic not in seen
