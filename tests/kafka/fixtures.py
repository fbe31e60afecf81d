"""The broker that tests share, and the loud line where there is none."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator

import pytest

from service.adapters.kafka import Connection
from tests.kafka.broker import Broker
from tests.kafka.jars import NotToBeHadError
from tests.kafka.probe import group_offsets
from tests.kafka.proxy import Proxy
from tests.left_out import left_out

ADDRESS = "RCF_TEST_KAFKA"
VERSION = "RCF_TEST_KAFKA_VERSION"
HOW = f"or name a broker that is there with {ADDRESS}=host:port"


@pytest.fixture(scope="session")
def kafka_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str | None]:
    """host:port of a broker for the whole session; None where it cannot be had."""
    there = os.environ.get(ADDRESS)
    if there:
        yield there
        return
    broker: Broker | None = None
    try:
        directory = tmp_path_factory.mktemp("kafka")
        broker = Broker(directory, version=os.environ.get(VERSION) or None)
        broker.format()
        broker.start()
        group_offsets(broker.address, "anybody", "nothing", 1)  # from here on it knows groups
    except NotToBeHadError as error:
        left_out.reasons["Kafka"] = f"{error}; {HOW}"
        yield None
    else:
        yield broker.address
    finally:
        if broker is not None:
            broker.kill()


@pytest.fixture
def kafka(kafka_address: str | None) -> Connection:
    """A connection of an application of its own."""
    if kafka_address is None:
        left_out.leave_out("Kafka", left_out.reasons["Kafka"])
    return connection(str(kafka_address))


@pytest.fixture
def proxy(kafka: Connection) -> Iterator[Proxy]:
    """A proxy in front of the broker."""
    found = Proxy(kafka.bootstrap)
    found.start()
    yield found
    found.stop()


def connection(address: str) -> Connection:
    """Return a connection whose names no other test has, with short sessions."""
    return Connection(
        address,
        application=f"t{uuid.uuid4().hex[:10]}",
        replication=1,
        session_s=3.0,
        heartbeat_s=0.3,
    )
