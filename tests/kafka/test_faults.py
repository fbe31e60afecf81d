"""A frozen worker, a broker that dies, and a broker that stands still."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from service.adapters.forest import ForestFactory
from service.adapters.kafka import connection as kafka_connection
from tests.kafka.broker import Broker
from tests.kafka.fixtures import ADDRESS, connection, left_out
from tests.kafka.jars import NotToBeHadError
from tests.kafka.probe import produce
from tests.kafka.test_kills import as_written, check_outputs, ends_of, make_records, make_stream
from tests.kafka.workers import Cluster, undisturbed
from tests.simulation.lives import warm
from tests.simulation.workload import Workload

REQUEST_S = 2.0
"""The bound of a request, in place of the service's own: a broker stands still for longer."""


@pytest.fixture
def own_broker(tmp_path: Path):
    """A broker that may be killed."""
    try:
        broker = Broker(tmp_path / "broker")
        broker.format()
        broker.start()
    except NotToBeHadError as error:
        left_out.leave_out("a broker's death", f"{error}; {ADDRESS} does not help here")
    yield broker
    broker.kill()


@pytest.mark.slow
def test_a_frozen_worker_wakes_and_changes_nothing(kafka, tmp_path):
    config, records = make_stream("frozen"), make_records(3, 3000)
    warm(ForestFactory(), Workload((config,), {}))
    cluster = Cluster(kafka, tmp_path)
    asyncio.run(cluster.create(config))
    workers = [cluster.start(), cluster.start()]
    produce(kafka.bootstrap, config.name, as_written(records[:1000]))
    cluster.until_begun(config)
    produce(kafka.bootstrap, config.name, as_written(records[1000:2000]))
    time.sleep(0.15)
    workers[0].freeze()  # in the middle of it
    cluster.until_settled(config, ends_of(records[:2000]), 40)  # the other one took over
    workers[0].wake()
    produce(kafka.bootstrap, config.name, as_written(records[2000:]))
    cluster.until_settled(config, ends_of(records), 40)
    reports = [worker.stop() for worker in workers]
    assert [report["broken"] for report in reports] == [{}, {}]
    check_outputs(cluster, config, asyncio.run(undisturbed(config, records)))


@pytest.mark.slow
def test_a_broker_that_dies_and_stands_still_changes_nothing(own_broker, tmp_path, monkeypatch):
    monkeypatch.setattr(kafka_connection, "REQUEST_S", REQUEST_S)
    config, records = make_stream("broken"), make_records(4, 3000)
    warm(ForestFactory(), Workload((config,), {}))
    cluster = Cluster(connection(own_broker.address), tmp_path)
    asyncio.run(cluster.create(config))
    worker = cluster.start()
    produce(own_broker.address, config.name, as_written(records[:1000]))
    cluster.until_begun(config)
    own_broker.kill()  # in the middle of it
    time.sleep(0.5)
    own_broker.start()
    produce(own_broker.address, config.name, as_written(records[1000:2000]))
    time.sleep(1.0)
    own_broker.freeze()
    time.sleep(2 * REQUEST_S)
    own_broker.wake()
    produce(own_broker.address, config.name, as_written(records[2000:]))
    cluster.until_settled(config, ends_of(records), 60)
    time.sleep(1.0)
    report = worker.stop()
    reference = asyncio.run(undisturbed(config, records))
    assert report["broken"] == {}
    check_outputs(cluster, config, reference)
    assert report["states"] == reference["states"]
