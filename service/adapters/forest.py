"""`rcf.Detector` behind the engine's `DetectorFactory`."""

from __future__ import annotations

import rcf
from service.engine.config import StreamConfig
from service.engine.errors import CorruptSnapshot
from service.engine.ports import SeriesDetector


class ForestFactory:
    """Makes detectors of the library `rcf`."""

    def create(self, config: StreamConfig, seed: int) -> SeriesDetector:
        """Make a detector that has seen nothing; see the port."""
        return rcf.Detector(
            features=len(config.features),
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
        )

    def restore(self, data: bytes) -> SeriesDetector:
        """Make the detector that wrote these bytes; see the port."""
        try:
            return rcf.Detector.from_bytes(data)
        except rcf.SnapshotError as error:
            raise CorruptSnapshot("detector", str(error)) from error

    def adjust(self, detector: rcf.Detector, config: StreamConfig) -> None:
        """Set the time decay and all that sets thresholds; see the port."""
        detector.set_time_decay(config.time_decay)
        detector.set_threshold(
            config.threshold,
            level=config.threshold_level,
            cool_down=config.cool_down,
            budget=config.alert_budget,
            window=config.alert_budget_s,
        )
