"""One detector per series: create, count, remember which changed since the last snapshot."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

from service.engine.config import StreamConfig
from service.engine.ports import DetectorFactory, SeriesDetector
from service.engine.series import seed_of


class SeriesDetectors:
    """The detectors of one partition, by key, in the order of their first record."""

    def __init__(self, factory: DetectorFactory) -> None:
        self._factory = factory
        self._held: dict[str, SeriesDetector] = {}
        self._changed: dict[str, None] = {}  # a dict, because its order is repeatable

    def __len__(self) -> int:
        return len(self._held)

    def admit(self, key: str, config: StreamConfig) -> bool:
        """Hold a detector for the key from here on; false when no more series may be held."""
        if key in self._held:
            return True
        if len(self._held) >= config.max_series:
            return False
        self._held[key] = self._factory.create(config, seed_of(config.name, key, config.seed))
        return True

    def for_update(self, key: str) -> SeriesDetector:
        """Return an admitted series' detector, marked as changed."""
        self._changed[key] = None
        return self._held[key]

    def restore(self, key: str, data: bytes) -> None:
        """Take a series over from its bytes; it counts as unchanged."""
        self._held[key] = self._factory.restore(data)

    def forget_all(self) -> None:
        """Drop every series."""
        self._held.clear()
        self._changed.clear()

    def keys(self) -> list[str]:
        """Return the series held, oldest first."""
        return list(self._held)

    def changed(self) -> list[str]:
        """Return the series that changed since `mark_saved`."""
        return list(self._changed)

    def mark_saved(self) -> None:
        """Count every series as unchanged from here on."""
        self._changed.clear()

    def mark_changed(self, keys: Iterable[str]) -> None:
        """Count series as changed again, because saving them failed; unknown keys are ignored."""
        self._changed.update((key, None) for key in keys if key in self._held)

    def to_bytes(self, key: str) -> bytes:
        """Return one series' bytes."""
        return self._held[key].to_bytes()

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of every series' bytes, as hex text."""
        return {key: sha256(held.to_bytes()).hexdigest() for key, held in self._held.items()}
