"""TLS, passwords and certificates, on a real broker: who gets in, and what the others are told."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest

from service import logs, settings, wiring
from service.adapters.kafka import Connection, KafkaLog
from service.adapters.kafka.doctor import KafkaDoctor
from service.adapters.snapshots import MemorySnapshotStore
from service.cli.errors import CommandError
from service.cli.serve import run
from service.engine.checks import Check
from service.engine.errors import EngineError, InvalidParameter, TransientError
from service.engine.records import StreamPartition, Transaction
from service.settings import SettingsError
from tests.kafka import secured
from tests.kafka.broker import free_ports
from tests.kafka.fixtures import ADDRESS, connection, left_out
from tests.kafka.jars import NotToBeHadError
from tests.kafka.secured import PASSWORD, USER, Secured
from tests.kafka.test_log import log_with, new, results, stream
from tests.kafka.test_service import until_ready


@pytest.fixture(scope="module")
def doors(tmp_path_factory) -> Iterator[Secured]:
    try:
        found = secured.start(tmp_path_factory.mktemp("secured"))
    except NotToBeHadError as error:
        left_out.leave_out("TLS and passwords", f"{error}; {ADDRESS} does not help here")
    yield found
    found.broker.kill()


def connect(doors: Secured, listener: str, **changed: object) -> Connection:
    security = doors.security(listener, **changed)
    return replace(connection(doors.address(listener)), security=security)


@pytest.mark.parametrize(
    ("listener", "mechanism"),
    [
        ("MUTUAL", "PLAIN"),
        ("SECRET", "SCRAM-SHA-512"),
        ("OPEN", "SCRAM-SHA-256"),
    ],
)
def test_records_go_in_and_results_out(doors, listener, mechanism):
    """Every client of the adapter takes part: admin, group, readers, both kinds of producer."""
    there = connect(doors, listener, mechanism=mechanism)
    config = stream(there)
    part = StreamPartition(config.name, 0)

    async def body() -> None:
        log = await log_with(there, config)
        await log.append(config.name, new(1, 2))
        while not (await log.changes()).assigned:
            pass
        assignment = await log.assign(part)
        batch = await log.poll(part, 0, 10, 10**6)
        assert [record.value for record in batch.records] == [b"1", b"2"]
        await log.commit(Transaction(part, assignment.epoch, 0, 2, results(0, 1)))
        assert (await log.assign(part)).committed == 2
        await log.close()

    asyncio.run(asyncio.wait_for(body(), 60))


FILES = "RCF_KAFKA_CA_FILE"


@pytest.mark.parametrize(
    ("listener", "changed", "kind", "said"),
    [
        ("SECRET", {"password": "wrong-9"}, EngineError, "RCF_KAFKA_PASSWORD_FILE"),
        ("OPEN", {"password": "wrong-9", "mechanism": "PLAIN"}, EngineError, "user 'worker'"),
        ("OPEN", {"username": "nobody"}, EngineError, "RCF_KAFKA_USERNAME"),
        ("TLS", {"ca_file": "other_authority"}, EngineError, FILES),
        ("TLS", {"ca_file": None}, EngineError, FILES),
        ("ELSEWHERE", {}, EngineError, "another name .*RCF_KAFKA_BOOTSTRAP"),
        ("MUTUAL", {"cert_file": None, "key_file": None}, EngineError, "RCF_KAFKA_CERT_FILE"),
        ("TLS", {"protocol": "PLAINTEXT"}, TransientError, "RCF_KAFKA_SECURITY"),
        ("OPEN", {"protocol": "SSL"}, (EngineError, TransientError), "RCF_KAFKA_SECURITY"),
        ("TLS", {"protocol": "SASL_SSL"}, EngineError, "RCF_KAFKA_SECURITY"),
        ("TLS", {"ca_file": "client_key"}, InvalidParameter, FILES),
        ("MUTUAL", {"key_file": "authority"}, InvalidParameter, "RCF_KAFKA_CERT_FILE"),
    ],
)
def test_who_is_not_let_in_is_told_which_setting_to_look_at(doors, listener, changed, kind, said):
    changed = {
        name: getattr(doors.files, value, value) if name.endswith("file") and value else value
        for name, value in changed.items()
    }
    if changed.get("protocol") == "SASL_SSL":
        changed |= {"username": USER, "password": PASSWORD}
    there = connect(doors, listener, **changed)

    async def body() -> None:
        log = KafkaLog(there)
        with pytest.raises(kind, match=said) as refused:
            await log.open()
        assert PASSWORD not in str(refused.value) and "wrong-9" not in str(refused.value)
        assert doors.address(listener) in str(refused.value) or kind is InvalidParameter
        await log.close()
        await asyncio.sleep(0.1)  # TLS takes a moment to say goodbye

    asyncio.run(asyncio.wait_for(body(), 30))


def test_the_doctor_names_the_setting_too(doors):
    there = connect(doors, "SECRET", password="wrong-9")

    async def body() -> list[Check]:
        checks = [check async for check in KafkaDoctor(there, MemorySnapshotStore()).examine()]
        await asyncio.sleep(0.1)  # TLS takes a moment to say goodbye
        return checks

    (check,) = asyncio.run(asyncio.wait_for(body(), 30))
    assert (check.name, check.level) == ("brokers", "error")
    assert "RCF_KAFKA_PASSWORD_FILE" in check.said and "wrong-9" not in check.said


@pytest.mark.slow
def test_the_service_starts_and_never_shows_the_password(doors, tmp_path):
    there = connect(doors, "SECRET")
    secret = tmp_path / "secret"
    secret.write_text(f"{PASSWORD}\n")
    environment = os.environ | {
        "RCF_KAFKA_APPLICATION": there.application,
        "RCF_KAFKA_SECURITY": "SASL_SSL",
        "RCF_KAFKA_SASL_MECHANISM": "PLAIN",
        "RCF_KAFKA_USERNAME": USER,
        "RCF_KAFKA_PASSWORD_FILE": str(secret),
        "RCF_KAFKA_CA_FILE": str(doors.files.authority),
        "RCF_LOG_LEVEL": "debug",
    }
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "service", "serve", "--port", str(port)]
    command += ["--kafka-bootstrap", there.bootstrap, "--data-dir", str(tmp_path / "data")]
    said = tmp_path / "said"
    with said.open("wb") as log, httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            until_ready(client)
            made = client.put("/v1/streams/s", json={"features": 1, "partitions": 1}, timeout=30)
            assert made.status_code in (200, 201), made.text
            shown = [client.get(path).text for path in ("/metrics", "/readyz", "/v1/streams")]
            process.terminate()
            assert process.wait(30) == 0
        finally:
            process.kill()
            process.wait()
    assert "rcf_records_processed_total" in shown[0]
    assert len(said.read_text()) > 100
    for text in (*shown, said.read_text()):
        assert PASSWORD not in text


def test_a_start_that_fails_ends_with_one_sentence(tmp_path, monkeypatch):
    def refuse(_: object, listening: socket.socket, **__: object) -> None:
        listening.close()
        raise EngineError("no broker lets us in: see RCF_KAFKA_USERNAME")

    monkeypatch.setattr(wiring, "serve", refuse)
    monkeypatch.setattr(logs, "configure", lambda *_: None)
    with pytest.raises(CommandError, match=r"the start failed: .* RCF_KAFKA_USERNAME"):
        run(dev=False, port=0, data_dir=tmp_path)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"kafka_security": "SASL_SSL"}, "needs RCF_KAFKA_USERNAME"),
        ({"kafka_security": "SASL_SSL", "kafka_username": "u"}, "RCF_KAFKA_PASSWORD_FILE"),
        ({"kafka_username": "u"}, "RCF_KAFKA_USERNAME has no use .*SASL_PLAINTEXT or SASL_SSL"),
        ({"kafka_ca_file": "ca.pem"}, "RCF_KAFKA_CA_FILE has no use .*: SSL or SASL_SSL"),
        ({"kafka_security": "SSL", "kafka_key_file": "k"}, "needs RCF_KAFKA_CERT_FILE"),
        (
            {
                "kafka_security": "SASL_SSL",
                "kafka_username": "u",
                "kafka_password": "hunter2",
                "kafka_password_file": "p",
            },
            "both set; allowed: one",
        ),
    ],
)
def test_settings_that_do_not_fit_are_refused(given, said):
    with pytest.raises(SettingsError, match=said) as refused:
        settings.load(**given)
    assert "hunter2" not in str(refused.value)


def test_a_password_is_in_no_representation(tmp_path):
    file = tmp_path / "secret"
    file.write_text("hunter2\nnot this line\n")
    for source in ({"kafka_password": "hunter2"}, {"kafka_password_file": str(file)}):
        chosen = settings.load(
            kafka_security="SASL_SSL", kafka_username="u", kafka_bootstrap="h:1", **source
        )
        assert chosen.password() == "hunter2"
        there = Connection("h:1", security=secured.Security(password=chosen.password()))
        for text in (repr(chosen), str(chosen), chosen.model_dump_json(), repr(there)):
            assert not re.search("hunter2", text)
