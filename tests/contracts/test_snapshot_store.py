"""Every snapshot store keeps these promises."""

from __future__ import annotations

import pytest

from service.adapters.snapshots import DirectorySnapshotStore, MemorySnapshotStore
from service.engine.errors import CorruptSnapshot


@pytest.fixture(params=["memory", "directory"])
def store(request, tmp_path):
    return MemorySnapshotStore() if request.param == "memory" else DirectorySnapshotStore(tmp_path)


def test_a_file_is_read_as_written(store):
    store.write("a.1/0/x.pack", [b"one", b"", b"two"])
    assert store.read("a.1/0/x.pack") == b"onetwo"


def test_names_are_listed_by_prefix_in_order(store):
    for name in ("a.1/0/2", "a.1/0/1", "a.1/1/1", "a.10/0/1"):
        store.write(name, [b"x"])
    assert store.names("a.1/0/") == ["a.1/0/1", "a.1/0/2"]
    assert store.names("a.1/") == ["a.1/0/1", "a.1/0/2", "a.1/1/1"]
    assert store.names("b/") == []


def test_a_deleted_file_is_gone_and_deleting_twice_is_harmless(store):
    store.write("a/x", [b"x"])
    store.delete("a/x")
    store.delete("a/x")
    assert store.names("") == []
    with pytest.raises(CorruptSnapshot):
        store.read("a/x")


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
