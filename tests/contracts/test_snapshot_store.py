"""Every snapshot store keeps these promises."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from obstore.store import LocalStore, MemoryStore

from service.adapters.objects import ObjectSnapshotStore, bucket
from service.adapters.snapshots import DirectorySnapshotStore, MemorySnapshotStore
from service.engine.errors import CorruptSnapshot, TransientError

STORES = {
    "memory": lambda _request: MemorySnapshotStore(),
    "directory": lambda request: DirectorySnapshotStore(request.getfixturevalue("tmp_path")),
    "objects-memory": lambda _request: ObjectSnapshotStore(MemoryStore()),
    "objects-local": lambda request: ObjectSnapshotStore(
        LocalStore(request.getfixturevalue("tmp_path"))
    ),
    "s3": lambda request: bucket(f"s3://{request.getfixturevalue('s3_bucket')}"),
    "s3-prefix": lambda request: bucket(f"s3://{request.getfixturevalue('s3_bucket')}/a/b/"),
}


@pytest.fixture(params=STORES)
def store(request):
    return STORES[request.param](request)


def test_a_file_is_read_as_written(store):
    store.write("a.1/0/x.pack", [b"one", b"", b"two"])
    assert store.read("a.1/0/x.pack") == b"onetwo"


def test_a_file_written_again_is_the_newer_one(store):
    store.write("a/x", [b"longer than the second"])
    store.write("a/x", [b"second"])
    assert store.read("a/x") == b"second"
    assert store.names("a/") == ["a/x"]


def test_an_empty_file_and_a_large_one(store):
    large = bytes(range(256)) * 40_000
    store.write("a/empty", [])
    store.write("a/large", [large[:7], large[7:]])
    assert store.read("a/empty") == b""
    assert store.read("a/large") == large


def test_names_are_listed_by_prefix_in_order(store):
    for name in ("a.1/0/2", "a.1/0/1", "a.1/1/1", "a.10/0/1"):
        store.write(name, [b"x"])
    assert store.names("a.1/0/") == ["a.1/0/1", "a.1/0/2"]
    assert store.names("a.1/") == ["a.1/0/1", "a.1/0/2", "a.1/1/1"]
    assert store.names("a.1/0/1") == ["a.1/0/1"]
    assert store.names("") == ["a.1/0/1", "a.1/0/2", "a.1/1/1", "a.10/0/1"]
    assert store.names("b/") == []


def test_a_deleted_file_is_gone_and_deleting_twice_is_harmless(store):
    store.write("a/x", [b"x"])
    store.delete("a/x")
    store.delete("a/x")
    assert store.names("") == []
    with pytest.raises(CorruptSnapshot):
        store.read("a/x")


def test_many_files_are_listed(store):
    """The S3 server of the tests gives them out in pages of 50."""
    names = [f"a/{number:04d}" for number in range(120)]
    for name in names:
        store.write(name, [b"x"])
    assert store.names("a/") == names
    assert store.names("a/001") == names[10:20]


def test_a_write_that_fails_leaves_no_file(store):
    def chunks():
        yield b"half"
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        store.write("a/x", chunks())
    with pytest.raises(CorruptSnapshot):
        store.read("a/x")


def test_a_file_appears_only_when_it_is_whole(tmp_path):
    seen = []

    def look(name: str) -> None:
        seen.append((name, sorted(path.name for path in (tmp_path / "a").iterdir())))

    DirectorySnapshotStore(tmp_path, look).write("a/x", [b"data"])
    assert seen == [
        ("store.before_rename", ["x.tmp"]),
        ("store.before_fsync_directory", ["x"]),
    ]


@pytest.mark.parametrize(("code", "lost"), [(errno.ESTALE, False), (errno.EIO, True)])
def test_a_directory_that_does_not_answer_for_now_holds_no_damaged_snapshots(
    tmp_path, monkeypatch, code, lost
):
    def fail(_: Path) -> bytes:
        raise OSError(code, "injected")

    store = DirectorySnapshotStore(tmp_path)
    store.write("a", [b"x"])
    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(CorruptSnapshot if lost else TransientError):
        store.read("a")
