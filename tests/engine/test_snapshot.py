"""A partition's state as files: exact, checked, and of one moment."""

from __future__ import annotations

import itertools
import random
import threading
import time
from dataclasses import replace
from hashlib import sha256

import msgspec
import pytest

from service.adapters.codec import JsonDecoder
from service.adapters.forest import ForestFactory
from service.adapters.snapshots import MemorySnapshotStore
from service.engine import snapshot as snapshot_module
from service.engine.control import encode_config
from service.engine.detectors import SeriesDetectors
from service.engine.errors import CorruptSnapshot
from service.engine.pipeline import Pipeline
from service.engine.ports import no_failpoint
from service.engine.records import Batch, Pointer, Record, StreamPartition
from service.engine.snapshot import (
    capture,
    collect,
    config_of,
    load,
    places_of,
    read_manifest,
    restore,
    write,
)
from tests.engine.fakes import FakeDetector, FakeFactory
from tests.engine.world import CONFIG

HERE = StreamPartition("s", 0)


def pipeline() -> Pipeline:
    return Pipeline(HERE, CONFIG, SeriesDetectors(FakeFactory()), JsonDecoder)


def feed(step: Pipeline, keys: str) -> None:
    start = step.position
    records = [Record(start + n, 0, key, b"[1,%d]" % n) for n, key in enumerate(keys)]
    step.process(Batch(HERE, records, start + len(records)))


def restored(store: MemorySnapshotStore, pointer: Pointer) -> SeriesDetectors:
    detectors = SeriesDetectors(FakeFactory())
    load(store, read_manifest(store, pointer), detectors, no_failpoint)
    return detectors


def save(store: MemorySnapshotStore, step: Pipeline, places: dict):
    return write(store, f"f/{len(store.files):03d}-", capture(step, places), "here", no_failpoint)


def test_a_snapshot_is_the_state_of_the_moment_it_was_taken():
    store, step = MemorySnapshotStore(), pipeline()
    feed(step, "aabbccdd")
    before = step.detectors.digests()
    taken = capture(step, {})
    first = taken.take()  # the writer has begun
    feed(step, "abbcezz")  # while it is being written
    step.detectors.forget_all()
    feed(step, "dd")
    written = write(store, "f/1-", taken, "here", no_failpoint)
    assert first is not None
    after = restored(store, written.pointer)
    after.restore(*first)
    assert after.digests() == before
    manifest = read_manifest(store, written.pointer)
    assert (manifest.offset, config_of(manifest)) == (8, CONFIG)


class Slow(FakeDetector):
    """Takes its time to be written."""

    def to_bytes(self) -> bytes:
        begun.set()
        time.sleep(0.1)
        return super().to_bytes()


begun = threading.Event()


def test_a_series_does_not_change_while_it_is_being_written():
    step = pipeline()
    feed(step, "ab")
    for key in "ab":
        step.detectors.held()[key].__class__ = Slow
    before = step.detectors.held()["a"].state
    taken, found = capture(step, {}), []
    writer = threading.Thread(target=lambda: found.append(taken.take()))
    writer.start()
    assert begun.wait(5)
    feed(step, "a")
    writer.join()
    ((key, data),) = found
    assert key == "a" and FakeFactory().restore(data).state == before
    assert step.detectors.held()["a"].state != before


class Counting(FakeFactory):
    """Counts the series that were opened."""

    def __init__(self) -> None:
        self.opened = 0

    def restore(self, data: bytes):
        self.opened += 1
        return super().restore(data)


def test_a_restored_series_sleeps_until_its_next_record():
    store, step = MemorySnapshotStore(), pipeline()
    feed(step, "abcdefgh")
    manifest = read_manifest(store, save(store, step, {}).pointer)
    factory = Counting()
    detectors = SeriesDetectors(factory)
    load(store, manifest, detectors, no_failpoint)
    assert factory.opened == 1  # the first one, in case the format is another
    again = Pipeline(HERE, CONFIG, detectors, JsonDecoder, manifest.offset)
    assert detectors.digests() == step.detectors.digests()
    for side in (step, again):
        feed(side, "gcg")
    assert factory.opened == 3
    assert detectors.digests() == step.detectors.digests()
    saved = save(store, again, {place.key: place for place in manifest.series})
    assert restored(store, saved.pointer).digests() == step.detectors.digests()


