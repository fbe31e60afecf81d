"""All that is learnt of one series: a detector, a forecaster, and what to do about gaps."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rcf.arguments import as_rows_with_gaps, as_times, refuse_value
from rcf.detector import Detector, Judgements
from rcf.errors import InvalidParameter
from rcf.forecaster import Forecaster
from rcf.forest import Forecast
from rcf.gaps import METHODS, fixed_values
from rcf.shares import Shares
from rcf.state import F64

#: Of which records a series may say why.
EXPLAIN = ("none", "anomalies", "all")


class Told(NamedTuple):
    """What is said of records.

    Attributes:
        judgements: What the detector says.
        forecast: What was expected before each record was seen; None without a forecaster.
        values: float64 (n, features), the records as they were judged, gaps filled.
        imputed: bool (n,), whether a record had a gap.
        reasons: Why, by row, of those of which it is said: attributions that sum to the score.
    """

    judgements: Judgements
    forecast: Forecast | None
    values: F64
    imputed: NDArray[np.bool_]
    reasons: dict[int, Shares]


class Series:
    """Judges each record, says what was expected, and fills what is missing.

    A record of which every value is missing is judged by what stands in its place, and not learnt
    by the forest.

    Args:
        detector: Decides which records are anomalies; the series owns it from here on.
        coverage: Share of values that the band is to hold (see `rcf.Forecaster`); None: nothing is
            forecast.
        missing: What stands in the place of a missing value, one of `rcf.gaps.METHODS`.
        fill: (features,), the values of the method "fixed"; None for the other methods.
        learning: Whether the forest learns; threshold and forecasts follow the series even where
            it does not.

    Raises:
        InvalidParameter: A parameter is outside what is allowed, or "forecast" is to fill gaps
            where nothing is forecast.
    """

    def __init__(
        self,
        detector: Detector,
        *,
        coverage: float | None = None,
        missing: str = "refuse",
        fill: ArrayLike | None = None,
        learning: bool = True,
    ) -> None:
        self._detector = detector
        self._last = np.zeros(detector.forest.features)
        self._forecaster: Forecaster | None = None
        self.adjust(coverage=coverage, missing=missing, fill=fill, learning=learning)

    def adjust(
        self,
        *,
        coverage: float | None,
        missing: str,
        fill: ArrayLike | None = None,
        learning: bool = True,
    ) -> None:
        """Go on with other settings; arguments and errors as for the class.

        A forecaster that is asked for where there was none begins with the next record.
        """
        if missing not in METHODS:
            raise InvalidParameter("missing", missing, ", ".join(METHODS))
        if missing == "forecast" and coverage is None:
            raise InvalidParameter("missing", missing, "given with a coverage: it needs forecasts")
        features = self._detector.forest.features
        values = fixed_values(fill, features) if missing == "fixed" else np.zeros(features)
        if coverage is None:
            self._forecaster = None
        elif self._forecaster is None:
            self._forecaster = Forecaster(features, coverage=coverage)
        else:
            self._forecaster.set_coverage(coverage)
        self._missing, self._fill, self._learning = missing, values, learning

    # --- what it does ---------------------------------------------------------------------------

    def process(
        self, values: ArrayLike, times: ArrayLike | None = None, *, explain: str = "none"
    ) -> Told:
        """Judge each record, then learn it.

        Args:
            values: (n, features) in the order of the series; NaN where a value is missing.
            times: (n,), when the records were; as for `rcf.Detector.process`.
            explain: Of which records to say why: "none", "anomalies", or "all" that have a score.

        Raises:
            InvalidParameter: A value is infinite or too large, one is missing where that is
                refused, or the shape is wrong; nothing is learnt.
        """
        if explain not in EXPLAIN:
            raise InvalidParameter("explain", explain, ", ".join(EXPLAIN))
        rows = as_rows_with_gaps(values, len(self._last))
        when = None if times is None else as_times(times, len(rows))
        gaps = np.isnan(rows)
        imputed: NDArray[np.bool_] = np.any(gaps, axis=1)
        if self._missing == "refuse" and imputed.any():
            refuse_value(rows, int(np.flatnonzero(gaps)[0]))
        if not imputed.any():
            return self._process(rows, when, gaps, imputed, explain)
        rows = rows.copy()
        parts = []
        for start, stop in _runs(imputed):
            part = slice(start, stop)
            if imputed[start]:
                rows[part] = self._complete(rows[part], gaps[part])
            clock = None if when is None else when[part]
            parts.append(self._process(rows[part], clock, gaps[part], imputed[part], explain))
        return _joined(parts)

    def forecast(self, horizon: int) -> Forecast:
        """What the next records are expected to be; nothing changes.

        Raises:
            InvalidParameter: Nothing is forecast here, or the horizon is outside its range.
        """
        if self._forecaster is None:
            raise InvalidParameter("horizon", horizon, "asked of a series with a coverage")
        return self._forecaster.forecast(horizon)

    def _process(
        self,
        rows: F64,
        times: F64 | None,
        gaps: NDArray[np.bool_],
        imputed: NDArray[np.bool_],
        explain: str,
    ) -> Told:
        learn = self._learning and not (gaps.size and gaps.all())
        reasons: dict[int, Shares] = {}
        if explain == "none":
            judgements = self._detector.process(rows, times, learn=learn)
        else:
            judgements, reasons = self._detector.process_explained(
                rows, times, learn=learn, every=explain == "all"
            )
        forecast = None
        if self._forecaster is not None:
            forecast = self._forecaster.process(rows, known=~gaps)
        if len(rows):
            self._last = rows[-1].copy()
        return Told(judgements, forecast, rows, imputed, reasons)

    def _complete(self, row: F64, gaps: NDArray[np.bool_]) -> F64:
        """One record with its gaps filled, float64 (1, features)."""
        stands = self._stand_in(row)
        return np.where(gaps, np.where(np.isnan(stands), self._last, stands), row)

    def _stand_in(self, row: F64) -> F64:
        if self._missing == "forest":
            return self._detector.forest.impute(row)
        if self._missing == "forecast" and self._forecaster is not None:
            return self._forecaster.forecast(1).expected
        return self._last if self._missing == "previous" else self._fill

    # --- what it is -----------------------------------------------------------------------------

    @property
    def detector(self) -> Detector:
        """What decides which records are anomalies."""
        return self._detector

    @property
    def forecaster(self) -> Forecaster | None:
        """What says what is expected, if anything does."""
        return self._forecaster

    @property
    def missing(self) -> str:
        """What stands in the place of a missing value."""
        return self._missing

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the state takes."""
        return self._detector.nbytes + (self._forecaster.nbytes if self._forecaster else 0)

    @property
    def learning(self) -> bool:
        """Whether the forest learns."""
        return self._learning

    def parts(self) -> tuple[F64, F64]:
        """(values of "fixed", last record), for snapshots."""
        return self._fill, self._last

    @classmethod
    def of_parts(
        cls,
        detector: Detector,
        forecaster: Forecaster | None,
        missing: str,
        fill: F64,
        last: F64,
        learning: bool,
    ) -> Series:
        """A series around its parts, which it then owns."""
        series = cls.__new__(cls)
        series._detector, series._forecaster = detector, forecaster
        series._missing, series._fill, series._last = missing, fill, last
        series._learning = learning
        return series

    def to_bytes(self) -> bytes:
        """Versioned, checksummed bytes from which `from_bytes` continues bit for bit."""
        from rcf.snapshot import series_to_bytes

        return series_to_bytes(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> Series:
        """Restore a series.

        Raises:
            SnapshotError: The bytes are damaged, cut short, or of an unknown version.
        """
        from rcf.snapshot import series_from_bytes

        return series_from_bytes(data)


def _runs(imputed: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(start, stop) of stretches without a gap, and of each record with one by itself."""
    at = np.flatnonzero(imputed).tolist()
    edges = sorted({0, len(imputed), *at, *(place + 1 for place in at)})
    return list(pairwise(edges))


def _joined(parts: list[Told]) -> Told:
    """What is said of parts, as of one."""
    judgements = Judgements(
        *(np.concatenate(each) for each in zip(*(part.judgements for part in parts), strict=True))
    )
    forecasts = [part.forecast for part in parts if part.forecast is not None]
    forecast = None
    if forecasts:
        forecast = Forecast(*(np.concatenate(each) for each in zip(*forecasts, strict=True)))
    reasons: dict[int, Shares] = {}
    start = 0
    for part in parts:
        reasons |= {start + row: shares for row, shares in part.reasons.items()}
        start += len(part.values)
    return Told(
        judgements,
        forecast,
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.imputed for part in parts]),
        reasons,
    )
