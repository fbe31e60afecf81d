"""When to write a snapshot, what to trim, when to refuse input: frozen policies, pure state."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from service.engine.errors import Backpressure
from service.engine.records import Pointer

KEPT_POINTERS = 3
"""Snapshots kept for each partition: the newest, and two to fall back on."""


@dataclass(frozen=True, slots=True)
class SnapshotPolicy:
    """When a partition's snapshot is due.

    Attributes:
        interval_s: at the latest after so many seconds, if anything changed.
        replay_s: earlier, when repeating the records since the last one would take so many
            seconds of a processor.
        share: not before `duration / share` seconds have passed since the last one began, so
            that writing snapshots takes at most this share of the time.
    """

    interval_s: float = 60.0
    replay_s: float = 5.0
    share: float = 0.2


@dataclass(slots=True)
class SnapshotSchedule:
    """What has happened since the last snapshot of one partition."""

    policy: SnapshotPolicy
    began_s: float
    duration_s: float = 0.0
    records: int = 0
    busy_s: float = 0.0

    def processed(self, records: int, worked_s: float) -> None:
        """Note a batch: its records, and the processor seconds that repeating it would take.

        Not the time that passed: a thread that waits for others, who may be writing snapshots,
        would ask for more snapshots.
        """
        self.records += records
        self.busy_s += worked_s

    def begun(self, now_s: float) -> None:
        """Note that a snapshot of everything so far is being taken."""
        self.began_s, self.records, self.busy_s = now_s, 0, 0.0

    def finished(self, now_s: float) -> None:
        """Note that the snapshot begun last is durable."""
        self.duration_s = now_s - self.began_s

    def due(self, now_s: float) -> bool:
        """Tell whether it is time for a snapshot."""
        since = now_s - self.began_s
        if self.records == 0 or since * self.policy.share < self.duration_s:
            return False
        return since >= self.policy.interval_s or self.busy_s >= self.policy.replay_s


@dataclass(frozen=True, slots=True)
class BacklogPolicy:
    """How much may wait to be scored.

    Attributes:
        records, size: above either, one partition takes no more; size in bytes.
    """

    records: int = 200_000
    size: int = 64 * 2**20


@dataclass(slots=True)
class Backlog:
    """What waits in one partition, and how fast it shrinks.

    Attributes:
        committed, end: next offset to settle; offset that the next appended record will get.
        size: bytes that wait, as far as they came through this process.
    """

    policy: BacklogPolicy
    committed: int = 0
    end: int = 0
    size: int = 0
    records_per_s: float = 0.0
    _reserved: int = 0

    @property
    def records(self) -> int:
        """Records that wait, those on their way into the log included."""
        return max(0, self.end - self.committed) + self._reserved

    def reserve(self, records: int, size: int) -> None:
        """Make room for records about to be appended; `release` gives it back.

        Nothing is refused while nothing waits: a request larger than the bound must pass some
        time.

        Raises:
            Backpressure: too much waits.
        """
        waiting = self.records
        if waiting and (
            waiting + records > self.policy.records or self.size + size > self.policy.size
        ):
            over = max(waiting + records - self.policy.records, waiting // 4)
            wait_s = math.ceil(over / self.records_per_s) if self.records_per_s else 1
            reason = f"{waiting} records of a partition wait to be scored"
            raise Backpressure(min(max(wait_s, 1), 60), reason)
        self._reserved += records
        self.size += size

    def release(self, records: int, size: int, *, appended: bool) -> None:
        """Give reserved room back; what was appended keeps its bytes until it is settled."""
        self._reserved -= records
        if not appended:
            self.size -= size

    def settled(self, committed: int, size: int, seconds: float) -> None:
        """Note a committed batch and the seconds it took."""
        records = committed - self.committed
        self.committed = committed
        self.end = max(self.end, committed)
        self.size = max(0, self.size - size) if self.records else 0
        if seconds > 0 and records > 0:
            rate = records / seconds
            known = self.records_per_s or rate
            self.records_per_s = 0.8 * known + 0.2 * rate


def trim_to(
    retention: int, committed: int, begin: int, pointers: Sequence[Pointer], slack: float = 0.1
) -> int:
    """Return the offset below which input and results of a partition may go; `begin` for none.

    Never above the oldest kept snapshot, from which a restart may have to repeat. Trims in
    steps of `slack` of the retention, because deleting costs a write.
    """
    if len(pointers) < KEPT_POINTERS:
        return begin
    wanted = min(committed - retention, *(pointer.offset for pointer in pointers))
    return wanted if wanted - begin >= slack * retention else begin