@pytest.mark.parametrize("cut", [150, 200, 201, 260, 320, 399])
def test_a_decay_changed_on_the_way_survives_a_restore(cut):
    """Real forests; the change stands at offset 200, series `b` pauses from 150 to 300."""
    config = replace(CONFIG, trees=5, sample_size=16, shingle_size=2, output_after=4)
    control = Record(200, 0, None, encode_config(replace(config, time_decay=0.2)), True)
    rng = random.Random(cut)
    records = [
        Record(n, 0, "a" if 150 <= n < 300 else "ab"[n % 2], b"[%d,%d]" % (rng.randrange(99), n))
        for n in range(400)
    ]
    records[200] = control

    def new() -> Pipeline:
        return Pipeline(HERE, config, SeriesDetectors(ForestFactory()), JsonDecoder)

    whole, part, store = new(), new(), MemorySnapshotStore()
    expected = whole.process(Batch(HERE, records, 400)).results
    results = list(part.process(Batch(HERE, records[:cut], cut)).results)
    manifest = read_manifest(store, save(store, part, {}).pointer)
    detectors = SeriesDetectors(ForestFactory())
    part = restore(store, manifest, detectors, JsonDecoder, no_failpoint)
    results += part.process(Batch(HERE, records[cut:], 400)).results
    assert results == expected
    assert part.detectors.digests() == whole.detectors.digests()
    unchanged = new().process(Batch(HERE, [*records[:200], *records[201:]], 400)).results
    assert unchanged[-1] != expected[-1]


def test_only_changed_series_are_written_again():
    store, step = MemorySnapshotStore(), pipeline()
    feed(step, "abcdefgh")
    places = {place.key: place for place in save(store, step, {}).series}
    feed(step, "b")
    second = save(store, step, places)
    (pack,) = {place.pack for place in second.series} - {place.pack for place in places.values()}
    assert len(store.files[pack]) == 232  # one of eight
    assert restored(store, second.pointer).digests() == step.detectors.digests()


def test_series_keep_their_order():
    """Which are the oldest decides with what new ones begin, where the stream wants it."""
    store, step = MemorySnapshotStore(), pipeline()
    feed(step, "dbca")
    places = {reference.key: reference for reference in save(store, step, {}).series}
    feed(step, "ebc")
    found = restored(store, save(store, step, places).pointer)
    assert list(found.held()) == list(step.detectors.held()) == [*"dbcae"]


def test_files_are_named_by_what_they_hold(monkeypatch):
    """An owner's name never stands for two contents, and large states come in several packs."""
    monkeypatch.setattr(snapshot_module, "PACK_BYTES", 500)  # a series has 232
    store, step = MemorySnapshotStore(), pipeline()
    feed(step, "abcdefg")
    written = save(store, step, {})
    packs = [name for name in store.files if name.endswith(".pack")]
    assert sorted(len(store.files[name]) for name in packs) == [232, 696, 696]
    for name, data in store.files.items():
        parts = [data[start : start + 232] for start in range(0, len(data), 232)]
        digests = "".join(sha256(part[:64]).hexdigest() for part in parts).encode()
        held = digests if name in packs else data
        assert sha256(held).hexdigest()[:32] in name
    assert restored(store, written.pointer).digests() == step.detectors.digests()


def test_a_pack_that_is_mostly_garbage_is_emptied():
    store, step = MemorySnapshotStore(), pipeline()
    feed(step, "abcdefgh")
    places = {place.key: place for place in save(store, step, {}).series}
    for key in "abcdefg":
        feed(step, key)
        places = {place.key: place for place in save(store, step, places).series}
    first = min(store.names("f/"))
    assert all(place.pack != first for place in places.values())


