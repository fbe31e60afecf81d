"""`rcf.Series` behind the engine's `DetectorFactory`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import rcf
from service.engine.config import StreamConfig
from service.engine.errors import CorruptSnapshot
from service.engine.ports import Numbers, Places, SeriesDetector

COVERAGE = 0.9
"""Share of values that the band of a forecast is to hold."""


class ForestFactory:
    """Makes series of the library `rcf`."""

    def create(self, config: StreamConfig, seed: int) -> SeriesDetector:
        """Make a detector that has seen nothing; see the port."""
        detector = rcf.Detector(
            features=len(config.features),
            transform=config.transform,
            weights=config.weights,
            time_weight=config.time_weight,
            shingle_size=config.shingle_size,
            smoothing=config.smoothing,
            trees=config.trees,
            sample_size=config.sample_size,
            score=config.score,
            seed=seed,
            time_decay=config.time_decay,
            output_after=config.output_after,
            threshold=config.threshold,
            level=config.threshold_level,
            cool_down=config.cool_down,
            budget=config.alert_budget,
            window=config.alert_budget_s,
            multi_mode=config.multi_mode,
        )
        return rcf.Series(detector, **_settings(config))

    def merge(self, series: rcf.Series, others: Sequence[rcf.Series]) -> None:
        """Let a series' forests have the samples of others' too; see the port."""
        series.detector.merge(*(other.detector for other in others))

    def verify(self, data: bytes) -> None:
        """Find out whether stored bytes are what their seal says; see the port."""
        try:
            rcf.Series.verify(data)
        except rcf.SnapshotError as error:
            raise CorruptSnapshot("detector", str(error)) from error

    def restore(self, data: bytes) -> SeriesDetector:
        """Make the detector that wrote these bytes; see the port."""
        try:
            return rcf.Series.from_bytes(data)
        except rcf.SnapshotError as error:
            raise CorruptSnapshot("detector", str(error)) from error

    def adjust(self, series: rcf.Series, config: StreamConfig) -> None:
        """Set time decay, forecast, gaps, learning and all that sets thresholds; see the port."""
        series.adjust(**_settings(config))
        series.detector.set_time_decay(config.time_decay)
        series.detector.set_threshold(
            config.threshold,
            level=config.threshold_level,
            cool_down=config.cool_down,
            budget=config.alert_budget,
            window=config.alert_budget_s,
            multi_mode=config.multi_mode,
        )

    def process(
        self,
        series: Sequence[rcf.Series],
        starts: Places,
        values: Numbers,
        times: Numbers,
        *,
        explain: str,
    ) -> rcf.Told:
        """Let series judge and learn; see the port."""
        return rcf.Series.process_together(series, starts, values, times, explain=explain)


def _settings(config: StreamConfig) -> dict[str, Any]:
    return {
        "coverage": COVERAGE if config.forecast else None,
        "missing": config.missing,
        "fill": config.fill,
        "learning": config.learning,
    }
