"""How a worker joins its group."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor

from service.adapters.kafka import Connection
from service.adapters.kafka import connection as kafka_connection
from service.adapters.kafka.membership import Membership, Places
from service.adapters.kafka.topics import KEPT, Topics

SLOW_S = 2.5
REQUEST_S = 1.0
"""The bound of a request, in place of the service's own: a slow member takes longer."""


class _Slow(ConsumerRebalanceListener):
    """A member that has much to do before it lets go."""

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        await asyncio.sleep(SLOW_S if revoked else 0.0)

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        pass


def test_a_join_is_waited_for_while_another_member_is_slow(kafka, monkeypatch, caplog):
    monkeypatch.setattr(kafka_connection, "REQUEST_S", REQUEST_S)
    topic = f"{kafka.application}.input"
    told: asyncio.Queue[Places] = asyncio.Queue()

    async def body() -> float:
        topics = Topics(kafka)
        await topics.make(topic, 2, KEPT)
        slow = AIOKafkaConsumer(
            bootstrap_servers=kafka.bootstrap,
            group_id=kafka.application,
            partition_assignment_strategy=(StickyPartitionAssignor,),
            heartbeat_interval_ms=300,
        )
        await slow.start()
        slow.subscribe([topic], listener=_Slow())
        while len(slow.assignment()) < 2:
            await slow.getmany(timeout_ms=100)
        began_s = time.monotonic()
        newcomer = Membership(kafka, [topic], told.put_nowait)
        newcomer.start()
        polling = asyncio.create_task(slow.getmany(timeout_ms=20_000))
        places = await told.get()
        took_s = time.monotonic() - began_s
        assert len(places) == 1
        polling.cancel()
        await newcomer.close()
        await slow.stop()
        await topics.close()
        return took_s

    took_s = asyncio.run(asyncio.wait_for(body(), 30))
    assert SLOW_S - 0.5 < took_s < SLOW_S + 2.0
    assert "the group is joined anew" not in caplog.text
    assert "JoinGroupRequest" not in caplog.text, "the library says so of one that failed"


def test_a_coordinator_that_is_dead_is_missed_soon():
    """Heartbeats are bounded as joins are."""

    async def body() -> None:
        membership = Membership(Connection("127.0.0.1:1", session_s=10.0), [], lambda _: None)
        consumer = membership._new_consumer()
        bound_ms = consumer._client._request_timeout_ms
        await consumer.stop()
        assert 10_000 < bound_ms <= 12_000

    asyncio.run(body())
