"""One detector per series: create, count, remember which changed since the last snapshot.

A restored series stays asleep as bytes until its first record, or until a new series looks whether
it can begin with what this one has learnt: opening a forest takes milliseconds, and a partition may
hold thousands, most of them idle. What a stream may change
while it runs is handed to a series with its next record, so that its state at an offset depends
on the records before it alone, asleep or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import sha256
from itertools import islice

from service.engine.config import StreamConfig
from service.engine.ports import DetectorFactory, Numbers, Places, SeriesDetector, Storable, Told
from service.engine.series import seed_of

TEACHERS = 4
"""Series at most whose samples a new one begins with, where the stream wants that."""
OLDEST = 64
"""Series of a partition that may be among them: those whose first record came first."""


class _Asleep:
    """A series that nobody needed yet."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = data

    def to_bytes(self) -> bytes:
        """Return the bytes it was restored from."""
        return self._data


class SeriesDetectors:
    """The detectors of one partition, by key, in the order of their first record."""

    def __init__(self, factory: DetectorFactory) -> None:
        self._factory = factory
        self._held: dict[str, SeriesDetector | _Asleep] = {}
        self._outdated: set[str] = set()
        self._before_change: Callable[[str], None] = _nobody_minds
        self._changed: dict[str, None] = {}  # a dict, because its order is repeatable

    def __len__(self) -> int:
        return len(self._held)

    def admit(self, key: str, config: StreamConfig) -> bool:
        """Hold a detector for the key from here on; false when no more series may be held.

        Where new series begin with what others have learnt, all records before the key's first one
        must have been processed.
        """
        if key in self._held:
            return True
        if len(self._held) >= config.max_series:
            return False
        detector = self._factory.create(config, seed_of(config.name, key, config.seed))
        teachers = self._teachers(config) if config.new_series == "shared" else []
        if teachers:
            self._factory.merge(detector, teachers)
        self._held[key] = detector
        self._changed[key] = None  # one of the same name may have been saved before a reset
        return True

    def _teachers(self, config: StreamConfig) -> list[SeriesDetector]:
        """Return the first series that have seen as many records as a tree holds."""
        oldest = (self._awake(key) for key in list(islice(self._held, OLDEST)))
        ripe = (each for each in oldest if each.values_seen >= config.sample_size)
        return list(islice(ripe, TEACHERS))

    def _awake(self, key: str) -> SeriesDetector:
        held = self._held[key]
        if isinstance(held, _Asleep):
            held = self._held[key] = self._factory.restore(held.to_bytes())
        return held

    def __contains__(self, key: str) -> bool:
        return key in self._held

    def process(
        self, keys: list[str], starts: Places, rows: Numbers, times: Numbers, config: StreamConfig
    ) -> Told:
        """Let admitted series judge and learn rows; see `DetectorFactory.process`.

        Raises:
            CorruptSnapshot: no detector wrote the bytes of a series that slept.
        """
        series = [self._for_update(key, config) for key in keys]
        return self._factory.process(series, starts, rows, times, explain=config.explain)

    def _for_update(self, key: str, config: StreamConfig) -> SeriesDetector:
        """Return an admitted series' detector, marked as changed, as the stream wants it."""
        self._before_change(key)
        self._changed[key] = None
        held = self._awake(key)
        if key in self._outdated:
            self._factory.adjust(held, config)
            self._outdated.discard(key)
        return held

    def look_at(self, key: str) -> SeriesDetector | None:
        """Return a series' detector to be asked, not to be changed; None when there is none.

        One that sleeps goes on sleeping: a copy is made of it.

        Raises:
            CorruptSnapshot: no detector wrote the bytes of a series that slept.
        """
        held = self._held.get(key)
        return self._factory.restore(held.to_bytes()) if isinstance(held, _Asleep) else held

    def restore(self, key: str, data: bytes) -> None:
        """Take a series over from its bytes; it counts as unchanged.

        Raises:
            CorruptSnapshot: the bytes are damaged, or no detector wrote them. What a sound seal
                hides is found at once for the first series alone, which is enough to notice
                another format.
        """
        self._factory.verify(data)
        self._held[key] = _Asleep(data) if self._held else self._factory.restore(data)
        self._outdated.add(key)

    def reconfigure(self) -> None:
        """Take note that what a stream may change while it runs has changed."""
        self._outdated.update(self._held)

    def forget_all(self) -> None:
        """Drop every series."""
        self._held.clear()
        self._outdated.clear()
        self._changed.clear()

    def held(self) -> dict[str, Storable]:
        """Return the series held, by key, oldest first."""
        return dict(self._held)

    def changed(self) -> list[str]:
        """Return the series that changed since `mark_saved`."""
        return list(self._changed)

    def mark_saved(self, before_change: Callable[[str], None]) -> None:
        """Count every series as unchanged from here on.

        Args:
            before_change: called with a key before its detector changes, until the next call.
        """
        self._changed.clear()
        self._before_change = before_change

    def mark_changed(self, keys: Iterable[str]) -> None:
        """Count series as changed again, because saving them failed; unknown keys are ignored."""
        self._changed.update((key, None) for key in keys if key in self._held)

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of every series' bytes, as hex text."""
        return {key: sha256(held.to_bytes()).hexdigest() for key, held in self._held.items()}


def _nobody_minds(key: str) -> None:
    """Let a series change."""
