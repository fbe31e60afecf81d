"""Deletes the snapshots of streams that are no more."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Executor

from service.engine.keeping import snapshot_folder
from service.engine.ports import LogBackend, SnapshotStore
from service.engine.records import StreamEntry
from service.engine.workers import in_thread

logger = logging.getLogger(__name__)


async def delete_snapshots(
    log: LogBackend, store: SnapshotStore, saver: Executor, entry: StreamEntry
) -> None:
    """Delete all of a stream's, however long it takes."""
    folder = snapshot_folder(log, entry)
    await _delete_files(store, saver, lambda: store.names(folder))


async def sweep_snapshots(log: LogBackend, store: SnapshotStore, saver: Executor) -> None:
    """Delete what a death in the middle of a deletion left behind of this log's streams.

    Nothing else: others may keep whatever they like in the same place. The files are listed
    before the streams, so that those of a stream that another process makes meanwhile are not
    among them. Nothing at all when there are no streams: if the log lost them, their snapshots
    are what is left.
    """
    names = await in_thread(saver, lambda: store.names(f"{log.identity}/"))
    known = [snapshot_folder(log, entry) for entry in await log.streams()]
    if names and not known:
        logger.warning("the log has no streams, but there are snapshots of it: they stay")
        return
    kept = (*known, *(f"{log.identity}/{name}." for name in log.unreadable))
    unwanted = [name for name in names if not name.startswith(kept)]
    await _delete_files(store, saver, lambda: unwanted)


async def _delete_files(
    store: SnapshotStore, saver: Executor, unwanted: Callable[[], list[str]]
) -> None:
    def delete() -> None:
        for name in unwanted():
            store.delete(name)

    try:
        await in_thread(saver, delete)
    except OSError as error:
        logger.warning("old snapshots were not deleted: %s", error)