def test_collect_keeps_what_kept_pointers_need():
    store, step = MemorySnapshotStore(), pipeline()
    feed(step, "abcd")
    places, pointers = {}, []
    for key in "abcdabcd":
        written = save(store, step, places)
        places = {place.key: place for place in written.series}
        pointers = [written.pointer, *pointers][:3]
        feed(step, key)
    store.write("f/orphan.pack", [b"left by a crash"])
    assert collect(store, "f/", pointers) > 0
    assert "f/orphan.pack" not in store.files
    for pointer in pointers:
        restored(store, pointer)
    assert collect(store, "f/", pointers) == 0


def test_collect_leaves_the_files_of_a_later_owner():
    store, step = MemorySnapshotStore(), pipeline()
    feed(step, "ab")
    mine = write(store, "f/00000007-", capture(step, {}), "here", no_failpoint)
    feed(step, "ab")
    theirs = write(store, "f/00000008-", capture(step, {}), "here", no_failpoint)
    collect(store, "f/", (mine.pointer,))  # by one that was stopped meanwhile
    assert restored(store, theirs.pointer).digests() == step.detectors.digests()
    collect(store, "f/", (theirs.pointer,))
    assert all(name.startswith("f/00000008-") for name in store.files)


def test_every_flipped_byte_and_every_cut_is_noticed():
    store, step = MemorySnapshotStore(), pipeline()
    feed(step, "aab")
    written = save(store, step, {})
    for name, data in list(store.files.items()):
        for at in itertools.chain(range(0, len(data), 7), [len(data) - 1]):
            for altered in (data[:at], data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]):
                store.files[name] = altered
                with pytest.raises(CorruptSnapshot):
                    restored(store, written.pointer)
        store.files[name] = data
    restored(store, written.pointer)


def test_a_manifest_of_version_1_is_read_and_its_series_are_written_anew():
    """It names the SHA-256 of all of a series' bytes."""
    store, step = MemorySnapshotStore(), pipeline()
    feed(step, "aab")
    manifest = read_manifest(store, save(store, step, {}).pointer)
    packs = {name: data for name, data in store.files.items() if name.endswith(".pack")}
    series = []
    for place in manifest.series:
        data = packs[place.pack][place.start : place.start + place.length]
        series.append(msgspec.structs.replace(place, sha256=sha256(data).hexdigest()))
    old = msgspec.structs.replace(manifest, version=1, series=tuple(series))
    data = msgspec.json.encode(old)
    store.write("f/old.manifest", [data])
    pointer = Pointer(manifest.offset, "f/old.manifest", sha256(data).hexdigest())
    assert restored(store, pointer).digests() == step.detectors.digests()
    assert not places_of(read_manifest(store, pointer)) and places_of(manifest)
    (name,) = packs
    store.files[name] = packs[name][:-1] + bytes([packs[name][-1] ^ 1])
    with pytest.raises(CorruptSnapshot):
        restored(store, pointer)


def test_manifests_are_first_read_by_several_threads_at_once(tmp_path):
    """In a fresh process: msgspec prepares a type when it is first asked for, and not safely."""
    import subprocess
    import sys

    code = """
import sys, threading
sys.setswitchinterval(1e-6)
from hashlib import sha256
from service.adapters.codec import JsonDecoder
from service.adapters.forest import ForestFactory
from service.adapters.snapshots import MemorySnapshotStore
from service.engine import snapshot
from service.engine.config import StreamConfig
from service.engine.records import Pointer
data = (b'{"version":1,"stream":"s","partition":0,"offset":0,"config":{},"fingerprint":"",'
        b'"series":[{"key":"k","pack":"p","start":0,"length":0,"sha256":""}]}')
store = MemorySnapshotStore()
store.write("m", [data])
pointer = Pointer(0, "m", sha256(data).hexdigest())
gate = threading.Barrier(8)
def work():
    gate.wait()
    snapshot.read_manifest(store, pointer)
    JsonDecoder(StreamConfig(name="s"))(b"[1]")
threads = [threading.Thread(target=work) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""
    for _ in range(3):
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
