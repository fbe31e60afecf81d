"""Asks brokers what `doctor` wants to know, as plain facts. Changes no record and no offset.

The one thing that it leaves behind is a transactional id of its own, under which nothing is ever
written: whether a topic may be written is asked by adding it to a transaction together with a
partition that does not exist. The broker checks the right to write each, then refuses the whole
request because of the latter, so that no transaction begins.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiokafka import errors
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.protocol.admin import ApiVersionRequest
from aiokafka.protocol.api import Request
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.protocol.transaction import AddPartitionsToTxnRequest, InitProducerIdRequest

from service.adapters.kafka.connection import Connection, bounded, translated

T = TypeVar("T")
CALL_S = 10.0
NOWHERE = 1_000_000
"""A partition that no topic has."""

AT_END = -1
NOT_ATTEMPTED = 55
ABSENT = 3
Versions = Mapping[int, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Place:
    """One partition of a topic: node ids."""

    leader: int
    replicas: tuple[int, ...]
    in_sync: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Cluster:
    """Brokers: node id -> host:port."""

    name: str
    brokers: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Group:
    """A consumer group."""

    state: str
    members: int


@dataclass(frozen=True, slots=True)
class Configuration:
    """Of a topic or a broker; `error` says why `values` is empty."""

    values: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None


class Prober:
    """An admin client, and requests that the library knows but offers no call for."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._client: Any = None

    async def open(self) -> None:
        """Connect.

        Raises:
            TransientError, EngineError: the brokers do not answer, or refuse us.
        """
        self._client = AIOKafkaAdminClient(**self._connection.options())
        await self._wait(self._client.start(), "connecting")

    async def close(self) -> None:
        """Let go."""
        if self._client is not None:
            await self._wait(self._client.close(), "closing")

    async def cluster(self) -> Cluster:
        """Return the brokers there are."""
        found = await self._wait(self._client.describe_cluster(), "describing the cluster")
        brokers = {each["node_id"]: f"{each['host']}:{each['port']}" for each in found["brokers"]}
        return Cluster(found.get("cluster_id") or "", brokers)

    async def versions(self) -> Versions:
        """Return the versions of each request that a broker answers: key -> (first, last)."""
        answer = await self._ask(ApiVersionRequest(), None, "asking for versions")
        return {key: (first, last) for key, first, last in answer.api_versions}

    async def topics(self, names: Iterable[str]) -> dict[str, dict[int, Place]]:
        """Return those topics that are there, and that we may see: name -> partitions."""
        there = set(await self._wait(self._client.list_topics(), "listing topics"))
        known = [name for name in names if name in there]
        if not known:
            return {}
        described = await self._wait(self._client.describe_topics(known), "describing topics")
        return {
            each["topic"]: {
                part["partition"]: Place(
                    part["leader"], tuple(part["replicas"]), tuple(part["isr"])
                )
                for part in each["partitions"]
            }
            for each in described
        }

    async def configurations(
        self, topics: Iterable[str], broker: int
    ) -> tuple[dict[str, Configuration], Configuration]:
        """Return the configurations of topics, and of a broker."""
        wanted = [ConfigResource(ConfigResourceType.TOPIC, name) for name in topics]
        wanted.append(ConfigResource(ConfigResourceType.BROKER, str(broker)))
        answers = await self._wait(self._client.describe_configs(wanted), "reading configurations")
        found: dict[tuple[int, str], Configuration] = {}
        for answer in answers:
            for code, message, kind, name, entries in answer.resources:
                if code:
                    error = f"{errors.for_code(code).__name__}: {message or ''}".rstrip(": ")
                    found[kind, name] = Configuration(error=error)
                else:
                    values = {entry[0]: entry[1] for entry in entries}
                    found[kind, name] = Configuration(values)
        by_topic = {name: each for (kind, name), each in found.items() if kind == 2}
        nothing = Configuration(error="not answered")
        return by_topic, found.get((int(ConfigResourceType.BROKER), str(broker)), nothing)

    async def group(self, name: str) -> Group:
        """Return a group's state."""
        answers = await self._wait(
            self._client.describe_consumer_groups([name]), f"describing group {name}"
        )
        code, _, state, _, _, members, *_ = answers[0].groups[0]
        self._raise(code, f"describing group {name}")
        return Group(state, len(members))

    async def coordinator(self, transactional_id: str) -> int:
        """Return the node that coordinates an id's transactions."""
        node: int = await self._wait(
            self._client.find_coordinator(transactional_id, 1), f"coordinator of {transactional_id}"
        )
        return node

    async def writable(self, transactional_id: str, topics: Iterable[str]) -> dict[str, str | None]:
        """Return why topics may not be written in transactions of ours; None where they may.

        Args:
            transactional_id: nobody else's, for it is taken over.
            topics: known to be there.

        Raises:
            TransientError, EngineError: the id may not be used.
        """
        what = f"using the transactional id {transactional_id}"
        node = await self.coordinator(transactional_id)
        timeout_ms = int(self._connection.transaction_s * 1000)
        made = await self._ask(InitProducerIdRequest(transactional_id, timeout_ms), node, what)
        self._raise(made.error_code, what)
        wanted = [(topic, [0, NOWHERE]) for topic in topics]
        request = AddPartitionsToTxnRequest(
            transactional_id, made.producer_id, made.producer_epoch, wanted
        )
        answer = await self._ask(request, node, what)
        found: dict[str, str | None] = {}
        for topic, partitions in answer.errors:
            code = dict(partitions)[0]
            found[topic] = None if code in (NOT_ATTEMPTED, 0) else errors.for_code(code).__name__
        return found

    async def ends(self, topic: str, leaders: Mapping[int, int]) -> dict[int, tuple[int, int]]:
        """Return where each partition ends: partition -> (what is committed, what is there)."""
        found = {}
        for number, leader in leaders.items():
            stable, high = [
                await self._ask(
                    OffsetRequest(-1, isolation, [(topic, [(number, AT_END)])]),
                    leader,
                    f"end of {topic}",
                )
                for isolation in (1, 0)
            ]
            found[number] = stable.topics[0][1][0][3], high.topics[0][1][0][3]
        return found

    async def _ask(self, request: Request[Any], node: int | None, what: str) -> Any:
        if node is None:
            return await self._wait(self._client._send_request(request), what)
        return await self._wait(self._client._send_request_to_node(node, request), what)

    def _raise(self, code: int, what: str) -> None:
        if code:
            raise translated(errors.for_code(code)(), what)

    async def _wait(self, call: Awaitable[T], what: str) -> T:
        return await bounded(call, what, CALL_S)
