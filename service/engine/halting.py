"""Where a partition halts because too many of its records become dead letters.

A producer that changed its format would otherwise empty a topic into the dead letters. Law: where
a partition halts is a function of its records and configurations alone, so that every restart
halts at the same offset. That it may go on is told by any control record behind that offset: it
is looked for in the log and stays where it stands, so that this too outlives every process.
"""

from __future__ import annotations

from collections import deque

import msgspec

from service.engine.config import StreamConfig
from service.engine.records import Batch

WINDOW = 1000
"""Records of a partition over which the share of dead letters is taken."""


class Halt(msgspec.Struct, frozen=True):
    """A partition stands still.

    Attributes:
        offset: of the last record that was settled, a dead letter.
        reason: which limit it met.
    """

    offset: int
    reason: str


class DeadLetterCount(msgspec.Struct, frozen=True):
    """What a snapshot keeps of the count.

    Attributes:
        records: data records counted.
        recent: which of them became dead letters: numbers, oldest first; the last WINDOW at least.
        run: dead letters in a row, up to the newest of `recent`.
        halt: why and where the partition stands still, if it does.
    """

    records: int = 0
    recent: tuple[int, ...] = ()
    run: int = 0
    halt: Halt | None = None


NOTHING_COUNTED = DeadLetterCount()


class DeadLetterLimit:
    """Counts one partition's dead letters, and says when they are too many.

    Records that did not come yet count as good ones: a first record that is dead is one of
    WINDOW. The count begins afresh after a halt and after every change of the configuration.
    """

    def __init__(self, count: DeadLetterCount = NOTHING_COUNTED) -> None:
        self.halt = count.halt
        self._records = count.records
        self._recent = deque(count.recent)
        self._run = count.run

    def count(self) -> DeadLetterCount:
        """Return what `DeadLetterLimit` needs to go on from here."""
        return DeadLetterCount(self._records, tuple(self._recent), self._run, self.halt)

    def reset(self) -> None:
        """Begin to count afresh."""
        self._records = self._run = 0
        self._recent.clear()

    def resume(self) -> None:
        """Let the partition go on."""
        self.halt = None

    def advance(self, records: int) -> None:
        """Note so many records, those that `reject` numbered among them."""
        self._records += records

    def reject(self, index: int, offset: int, config: StreamConfig) -> bool:
        """Note a dead letter; tell whether the partition halts at it.

        Args:
            index: its number among the records since the last `advance`.
            offset: its place in the log.
            config: holds the limits.
        """
        number, recent = self._records + index, self._recent
        self._run = self._run + 1 if recent and recent[-1] == number - 1 else 1
        recent.append(number)
        while recent[0] <= number - WINDOW:
            recent.popleft()
        reason = self._met(config)
        if reason is None:
            return False
        self.halt = Halt(offset, reason)
        self.reset()
        return True

    def _met(self, config: StreamConfig) -> str | None:
        share, run = config.dead_letter_share, config.dead_letter_run
        if share and len(self._recent) > round(share * WINDOW, 6):
            dead = f"{len(self._recent)} of the last {WINDOW} records became dead letters"
            return f"{dead} (dead_letter_share = {share:g})"
        if run and self._run >= run:
            return f"{self._run} records in a row became dead letters (dead_letter_run = {run})"
        return None


class LookAhead:
    """Looks behind a halt for a control record, without processing what it passes.

    What was seen once is not read again: a later halt before the same control record goes on at
    once, and waiting costs only what is appended meanwhile.
    """

    def __init__(self) -> None:
        self._control = -1
        self._looked = 0

    def next_offset(self, halt: Halt) -> int:
        """Return where to look next."""
        return max(self._looked, halt.offset + 1)

    def see(self, batch: Batch) -> None:
        """Take note of records from `next_offset` on."""
        self._looked = batch.next_offset
        controls = [record.offset for record in batch.records if record.control]
        if controls:
            self._control = controls[-1]

    def permits(self, halt: Halt) -> bool:
        """Tell whether a control record stands behind the halt."""
        return self._control > halt.offset
