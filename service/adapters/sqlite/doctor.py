"""Checks of the directory that holds the file."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

from service.adapters.sqlite.schema import FILE, lock_directory, open_view
from service.adapters.sqlite.view import SqliteView
from service.engine.checks import Check, examine_streams, failure, ok, warning
from service.engine.errors import DataDirectoryInUse, EngineError
from service.engine.ports import SnapshotStore

SCARCE_BYTES = 2**30
TOO_FEW_BYTES = 64 * 2**20
CHECKED_BYTES = 2**30
"""Larger files are not read from end to end."""


class SqliteDoctor:
    """A `Doctor` for a single server's directory."""

    def __init__(self, directory: Path, snapshots: SnapshotStore) -> None:
        self._directory = directory
        self._snapshots = snapshots

    async def examine(self) -> AsyncIterator[Check]:
        """Yield checks; see `Doctor`. Changes nothing."""
        directory = self._directory
        if not directory.is_dir():
            advice = "start the service once, or name the directory with --data-dir"
            yield failure("directory", f"{directory.absolute()} is not there", advice)
            return
        yield self._writable()
        yield self._room()
        if not (directory / FILE).is_file():
            advice = "start the service once, or name the directory with --data-dir"
            yield failure("file", f"there is no {FILE} in {directory.absolute()}", advice)
            return
        yield self._lock()
        check = self._sound()
        yield check
        if check.level == "error":
            return
        view = SqliteView(directory)
        await view.open()
        try:
            async for each in examine_streams(view, self._snapshots):
                yield each
        finally:
            await view.close()

    def _writable(self) -> Check:
        said = str(self._directory.absolute())
        if os.access(self._directory, os.W_OK | os.X_OK):
            return ok("directory", said)
        advice = "let the service's user write there"
        return failure("directory", f"{said} cannot be written by this user", advice)

    def _room(self) -> Check:
        free = shutil.disk_usage(self._directory).free
        said = f"{free / 2**30:.1f} GiB free"
        advice = "make room, or lower the streams' `retention`"
        if free < TOO_FEW_BYTES:
            return failure("disk", said, advice)
        return warning("disk", said, advice) if free < SCARCE_BYTES else ok("disk", said)

    def _lock(self) -> Check:
        if not (self._directory / "lock").exists():
            return ok("lock", "never taken; no service runs here")
        try:
            os.close(lock_directory(self._directory))
        except DataDirectoryInUse:
            return ok("lock", "held: a service runs here")
        except OSError as error:
            return failure("lock", str(error), "let the service's user open the file `lock`")
        return ok("lock", "free; no service runs here")

    def _sound(self) -> Check:
        file = self._directory / FILE
        size = file.stat().st_size
        said = f"{FILE}, {size / 2**20:.1f} MiB"
        try:
            db = open_view(self._directory)
            try:
                if size > CHECKED_BYTES:
                    return ok("file", f"{said}; too large to be read from end to end here")
                (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
            finally:
                db.close()
        except (EngineError, sqlite3.Error) as error:
            return failure("file", f"{said}: {error}", "restore the directory from a backup")
        if found != "ok":
            return failure("file", f"{said}: {found}", "restore the directory from a backup")
        return ok("file", f"{said}; sound")
