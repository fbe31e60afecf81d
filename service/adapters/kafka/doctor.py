"""Checks of brokers, topics, rights, the group and transactions, before anybody trusts them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress

from service.adapters.kafka import names
from service.adapters.kafka.connection import Connection
from service.adapters.kafka.greeting import greet
from service.adapters.kafka.prober import Cluster, Configuration, Place, Prober, Versions
from service.adapters.kafka.topic_checks import (
    Described,
    check_configuration,
    check_partitions,
)
from service.adapters.kafka.view import KafkaView
from service.engine.checks import Check, examine_streams, failure, ok, warning
from service.engine.errors import EngineError, TransientError
from service.engine.ports import SnapshotStore
from service.engine.records import StreamEntry, StreamPartition

NEEDED = {
    0: "Produce", 1: "Fetch", 2: "ListOffsets", 3: "Metadata", 8: "OffsetCommit",
    9: "OffsetFetch", 10: "FindCoordinator", 11: "JoinGroup", 12: "Heartbeat", 19: "CreateTopics",
    20: "DeleteTopics", 21: "DeleteRecords", 22: "InitProducerId", 24: "AddPartitionsToTxn",
    25: "AddOffsetsToTxn", 26: "EndTxn", 28: "TxnOffsetCommit",
}  # fmt: skip
"""Requests that the service sends."""

FETCH = 1
FIRST_FETCH_OF_4 = 4
"""From 4.0 on, brokers answer no Fetch request of a version below."""

STUCK_S = 2.0
ADVICE_AGAIN = "try again; if it stays so, look at the brokers"
ADVICE_NETWORK = "check host:port in --kafka-bootstrap, the network, and RCF_KAFKA_SECURITY"


class KafkaDoctor:
    """A `Doctor` for brokers and the topics of one application."""

    def __init__(self, connection: Connection, snapshots: SnapshotStore) -> None:
        self._connection = connection
        self._snapshots = snapshots
        self._prober = Prober(connection)

    async def examine(self) -> AsyncIterator[Check]:
        """Yield checks; see `Doctor`."""
        try:
            await greet(self._connection)
            await self._prober.open()
            cluster = await self._prober.cluster()
        except EngineError as error:
            yield failure("brokers", f"{self._connection.bootstrap}: {error}", ADVICE_NETWORK)
            with suppress(EngineError):
                await self._prober.close()
            return
        view = KafkaView(self._connection)
        try:
            yield ok("brokers", f"{len(cluster.brokers)}: {', '.join(cluster.brokers.values())}")
            yield _check_versions(await self._prober.versions())
            async for check in self._after_connecting(cluster, view):
                yield check
        except EngineError as error:
            yield failure("brokers", str(error), ADVICE_AGAIN)
        finally:
            await view.close()
            with suppress(EngineError):
                await self._prober.close()

    async def _after_connecting(self, cluster: Cluster, view: KafkaView) -> AsyncIterator[Check]:
        entries: list[StreamEntry] = []
        try:
            await view.open()
            entries = await view.streams()
        except EngineError as error:
            yield warning("catalogue", str(error), "start a worker, or name its application")
        control = names.control_topic(self._connection)
        wanted = {control: 1} if entries else {}
        for entry in entries:
            topics = names.topics_of(entry.config.name)
            wanted |= dict.fromkeys((topics.input, *topics.outputs), entry.config.partitions)
        there = await self._prober.topics(wanted)
        some_broker = min(cluster.brokers)
        settings, broker = await self._prober.configurations(there, some_broker)
        yield _check_broker(broker, self._connection, cluster)
        for check in self._check_topics(entries, wanted, there, settings, cluster):
            yield check
        async for check in self._check_rights(sorted(there)):
            yield check
        async for check in self._check_group():
            yield check
        async for check in self._check_transactions(entries, there):
            yield check
        if entries:
            async for check in examine_streams(view, self._snapshots):
                yield check

    def _check_topics(
        self,
        entries: Sequence[StreamEntry],
        wanted: Mapping[str, int],
        there: Mapping[str, Mapping[int, Place]],
        settings: Mapping[str, Configuration],
        cluster: Cluster,
    ) -> Iterator[Check]:
        compacted = {names.topics_of(entry.config.name).checkpoints for entry in entries}
        compacted.add(names.control_topic(self._connection))
        inputs = {entry.config.name for entry in entries}
        for topic, partitions in wanted.items():
            described = Described(
                topic,
                partitions,
                there.get(topic),
                settings.get(topic, Configuration(error="not answered")),
                len(cluster.brokers),
                is_input=topic in inputs,
                is_compacted=topic in compacted,
            )
            yield check_partitions(described)
            if described.there is not None:
                yield check_configuration(described)

    async def _check_rights(self, topics: Sequence[str]) -> AsyncIterator[Check]:
        identity = f"{self._connection.application}-doctor"
        advice = (
            f"allow Write and Describe on transactional ids that begin with "
            f"{self._connection.application!r}, and IdempotentWrite where brokers ask for it"
        )
        try:
            refused = await self._prober.writable(identity, topics)
        except EngineError as error:
            yield failure("rights", str(error), advice)
            return
        bad = {topic: why for topic, why in refused.items() if why is not None}
        if bad:
            said = "; ".join(f"{topic}: {why}" for topic, why in bad.items())
            yield failure("rights", f"may not write {said}", "allow Write on these topics")
        else:
            said = f"may use transactional ids, and write {len(refused)} topics in transactions"
            yield ok("rights", f"{said}; whether topics may be made, trimmed, deleted is not asked")

    async def _check_group(self) -> AsyncIterator[Check]:
        name = self._connection.application
        try:
            group = await self._prober.group(name)
        except TransientError as error:
            yield failure("group", str(error), ADVICE_AGAIN)
            return
        except EngineError as error:
            yield failure("group", str(error), f"allow Read and Describe on the group {name!r}")
            return
        said = f"{name}: {group.state}, {group.members} workers"
        if group.members == 0:
            yield warning("group", said, "no worker runs: start `rcf serve`")
        elif group.state != "Stable":
            yield warning("group", said, "partitions are being dealt out: look again in a moment")
        else:
            yield ok("group", said)

    async def _check_transactions(
        self, entries: Sequence[StreamEntry], there: Mapping[str, Mapping[int, Place]]
    ) -> AsyncIterator[Check]:
        """Find transactions that nobody ends: whoever reads committed records waits for them."""
        ids = [names.control_id(self._connection)]
        for entry in entries:
            for number in range(entry.config.partitions):
                partition = StreamPartition(entry.config.name, number)
                ids.append(names.transactional_id(self._connection, partition))
        try:
            for identity in ids:
                await self._prober.coordinator(identity)
        except EngineError as error:
            name = self._connection.application
            advice = f"allow Describe on transactional ids that begin with {name!r}"
            yield failure("transactions", str(error), advice)
            return
        yield ok("transactions", f"coordinators answer for {len(ids)} transactional ids")
        before = await self._open_transactions(there)
        if not before:
            return
        await asyncio.sleep(STUCK_S)
        after = await self._open_transactions(there)
        for place, end in before.items():
            if after.get(place) == end:
                yield warning(
                    "transactions",
                    f"one is open at offset {end} of {place} for {STUCK_S:g} s at least, and "
                    "readers of committed records wait for its end",
                    "wait: a worker's is ended by the next owner, any by its time-out at the "
                    "broker; if it stays, `kafka-transactions.sh find-hanging` and `abort`",
                )

    async def _open_transactions(self, there: Mapping[str, Mapping[int, Place]]) -> dict[str, int]:
        found = {}
        for topic, places in there.items():
            leaders = {n: place.leader for n, place in places.items() if place.leader >= 0}
            for number, (stable, high) in (await self._prober.ends(topic, leaders)).items():
                if stable < high:
                    found[f"{topic}/{number}"] = stable
        return found


def _check_versions(versions: Versions) -> Check:
    missing = [name for key, name in NEEDED.items() if key not in versions]
    if missing:
        said = f"brokers answer no {', '.join(missing)}"
        return failure("version", said, "use Apache Kafka 2.5 or newer, or a broker that keeps up")
    first, last = versions[FETCH]
    kind = "4.0 or newer" if first >= FIRST_FETCH_OF_4 else "older than 4.0"
    return ok("version", f"as Apache Kafka {kind} (Fetch {first} to {last}); has transactions")


def _check_broker(broker: Configuration, connection: Connection, cluster: Cluster) -> Check:
    """Compare what a broker allows with what the workers ask for."""
    name = "broker settings"
    if broker.error is not None:
        advice = "allow DescribeConfigs on the cluster, or compare its settings by hand"
        return warning(name, f"may not be read: {broker.error}", advice)
    values = broker.values
    session_ms, transaction_ms = connection.session_s * 1000, connection.transaction_s * 1000
    limits = (
        ("group.min.session.timeout.ms", session_ms, "RCF_KAFKA_SESSION_S", True),
        ("group.max.session.timeout.ms", session_ms, "RCF_KAFKA_SESSION_S", False),
        ("transaction.max.timeout.ms", transaction_ms, "a transaction's time-out", False),
    )
    for setting, ours, what, is_least in limits:
        theirs = float(values.get(setting) or ours)
        if (ours < theirs) if is_least else (ours > theirs):
            said = f"{setting} = {theirs:g}, but {what} is {ours:g} ms"
            return failure(name, said, f"change {setting} on the brokers, or our value")
    least = int(values.get("transaction.state.log.min.isr") or 1)
    if least > len(cluster.brokers):
        said = f"transaction.state.log.min.isr = {least}, but {len(cluster.brokers)} brokers answer"
        return failure(name, said, "bring the other brokers back: no transaction can end")
    return ok(name, "time-outs and replicas allow what the workers ask for")
