"""The consumer group: which input partitions are this worker's.

The group's consumer reads nothing: its partitions are paused as they come, and records are read
by `reader`. The listener returns at once; whoever takes a partition over does so in a task of its
own, because the library sends no heartbeats while a listener runs after an assignment.

Seen on one node of Apache Kafka 4.2 with 8 partitions and a heartbeat each second: a second worker
has its 4 partitions 1.0 s after it joined, and the first one keeps its other 4; 1.0 s after a
worker left in good order the rest is taken over. A worker that was killed is missed after the
session's time.

Every rebalance revokes everything first (the library knows no other way), and may wait for workers
that died meanwhile. Nobody stops for that: a partition is worked on until an assignment gives it to
somebody else. Two owners for a moment do no harm, because taking over fences the former one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition, errors
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor

from service.adapters.kafka.connection import CLOSE_S, REQUEST_S, Connection, bounded
from service.engine.errors import EngineError

logger = logging.getLogger(__name__)
POLL_MS = 500
RETRY_S = 1.0

JOIN_MARGIN_S = 2.0
"""How much later than the rebalance's own time a join may be answered."""

Places = frozenset[TopicPartition]


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    def __init__(self, membership: Membership) -> None:
        self._membership = membership

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self._membership.owned -= frozenset(revoked)

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._membership._assigned(frozenset(assigned))


def _sticky() -> Any:
    """Leave partitions where they are, as far as all get as many; for one member of the group.

    The library keeps in the class what its member has, so that each member needs its own.
    """
    return type("Sticky", (StickyPartitionAssignor,), {})


class Membership:
    """Keeps this worker in the group, and says what it owns.

    Args:
        topics: inputs of the first subscription.
        assigned: called on the event loop; an assignment is complete, and replaces whatever was
            before.

    Attributes:
        owned: what the group says is ours; nothing while it is being said anew.
    """

    def __init__(
        self,
        connection: Connection,
        topics: Iterable[str],
        assigned: Callable[[Places], None],
    ) -> None:
        self._connection = connection
        self._topics = frozenset(topics)
        self._assignor = _sticky()
        self._tell_assigned = assigned
        self._consumer: Any = None
        self._running: asyncio.Task[None] | None = None
        self.owned: Places = frozenset()

    def start(self) -> None:
        """Begin to join."""
        self._running = asyncio.create_task(self._run())

    def subscribe(self, topics: Iterable[str]) -> None:
        """Change the inputs."""
        wanted = frozenset(topics)
        if wanted != self._topics:
            self._topics = wanted
            if self._consumer is not None:
                self._consumer.subscribe(sorted(wanted), listener=_Listener(self))

    async def close(self) -> None:
        """Leave the group, so that others need not wait for the session's end."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running}, timeout=2 * CLOSE_S)

    async def _run(self) -> None:
        while True:
            consumer = self._consumer = self._new_consumer()
            try:
                await bounded(consumer.start(), "joining the group")
                consumer.subscribe(sorted(self._topics), listener=_Listener(self))
                while True:
                    await consumer.getmany(timeout_ms=POLL_MS)
            except (errors.KafkaError, EngineError, OSError) as error:
                logger.warning(
                    "the group is joined anew, after %s: %s", type(error).__name__, error
                )
            finally:
                self._consumer = None
                with contextlib.suppress(Exception):
                    await bounded(consumer.stop(), "leaving the group", CLOSE_S)
                self.owned = frozenset()
            await asyncio.sleep(RETRY_S)

    def _new_consumer(self) -> Any:
        connection = self._connection
        # Whoever joins is answered when all have, or the time for that is over. Heartbeats have
        # the same bound, and a coordinator that died is to be missed soon.
        joining_s = max(REQUEST_S, connection.session_s + JOIN_MARGIN_S)
        return AIOKafkaConsumer(
            **connection.options() | {"request_timeout_ms": int(1000 * joining_s)},
            group_id=connection.application,
            enable_auto_commit=False,
            auto_offset_reset="latest",
            session_timeout_ms=int(connection.session_s * 1000),
            heartbeat_interval_ms=int(connection.heartbeat_s * 1000),
            rebalance_timeout_ms=int(connection.session_s * 1000),
            partition_assignment_strategy=(self._assignor,),
            metadata_max_age_ms=60_000,
        )

    def _assigned(self, places: Places) -> None:
        if self._consumer is not None:
            self._consumer.pause(*places)
        self.owned = places
        self._tell_assigned(places)
