"""A detector whose judgements are its values: each record says what it shall be graded."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from service.adapters.codec import JsonDecoder
from service.engine.alerting import Alerting
from service.engine.config import StreamConfig
from service.engine.detectors import SeriesDetectors
from service.engine.pipeline import Pipeline
from service.engine.records import Record, StreamPartition
from tests.engine.fakes import FakeFactory

P0 = StreamPartition("s", 0)


class GradedDetector:
    """Grades a record by its first value, expects 10 of each; nothing is learnt.

    A value below 0 is held back as part of an event that was said, in `cool_down`.
    """

    def process(self, values: np.ndarray, times: np.ndarray, *, explain: str) -> SimpleNamespace:
        grade = np.clip(values[:, 0], 0.0, 1.0)
        judgements = SimpleNamespace(
            score=np.abs(values[:, 0]) * 100,
            threshold=np.full(len(values), 1.0),
            grade=grade,
            confidence=grade,
            held_back=(values[:, 0] < 0).astype(np.int64),
            started=np.where(values[:, 0] != 0, times, np.nan),
        )
        ten = np.full(values.shape, 10.0)
        return SimpleNamespace(
            judgements=judgements,
            forecast=SimpleNamespace(expected=ten, lower=ten, upper=ten),
            values=values,
            imputed=np.zeros(len(values), np.bool_),
            reasons={},
        )

    def to_bytes(self) -> bytes:
        return b"graded"


class GradedFactory(FakeFactory):
    """Makes `GradedDetector`s."""

    def create(self, config: StreamConfig, seed: int) -> GradedDetector:
        return GradedDetector()

    def verify(self, data: bytes) -> None:
        pass

    def restore(self, data: bytes) -> GradedDetector:
        return GradedDetector()

    def adjust(self, detector: GradedDetector, config: StreamConfig) -> None:
        pass


def record(offset: int, grade: float, key: str = "k", time_ms: int | None = None) -> Record:
    """A record of that grade; a second for every offset unless a time is given."""
    return Record(offset, offset * 1000 if time_ms is None else time_ms, key, b"%f" % grade)


def pipeline(config: StreamConfig, alerting: Alerting | None = None, at: int = 0) -> Pipeline:
    """A pipeline over graded detectors."""
    detectors = SeriesDetectors(GradedFactory())
    return Pipeline(P0, config, detectors, JsonDecoder, at, alerting=alerting)
