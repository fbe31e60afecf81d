"""What `rcf doctor` says, one line a check; and the checks that every log has in common."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal, Protocol

from service.engine.errors import CorruptSnapshot, EngineError
from service.engine.ports import LogView, SnapshotStore
from service.engine.records import Overview, Pointer, StreamPartition
from service.engine.snapshot import read_manifest

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Check:
    """The outcome of one check.

    Attributes:
        name: what was looked at.
        level: "error" when the service cannot work, "warning" when it may not for long.
        said: what was found.
        advice: what to do; "" where nothing is to be done.
    """

    name: str
    level: Level
    said: str
    advice: str = ""


class Doctor(Protocol):
    """Looks at what a log stands on."""

    def examine(self) -> AsyncIterator[Check]:
        """Yield checks, those first without which the others make no sense."""


def ok(name: str, said: str) -> Check:
    """Nothing is to be done."""
    return Check(name, "ok", said)


def warning(name: str, said: str, advice: str) -> Check:
    """The service works, but may not for long, or not as safely as it could."""
    return Check(name, "warning", said, advice)


def failure(name: str, said: str, advice: str) -> Check:
    """The service cannot work so."""
    return Check(name, "error", said, advice)


async def examine_streams(view: LogView, snapshots: SnapshotStore) -> AsyncIterator[Check]:
    """Check that every partition can be restored from what log and snapshots hold."""
    entries = await view.streams()
    names = ", ".join(entry.config.name for entry in entries)
    yield ok("streams", f"{len(entries)}: {names}" if entries else "none")
    for entry in entries:
        for number in range(entry.config.partitions):
            partition = StreamPartition(entry.config.name, number)
            try:
                overview = await view.overview(partition)
            except EngineError as error:
                advice = "see the checks above; if they are in order, try again in a moment"
                yield failure(f"restore {partition}", str(error), advice)
                continue
            yield _restorable(overview, snapshots)


def _check_files(pointer: Pointer, snapshots: SnapshotStore) -> None:
    """Check that a snapshot's manifest is sound and its packs are there.

    Raises:
        CorruptSnapshot, OSError: they are not.
    """
    manifest = read_manifest(snapshots, pointer)
    there = set(snapshots.names(pointer.manifest.rpartition("/")[0] + "/"))
    gone = sorted({series.pack for series in manifest.series} - there)
    if gone:
        raise CorruptSnapshot(gone[0], "missing")


def _restorable(overview: Overview, snapshots: SnapshotStore) -> Check:
    """Tell from where a start would restore a partition."""
    name = f"restore {overview.partition}"
    committed = overview.origin if overview.committed is None else overview.committed
    waiting = max(overview.end - committed, 0)
    sound, unsound = [], []
    for pointer in overview.pointers:
        if not overview.begin <= pointer.offset <= committed:
            unsound.append(f"the one at {pointer.offset} does not fit the log")
            continue
        try:
            _check_files(pointer, snapshots)
            sound.append(pointer.offset)
        except (CorruptSnapshot, OSError) as error:
            unsound.append(str(error))
    bad = f"; unsound: {'; '.join(unsound)}" if unsound else ""
    if sound or overview.begin <= overview.origin:
        begin = sound[0] if sound else overview.origin
        place = f"the snapshot at {begin}" if sound else "the stream's beginning"
        said = f"from {place}, {committed - begin} records to repeat; about {waiting} wait{bad}"
        advice = "check that the snapshots are sound, those the workers use, and shared"
        return warning(name, said, advice) if unsound else ok(name, said)
    return failure(
        name,
        f"impossible: no sound snapshot, and the log begins at {overview.begin}, not at "
        f"{overview.origin}{bad}",
        "bring the snapshots back (RCF_SNAPSHOTS), or delete the stream and make it "
        "again, which learns from what is left",
    )
