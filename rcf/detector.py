"""One series: shingle, forest and threshold. A record goes in, a judgement comes out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rcf import flat, state, threshold
from rcf.arguments import as_rows, real
from rcf.flat import Tolerance, guard_rows
from rcf.forest import Forest
from rcf.score import NAMES
from rcf.state import F64
from rcf.threshold import Rule, judge_rows, scale_for

_SCORES = {number: name for name, number in NAMES.items()}

_SCORE_MEMORY = 0.01  # AWS's default


class Judgements(NamedTuple):
    """What a detector says of records, one item each; NaN while warming.

    Attributes:
        score: float64 (n,), the forest's number, unbounded.
        threshold: float64 (n,), the score from which on the grade was above 0.
        grade: float64 (n,), in [0, 1]; above 0 the record is an anomaly.
    """

    score: F64
    threshold: F64
    grade: F64


class Detector:
    """A forest with a dynamic threshold: decides which records of one series are anomalies.

    Args:
        features: Values a record.
        shingle_size: Records a point.
        trees: Trees.
        sample_size: Points a tree.
        time_decay: Rate per point at which sampled points lose weight; None: 1 / (10 sample_size).
        score: "codisp", "disp" or "depth".
        output_after: Points to learn before the first judgement; None: see `rcf.Forest`.
        initial_accept_fraction: See `rcf.Forest`.
        z_factor: Deviations above the mean score that make the threshold, 2 to 100. Larger: fewer
            anomalies.
        anomaly_rate: Share of records expected to begin an anomaly in the long run, above 0 and up
            to 0.5. Smaller: fewer anomalies.
        lower_threshold: Scores below it, on the scale of inverse depth, are never anomalies; 0.1
            to 10.
        ignore_relative: In a flat series, changes up to this share of the level are no anomalies;
            0 to 1.
        ignore_absolute: The same in the unit of the feature, 0 to 1e30.
        seed: 0 to 2^64 - 1.

    Raises:
        InvalidParameter: A parameter is outside what is allowed.
    """

    SETTINGS = 5  #: numbers that configure threshold and guard

    def __init__(
        self,
        features: int = 1,
        *,
        shingle_size: int = 1,
        trees: int = 50,
        sample_size: int = 256,
        time_decay: float | None = None,
        score: str = "codisp",
        output_after: int | None = None,
        initial_accept_fraction: float = 0.125,
        z_factor: float = 3.0,
        anomaly_rate: float = 0.001,
        lower_threshold: float = 0.8,
        ignore_relative: float = 1e-3,
        ignore_absolute: float = 1e-12,
        seed: int = 0,
    ) -> None:
        self._forest = Forest(
            features,
            shingle_size=shingle_size,
            trees=trees,
            sample_size=sample_size,
            time_decay=time_decay,
            score=score,
            output_after=output_after,
            initial_accept_fraction=initial_accept_fraction,
            seed=seed,
        )
        self._settings = np.array(
            [
                real("z_factor", z_factor, 2.0, 100.0),
                real("anomaly_rate", anomaly_rate, 1e-9, 0.5),
                real("lower_threshold", lower_threshold, 0.1, 10.0),
                real("ignore_relative", ignore_relative, 0.0, 1.0),
                real("ignore_absolute", ignore_absolute, 0.0, 1e30),
            ]
        )
        self._threshold = np.zeros(threshold.WORDS)
        self._flat = np.zeros(flat.WORDS * features)

    def process(self, values: ArrayLike) -> Judgements:
        """Judge each record, then learn it.

        Args:
            values: (n, features) in the order of the series; (n,) does for one feature, (features,)
                for one record of several.

        Raises:
            InvalidParameter: A value is no finite float32 or the shape is wrong; nothing is learnt.
        """
        rows = as_rows(values, self._forest.features)
        scores = self._forest.process(rows)
        return self._judge(rows, scores, self._threshold, self._flat)

    def score(self, values: ArrayLike) -> Judgements:
        """Judge records as `process` would, were nothing learnt; nothing changes."""
        rows = as_rows(values, self._forest.features)
        scores = self._forest.score(rows)
        return self._judge(rows, scores, self._threshold.copy(), self._flat.copy())

    def _judge(self, rows: F64, scores: F64, level: F64, still: F64) -> Judgements:
        thresholds, grades = np.empty_like(scores), np.empty_like(scores)
        judge_rows(level, self._rule(), scores, thresholds, grades)
        guard_rows(still, Tolerance(*self._settings[3:5].tolist()), rows, grades)
        return Judgements(scores, thresholds, grades)

    def _rule(self) -> Rule:
        header = state.header_of(self._forest.block)
        offset, scale = scale_for(_SCORES[int(header[state.SCORE])], int(header[state.SAMPLE]))
        z_factor, anomaly_rate, lower_threshold = self._settings[:3].tolist()
        return Rule(
            decay=self._forest.time_decay,
            memory=_SCORE_MEMORY,
            anomaly_rate=anomaly_rate,
            z_factor=z_factor,
            lower_threshold=lower_threshold,
            initial_threshold=1.5,
            shingle_size=int(header[state.SHINGLE]),
            normalized=False,
            offset=offset,
            scale=scale,
        )

    @property
    def forest(self) -> Forest:
        """The forest inside."""
        return self._forest

    @property
    def values_seen(self) -> int:
        """Records learnt so far."""
        return self._forest.records_seen

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the state takes."""
        return self._forest.nbytes + self._threshold.nbytes + self._flat.nbytes

    def parts(self) -> tuple[F64, F64, F64]:
        """(settings, state of the threshold, state of the guard), for snapshots."""
        return self._settings, self._threshold, self._flat

    @classmethod
    def of_parts(cls, forest: Forest, settings: F64, level: F64, still: F64) -> Detector:
        """A detector around its parts, which it then owns."""
        detector = cls.__new__(cls)
        detector._forest = forest
        detector._settings = settings
        detector._threshold = level
        detector._flat = still
        return detector

    def to_bytes(self) -> bytes:
        """Versioned, checksummed bytes from which `from_bytes` continues bit for bit."""
        from rcf.snapshot import detector_to_bytes

        return detector_to_bytes(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> Detector:
        """Restore a detector.

        Raises:
            SnapshotError: The bytes are damaged, cut short, or of an unknown version.
        """
        from rcf.snapshot import detector_from_bytes

        return detector_from_bytes(data)
