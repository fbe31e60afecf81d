"""A detector small enough to reason about, with the shape of `rcf.Detector`."""

from __future__ import annotations

import struct
from itertools import pairwise
from types import SimpleNamespace

import numpy as np

from service.engine.config import StreamConfig
from service.engine.errors import CorruptSnapshot

MASK = 2**64 - 1


class FakeDetector:
    """Judges by a state that every earlier value and a generator's draws went into."""

    BYTES = 232  #: what `to_bytes` makes

    def __init__(self, state: int, seen: int, warm: int) -> None:
        self.state, self.seen, self.warm = state, seen, warm
        self.decay = 0.0

    def process(self, values: np.ndarray, times: np.ndarray, *, explain: str) -> SimpleNamespace:
        rows = len(values)
        score, threshold, grade = (np.full(rows, np.nan) for _ in range(3))
        for index, row in enumerate(values):
            if self.seen >= self.warm:
                score[index] = (self.state >> 11) / 2**53
                threshold[index] = 0.9
                grade[index] = max(0.0, (score[index] - 0.9) * 10)
            self.state = (self.state * 6364136223846793005 + 1442695040888963407) & MASK
            for value in row:
                self.state ^= int.from_bytes(struct.pack("<d", value), "little")
                self.state = (self.state * 0x9E3779B97F4A7C15 + 1) & MASK
            self.state ^= int(self.decay * 2**32)
            self.seen += 1
        judged = SimpleNamespace(
            score=score,
            threshold=threshold,
            grade=grade,
            confidence=score,
            held_back=np.zeros(rows, np.int64),
            started=np.where(grade > 0, times, np.nan),
        )
        named = {"all": ~np.isnan(score), "anomalies": grade > 0, "none": score < -1}[explain]
        return SimpleNamespace(
            judgements=judged,
            forecast=None,
            values=values,
            imputed=np.isnan(values).any(axis=1),
            reasons={
                row: SimpleNamespace(
                    high=np.abs(values[row]).reshape(1, 1, -1),
                    low=np.zeros((1, 1, values.shape[1])),
                )
                for row in np.flatnonzero(named).tolist()
            },
        )

    @property
    def detector(self) -> FakeDetector:
        return self

    @property
    def values_seen(self) -> int:
        return self.seen

    def forecast(self, horizon: int) -> SimpleNamespace:
        """Grows from 1 on, give or take one half; nothing is known before the first record."""
        ahead = np.arange(1.0, horizon + 1).reshape(-1, 1) + (0 if self.seen else np.nan)
        return SimpleNamespace(expected=ahead, lower=ahead - 0.5, upper=ahead + 0.5)

    @property
    def forest(self) -> FakeDetector:
        return self

    def attribution(self, values: np.ndarray) -> list[SimpleNamespace]:
        """As the density, one for each row."""
        return [self.density(values[row : row + 1]) for row in range(len(values))]

    def density(self, values: np.ndarray) -> SimpleNamespace:
        """Half above, half below, over one lag."""
        half = np.abs(values).reshape(len(values), 1, -1) / 2
        total = (
            np.abs(values).sum(axis=1) if self.seen >= self.warm else np.full(len(values), np.nan)
        )
        return SimpleNamespace(total=total, high=half, low=half)

    distance = density

    def near_neighbours(self, values: np.ndarray, distance: float) -> list[list[SimpleNamespace]]:
        near = SimpleNamespace(distance=0.5, trees=3, point=values, ago=(self.seen, None))
        return [[near] if near.distance < distance else []]

    def hotspots(self, window: int, radius: float, least: int) -> list[SimpleNamespace]:
        edge = np.array([float(self.seen)])
        return [
            SimpleNamespace(
                density=radius, low=-edge, high=edge, records=least, holds=lambda _v, _r: True
            )
        ]

    def newest(self) -> np.ndarray:
        return np.zeros(1)

    def to_bytes(self) -> bytes:
        return struct.pack("<QQQd", self.state, self.seen, self.warm, self.decay) + bytes(200)


def joined(parts: list[SimpleNamespace]) -> SimpleNamespace:
    """What several detectors say, as if one had said it."""
    judged = [vars(part.judgements) for part in parts]
    forecasts = [part.forecast for part in parts]
    sides = ("expected", "lower", "upper")
    reasons, row = {}, 0
    for part in parts:
        reasons |= {row + at: why for at, why in part.reasons.items()}
        row += len(part.values)
    return SimpleNamespace(
        judgements=SimpleNamespace(
            **{name: np.concatenate([each[name] for each in judged]) for name in judged[0]}
        ),
        forecast=None
        if forecasts[0] is None
        else SimpleNamespace(
            **{side: np.concatenate([getattr(each, side) for each in forecasts]) for side in sides}
        ),
        values=np.concatenate([part.values for part in parts]),
        imputed=np.concatenate([part.imputed for part in parts]),
        reasons=reasons,
    )


class FakeFactory:
    """Makes `FakeDetector`s."""

    def process(self, detectors, starts, values, times, *, explain: str) -> SimpleNamespace:
        """One after the other."""
        spans = [slice(*span) for span in pairwise(starts.tolist())]
        return joined(
            [
                detector.process(values[span], times[span], explain=explain)
                for detector, span in zip(detectors, spans, strict=True)
            ]
        )

    def create(self, config: StreamConfig, seed: int) -> FakeDetector:
        detector = FakeDetector(seed, 0, config.output_after or config.shingle_size)
        self.adjust(detector, config)
        return detector

    def merge(self, detector: FakeDetector, others: list[FakeDetector]) -> None:
        """Mix the others' states in."""
        assert others and detector not in others
        detector.state = hash((detector.state, *(other.state for other in others))) % 2**64

    def verify(self, data: bytes) -> None:
        if len(data) != FakeDetector.BYTES or any(data[32:]):
            raise CorruptSnapshot("fake", "no detector wrote these bytes")

    def restore(self, data: bytes) -> FakeDetector:
        *numbers, decay = struct.unpack("<QQQd", data[:32])
        detector = FakeDetector(*numbers)
        detector.decay = decay
        return detector

    def adjust(self, detector: FakeDetector, config: StreamConfig) -> None:
        detector.decay = config.time_decay or 0.0


class NoMetrics:
    """Takes every report and forgets it."""

    def __getattr__(self, name: str):
        return lambda *args, **kwargs: None
