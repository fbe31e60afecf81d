"""Snapshots in an S3-compatible store, over a socket."""

from __future__ import annotations

import asyncio
import logging
import threading
import traceback
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from service.adapters import objects
from service.adapters.objects import bucket
from service.engine.errors import TransientError
from service.engine.options import EngineOptions
from service.engine.policy import SnapshotPolicy
from service.engine.records import StreamPartition
from tests.engine.world import CONFIG, World, ask, rows, run, until
from tests.s3 import KEY_ID, SECRET, s3_client

HERE = StreamPartition("s", 0)


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(objects, "RETRIES", 0)
    monkeypatch.setattr(objects, "CONNECT_S", 1)


def keys(name: str) -> list[str]:
    return [each["Key"] for each in s3_client().list_objects_v2(Bucket=name).get("Contents", [])]


def test_files_stand_below_the_prefix(s3_bucket):
    bucket(f"s3://{s3_bucket}/rcf/one/").write("s.1/0/x.pack", [b"1"])
    bucket(f"s3://{s3_bucket}").write("s.1/0/x.pack", [b"2"])
    assert keys(s3_bucket) == ["rcf/one/s.1/0/x.pack", "s.1/0/x.pack"]
    assert bucket(f"s3://{s3_bucket}/rcf/one").read("s.1/0/x.pack") == b"1"


def test_a_bucket_that_is_not_there_is_named(s3_bucket, impatient):
    store = bucket(f"s3://{s3_bucket}-not")
    with pytest.raises(OSError, match=r"snapshots: writing a/x: .*NoSuchBucket"):
        store.write("a/x", [b"x"])
    with pytest.raises(OSError, match=r"snapshots: listing 'a/': .*NoSuchBucket"):
        store.names("a/")
    with pytest.raises(TransientError, match=r"snapshots: reading a/x: .*NoSuchBucket"):
        store.read("a/x")


def test_a_store_that_does_not_answer_is_no_damaged_snapshot(s3_bucket, impatient, monkeypatch):
    """Else an older snapshot would be taken, or none, and the newest counted as garbage."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    store = bucket(f"s3://{s3_bucket}")
    with pytest.raises(TransientError, match="snapshots: reading a/x"):
        store.read("a/x")
    for call in (lambda: store.write("a/x", []), lambda: store.delete("a/x"), store_names(store)):
        with pytest.raises(OSError, match="snapshots: "):
            call()


def store_names(store):
    return lambda: store.names("")


class Refusing(BaseHTTPRequestHandler):
    """Answers as Amazon does when a signature is wrong: with the key's id in it."""

    def do_GET(self) -> None:
        signed = self.headers["Authorization"]
        assert KEY_ID in signed
        body = (
            '<?xml version="1.0"?>\n<Error><Code>SignatureDoesNotMatch</Code>'
            f"<AWSAccessKeyId>{KEY_ID}</AWSAccessKeyId><StringToSign>{signed}</StringToSign></Error>"
        ).encode()
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_PUT = do_GET  # noqa: N815  (the name that http.server wants)

    def log_message(self, *_arguments) -> None:
        pass


def test_credentials_are_in_no_error_and_no_log(s3_bucket, impatient, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    said = []
    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        store = bucket(f"s3://{s3_bucket}")
        for call in (lambda: store.read("x"), lambda: store.write("x", [b"1"])):
            with pytest.raises((TransientError, OSError), match="SignatureDoesNotMatch") as caught:
                call()
            said.append("".join(traceback.format_exception(caught.value)))
        server.shutdown()
    for text in (*said, repr(store), repr(store._objects), caplog.text):
        assert SECRET not in text and KEY_ID not in text and "Signature=" not in text


def world_over(name: str) -> World:
    snapshots = SnapshotPolicy(interval_s=1, share=1.0)
    options = EngineOptions(tick_s=0.005, retry_s=0.005, snapshot=snapshots)
    return World(store=bucket(f"s3://{name}/snapshots"), options=options)


async def three_snapshots(world: World) -> dict:
    """Leave three slots behind and some records after the last; return the state."""
    async with world.engine() as engine:
        await engine.create_stream(CONFIG)
        part = world.log._parts[HERE]
        for turn in range(1, 4):
            await ask(engine, rows((turn, 1), (turn, 2), key=f"k{turn}"))
            world.clock.s += 2.0
            await until(lambda: len(part.pointers) == turn)  # noqa: B023  (awaited here)
        await ask(engine, rows((9, 9), key="k1"))
        states = engine.state_digests()[HERE]
        for task in engine._owned.tasks.values():
            task.cancel()  # a death: no last snapshot
    return states


@pytest.mark.parametrize("damaged", [0, 1, 2, 3])
def test_of_damaged_slots_the_newest_sound_one_counts(s3_bucket, damaged):
    world = world_over(s3_bucket)

    async def body() -> None:
        states = await three_snapshots(world)
        pointers = world.log._parts[HERE].pointers
        for pointer in pointers[:damaged]:
            key = f"snapshots/{pointer.manifest}"
            s3_client().put_object(Bucket=s3_bucket, Key=key, Body=b'{"torn')
        async with world.engine() as engine:
            await until(lambda: engine.ready)
            assert engine.state_digests()[HERE] == states

    run(body)


def test_while_the_store_is_away_a_start_waits_and_takes_no_older_state(s3_bucket):
    world = world_over(s3_bucket)

    async def body() -> None:
        states = await three_snapshots(world)
        there, away = world.store.read, asyncio.Event()

        def read(name: str) -> bytes:
            if not away.is_set():
                raise TransientError("snapshots: no route to host")
            return there(name)

        world.store.read = read
        async with world.engine() as engine:
            await until(lambda: HERE in engine._owned.runners)
            await until(lambda: engine._owned.runners[HERE].state == "retrying")
            assert not engine.ready
            away.set()
            await until(lambda: engine.ready)
            assert engine.state_digests()[HERE] == states

    run(body)
