"""What the client library does in a way that harms others, done otherwise for the whole process.

There is no option against any of it, and a client does it deep inside; nothing else in this
process speaks to Kafka.

- It asks brokers for topics in a way that makes absent ones, where brokers allow that (by default
  they do): one look at a topic just deleted brought it back with one partition. So requests are
  made with the flag that forbids it.
- It tries a broker that is away as often as it can: the clients of two workers did so 1,300 times
  a second, and took from the broker the processor that it needed to start. So attempts are paced.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiokafka.admin.client
import aiokafka.client
from aiokafka.errors import KafkaError
from aiokafka.protocol.metadata import MetadataRequest

PAUSE_S = 0.2
"""An address that could not be reached is tried again by a client after so many seconds."""


class PacedConnections:
    """Opens connections; to an address that could not be reached, only after a pause."""

    def __init__(self, connect: Callable[..., Awaitable[Any]]) -> None:
        self._connect = connect
        self._closed_until_s: dict[tuple[str, int], float] = {}

    async def __call__(self, host: str, port: int, **options: Any) -> Any:
        """Connect as the library would; raises what it raises."""
        address = host, port
        pause_s = self._closed_until_s.get(address, 0.0) - time.monotonic()
        if pause_s > 0.0:
            await asyncio.sleep(pause_s)
        try:
            connection = await self._connect(host, port, **options)
        except (OSError, KafkaError):
            self._closed_until_s[address] = time.monotonic() + PAUSE_S
            raise
        self._closed_until_s.pop(address, None)
        return connection


def mend() -> None:
    """Let all clients of this process ask and connect so."""
    client, admin = aiokafka.client, aiokafka.admin.client
    asking = functools.partial(MetadataRequest, allow_auto_topic_creation=False)
    client.MetadataRequest = admin.MetadataRequest = asking
    client.create_conn = PacedConnections(client.create_conn)
