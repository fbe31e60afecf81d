"""What the doctor says where brokers ask for rights: what is missing is named."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from service.adapters.kafka import Connection, KafkaLog
from service.engine.config import StreamConfig
from tests.cli.lived import Lived
from tests.kafka.broker import Broker, free_ports
from tests.kafka.fixtures import ADDRESS
from tests.kafka.jars import NotToBeHadError
from tests.left_out import left_out

ASKING = """\
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
sasl.enabled.mechanisms=PLAIN
listener.name.clients.plain.sasl.jaas.config=\
org.apache.kafka.common.security.plain.PlainLoginModule required user_rcf="secret";
"""
READ, WRITE, LOOK = AclOperation.READ, AclOperation.WRITE, AclOperation.DESCRIBE_CONFIGS


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[tuple[Broker, int]]:
    """A broker that knows the user `rcf` and gives it no rights, and the port to prove it on."""
    try:
        (port,) = free_ports(1)
        listeners = {"CLIENTS": (port, "SASL_PLAINTEXT")}
        broker = Broker(tmp_path / "broker", extra=ASKING, listeners=listeners)
        broker.format()
        broker.start()
    except NotToBeHadError as error:
        left_out.leave_out("a broker that asks for rights", f"{error}; {ADDRESS} does not help")
    yield broker, port
    broker.kill()


@pytest.mark.slow
def test_missing_rights_are_named(asking, tmp_path, monkeypatch):
    broker, port = asking
    admin = AdminClient({"bootstrap.servers": broker.address})

    def allow(kind: ResourceType, name: str, *operations: AclOperation) -> None:
        pattern, everywhere = ResourcePatternType.PREFIXED, "*"
        acls = [
            AclBinding(
                kind, name, pattern, "User:rcf", everywhere, operation, AclPermissionType.ALLOW
            )
            for operation in operations
        ]
        for future in admin.create_acls(acls).values():
            future.result(10)

    async def make() -> None:
        log = KafkaLog(Connection(broker.address, application="app", replication=1))
        await log._catalogue.open()
        await log.create_stream(StreamConfig(name="s"))
        await log.close()

    asyncio.run(make())
    for name, value in (
        ("SECURITY", "SASL_PLAINTEXT"),
        ("USERNAME", "rcf"),
        ("PASSWORD", "secret"),
    ):
        monkeypatch.setenv(f"RCF_KAFKA_{name}", value)
    lived = Lived(Connection(f"127.0.0.1:{port}", application="app"), tmp_path, "s")

    def checks(code: int | None = 1) -> dict[str, dict]:
        found = map(json.loads, lived.run("doctor", "--json", code=code).splitlines())
        return {check["name"]: check for check in found}

    none = checks()
    assert "may not see it" in none["catalogue"]["said"]
    assert "transactional ids" in none["rights"]["advice"] and none["rights"]["level"] == "error"
    for name in ("s", "app"):
        allow(ResourceType.TOPIC, name, READ)
    allow(ResourceType.TOPIC, "s.scores", WRITE)
    allow(ResourceType.TRANSACTIONAL_ID, "app", WRITE)
    some = checks()
    assert "s.dlq: TopicAuthorizationFailedError" in some["rights"]["said"]
    assert "s.scores" not in some["rights"]["said"]
    assert some["group"]["level"] == "error" and "group 'app'" in some["group"]["advice"]
    assert "DescribeConfigs" in some["settings s"]["advice"]
    for name in ("s", "app"):
        allow(ResourceType.TOPIC, name, WRITE, LOOK)
    allow(ResourceType.GROUP, "app", READ)
    every = checks(None)  # a broker just started may not have its offsets topic yet
    assert every["rights"]["level"] == "ok" and "write 6 topics" in every["rights"]["said"]
    assert every["settings s"]["level"] == "ok"

    monkeypatch.setenv("RCF_KAFKA_PASSWORD", "wrong")
    wrong = checks()
    assert list(wrong) == ["brokers"] and "RCF_KAFKA_SECURITY" in wrong["brokers"]["advice"]
