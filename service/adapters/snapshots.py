"""Snapshot files in a directory, or in memory for tests.

A file appears whole or not at all: it is written beside its place, flushed to the disk,
renamed, and the directory flushed, in this order.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from service.engine.errors import CorruptSnapshot, TransientError
from service.engine.ports import Failpoints

TEMPORARY = ".tmp"
BUFFER_BYTES = 4 * 2**20
"""Written at once: each write lets other threads have the interpreter, and then waits for it."""


GONE = frozenset((errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EIO))
"""What the system says of a file that will not be read later either."""


def _ignore(name: str) -> None:
    """Pass a failpoint by."""


class DirectorySnapshotStore:
    """Files below one directory."""

    def __init__(self, directory: Path, failpoint: Failpoints = _ignore) -> None:
        self._directory = directory
        self._failpoint = failpoint

    def write(self, name: str, chunks: Iterable[bytes]) -> None:
        """Write a file; on return it is whole and durable."""
        path = self._directory / name
        _make_directory(path.parent)
        temporary = path.with_name(path.name + TEMPORARY)
        with temporary.open("wb", buffering=BUFFER_BYTES) as file:
            file.writelines(chunks)
            file.flush()
            os.fsync(file.fileno())
        self._failpoint("store.before_rename")
        temporary.replace(path)
        self._failpoint("store.before_fsync_directory")
        _flush_directory(path.parent)

    def read(self, name: str) -> bytes:
        """Read a file.

        Raises:
            CorruptSnapshot: there is none of this name, or the disk cannot read it.
            TransientError: it cannot be looked at, which may pass.
        """
        try:
            return (self._directory / name).read_bytes()
        except OSError as error:
            if error.errno in GONE:
                raise CorruptSnapshot(name, str(error)) from error
            raise TransientError(f"snapshot {name}: {error}") from error

    def names(self, prefix: str) -> list[str]:
        """List the files whose names begin with the prefix, temporary ones included."""
        folder = self._directory / prefix.rpartition("/")[0]
        found = (path for path in folder.rglob("*") if path.is_file())
        names = (path.relative_to(self._directory).as_posix() for path in found)
        return sorted(name for name in names if name.startswith(prefix))

    def delete(self, name: str) -> None:
        """Remove a file, and its directory when that is left empty."""
        path = self._directory / name
        path.unlink(missing_ok=True)
        for parent in path.parents:
            if parent == self._directory:
                break
            try:
                parent.rmdir()
            except OSError:  # not empty, or gone already
                break


class MemorySnapshotStore:
    """Files in a dictionary."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def write(self, name: str, chunks: Iterable[bytes]) -> None:
        """Write a file."""
        self.files[name] = b"".join(chunks)

    def read(self, name: str) -> bytes:
        """Read a file.

        Raises:
            CorruptSnapshot: there is none of this name.
        """
        try:
            return self.files[name]
        except KeyError:
            raise CorruptSnapshot(name, "missing") from None

    def names(self, prefix: str) -> list[str]:
        """List the files whose names begin with the prefix, sorted."""
        return sorted(name for name in self.files if name.startswith(prefix))

    def delete(self, name: str) -> None:
        """Remove a file; nothing happens when there is none."""
        self.files.pop(name, None)


def _make_directory(path: Path) -> None:
    """Make a directory and its parents, each durable in its own parent."""
    if path.is_dir():
        return
    _make_directory(path.parent)
    path.mkdir(exist_ok=True)
    _flush_directory(path.parent)


def _flush_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
