"""All that is learnt of one series: a detector, a forecaster, and what to do about gaps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rcf.arguments import as_rows_with_gaps, as_starts, as_times, refuse_value
from rcf.detector import Detector
from rcf.errors import InvalidParameter
from rcf.forecaster import Forecaster
from rcf.forest import Forecast
from rcf.gaps import METHODS, fixed_values
from rcf.judge import Judgements
from rcf.shares import Shares
from rcf.state import F64, I64


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
        self._last = np.zeros(detector.features)
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
        features = self._detector.features
        values = fixed_values(fill, features) if missing == "fixed" else np.zeros(features)
        if coverage is None:
            self._forecaster = None
        elif self._forecaster is None:
            self._forecaster = Forecaster(features, coverage=coverage)
        else:
            self._forecaster.set_coverage(coverage)
        self._missing, self._fill, self._learning = missing, values, learning
        self._kind = (missing, values.tobytes(), coverage, learning)

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
        rows = as_rows_with_gaps(values, len(self._last))
        when = None if times is None else as_times(times, len(rows))
        return self._together([self], np.array([0, len(rows)]), rows, when, explain)

    @classmethod
    def process_together(
        cls,
        series: Sequence[Series],
        starts: ArrayLike,
        values: ArrayLike,
        times: ArrayLike | None = None,
        *,
        explain: str = "none",
    ) -> Told:
        """`process` of many series at once, bit for bit.

        Where each has few records this saves most of the time: a call takes as long as some records
        do.

        Args:
            series: Of one kind: the same arguments, and detectors that differ in their seed alone.
                At least one, none twice.
            starts: whole numbers (series + 1,), where the records of each begin, from 0 on, and
                their number; each has some.
            values: (n, features), as for `process`.
            times: (n,), as for `process`.
            explain: As for `process`.

        Returns:
            What is said of all records.

        Raises:
            InvalidParameter: As `process`, or the series differ; nothing is learnt.
        """
        if not series or len(set(map(id, series))) < len(series):
            raise InvalidParameter("series", f"{len(series)} series", "at least one, none twice")
        if any(each._kind != series[0]._kind for each in series):
            raise InvalidParameter("series", "of several kinds", "of one kind")
        rows = as_rows_with_gaps(values, len(series[0]._last))
        when = None if times is None else as_times(times, len(rows))
        parts = as_starts(starts, len(series), len(rows))
        return cls._together(series, parts, rows, when, explain)

    @classmethod
    def _together(
        cls, series: Sequence[Series], starts: I64, rows: F64, times: F64 | None, explain: str
    ) -> Told:
        gaps = np.isnan(rows)
        if not gaps.any():
            return cls._process(series, starts, rows, times, None, explain)
        if series[0]._missing == "refuse":
            refuse_value(rows, int(np.flatnonzero(gaps)[0]))
        # Stretches are learnt one after the other, so what any of them refuses is refused first.
        Detector.check_together([each._detector for each in series], times, explain)
        imputed: NDArray[np.bool_] = np.any(gaps, axis=1)
        rows, parts = rows.copy(), []
        for start, stop in _stretches(imputed):
            first = int(np.searchsorted(starts, start, side="right")) - 1
            last = int(np.searchsorted(starts, stop))
            ends = np.clip(starts[first : last + 1], start, stop) - start
            stretch = slice(start, stop)
            clock = None if times is None else times[stretch]
            if imputed[start]:
                rows[stretch] = series[first]._complete(rows[stretch], gaps[stretch])
            part = cls._process(
                series[first:last], ends, rows[stretch], clock, gaps[stretch], explain
            )
            parts.append(part)
        return _joined(parts)

    def forecast(self, horizon: int) -> Forecast:
        """What the next records are expected to be; nothing changes.

        Raises:
            InvalidParameter: Nothing is forecast here, or the horizon is outside its range.
        """
        if self._forecaster is None:
            raise InvalidParameter("horizon", horizon, "asked of a series with a coverage")
        return self._forecaster.forecast(horizon)

    @staticmethod
    def _process(
        series: Sequence[Series],
        starts: I64,
        rows: F64,
        times: F64 | None,
        gaps: NDArray[np.bool_] | None,
        explain: str,
    ) -> Told:
        """Judge and learn rows without gaps; `gaps`: which values were imputed, None for none."""
        one, imputed = series[0], np.zeros(len(rows), np.bool_)
        learn = one._learning
        if gaps is not None:
            imputed = np.any(gaps, axis=1)
            learn = learn and not (gaps.size and gaps.all())
        judgements, reasons = Detector.process_together(
            [each._detector for each in series], starts, rows, times, explain=explain, learn=learn
        )
        forecast = None
        if one._forecaster is not None:
            forecasters = [each._forecaster for each in series if each._forecaster is not None]
            known = None if gaps is None else (~gaps).view(np.uint8)
            forecast = Forecaster.process_together(forecasters, starts, rows, known)
        if len(rows):
            for each, stop in zip(series, starts[1:].tolist(), strict=True):
                each._last = rows[stop - 1].copy()
        return Told(judgements, forecast, rows, imputed, reasons)

    def _complete(self, row: F64, gaps: NDArray[np.bool_]) -> F64:
        """One record with its gaps filled, float64 (1, features)."""
        stands = self._stand_in(row)
        return np.where(gaps, np.where(np.isnan(stands), self._last, stands), row)

    def _stand_in(self, row: F64) -> F64:
        if self._missing == "forest":
            return self._detector.impute(row)
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
    def values_seen(self) -> int:
        """Records seen so far."""
        return self._detector.values_seen

    @property
    def learning(self) -> bool:
        """Whether the forest learns."""
        return self._learning

    def parts(self) -> tuple[F64, F64]:
        """(values of "fixed", last record), for snapshots."""
        return self._fill, self._last

    def __copy__(self) -> Series:
        forecaster = None if self._forecaster is None else copy(self._forecaster)
        return type(self).of_parts(
            *(copy(self._detector), forecaster, self._missing),
            *(self._fill.copy(), self._last.copy(), self._learning),
        )

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
        coverage = None if forecaster is None else forecaster.coverage
        series._learning = learning
        series._kind = (missing, fill.tobytes(), coverage, learning)
        return series

    def __reduce__(self) -> tuple[Callable[[bytes], Series], tuple[bytes]]:
        """Copies are series of their own: kernels know states by their addresses."""
        return type(self).from_bytes, (self.to_bytes(),)

    def to_bytes(self) -> bytes:
        """Versioned, checksummed bytes from which `from_bytes` continues bit for bit."""
        from rcf.snapshot import series_to_bytes

        return series_to_bytes(self)

    @staticmethod
    def verify(data: bytes) -> None:
        """Find out whether bytes of `to_bytes` are undamaged, without making a series of them.

        Raises:
            SnapshotError: They are damaged, cut short, no series, or of a version that this
                release does not read.
        """
        from rcf.snapshot import verify_series

        verify_series(data)

    @classmethod
    def from_bytes(cls, data: bytes) -> Series:
        """Restore a series.

        Raises:
            SnapshotError: The bytes are damaged, cut short, or of an unknown version.
        """
        from rcf.snapshot import series_from_bytes

        return series_from_bytes(data)


def _stretches(imputed: NDArray[np.bool_]) -> list[tuple[int, int]]:
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
