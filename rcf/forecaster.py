"""What a series is expected to be, with bands that hold the stated share of its values."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from rcf.arguments import as_rows, real, refuse_invalid, whole
from rcf.errors import InvalidParameter
from rcf.forecast import WORDS, forecast_leads, forecast_rows, start_forecast
from rcf.forest import Forecast
from rcf.state import F64, I64, U8


class Forecaster:
    """Expects each record before it learns it; bands are calibrated by how that came out.

    A blend of simple forecasts of each feature by itself (`rcf.forecast`), which errs less than the
    last value does. A feature costs about a fifth of a score of 50 trees over one. Not safe for use
    from two threads at once.

    Args:
        features: Values a record, 1 to 65535.
        coverage: Share of values that a band is to hold, 0.01 to 0.999. A value that never moves
            lies inside whatever band there is.

    Raises:
        InvalidParameter: A parameter is outside what is allowed.
    """

    def __init__(self, features: int = 1, *, coverage: float = 0.9) -> None:
        state = np.empty((whole("features", features, 1, 65_535), WORDS))
        start_forecast(state)
        self._adopt(real("coverage", coverage, 0.01, 0.999), state)

    def _adopt(self, coverage: float, state: F64) -> None:
        self._coverage = coverage
        self._state = state
        self._address: int = state.ctypes.data

    def process(self, values: ArrayLike, *, known: ArrayLike | None = None) -> Forecast:
        """Forecast each record, then learn it.

        Args:
            values: (n, features) in the order of the series, as for `rcf.Forest.process`.
            known: bool (n, features), False where a value was imputed: it is learnt, but says
                nothing about how good a forecast was. None: all are known.

        Returns:
            What each record was expected to be before it was seen; NaN for the very first.

        Raises:
            InvalidParameter: A value is no finite float32 or a shape is wrong; nothing is learnt.
        """
        rows = as_rows(values, len(self._state))
        refuse_invalid(rows)
        seen = None if known is None else _flags(known, rows)
        return self.process_together([self], np.array([0, len(rows)]), rows, seen)

    @staticmethod
    def process_together(
        forecasters: Sequence[Forecaster], starts: I64, rows: F64, known: U8 | None = None
    ) -> Forecast:
        """`process` of many forecasters at once, bit for bit.

        Args:
            forecasters: Of one coverage, and as many features; at least one, none twice.
            starts: int64 (forecasters + 1,), as `rcf.arguments.as_starts` makes it: not checked.
            rows: float64 (n, features), C order, each a finite float32.
            known: uint8 (n, features), as for `process`.
        """
        seen = np.ones(rows.shape, np.uint8) if known is None else known
        states = np.array([forecaster._address for forecaster in forecasters])
        out = np.empty((3, *rows.shape))
        forecast_rows(states, starts, rows, seen, (1.0 - forecasters[0]._coverage) / 2.0, out)
        return Forecast(*out)

    def forecast(self, horizon: int) -> Forecast:
        """What the next records are expected to be; nothing changes.

        Args:
            horizon: Records, 1 to 100000. Bands are calibrated for the first
                `rcf.forecast.HORIZON`; further ones grow with the square root of the lead.

        Raises:
            InvalidParameter: The horizon is outside its range.
        """
        out = np.empty((3, whole("horizon", horizon, 1, 100_000), len(self._state)))
        forecast_leads(self._state, out)
        return Forecast(*out)

    def set_coverage(self, coverage: float) -> None:
        """Let bands hold another share; they find it in some hundred records."""
        self._coverage = real("coverage", coverage, 0.01, 0.999)

    @property
    def coverage(self) -> float:
        """Share of values that a band is to hold."""
        return self._coverage

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the state takes."""
        return self._state.nbytes

    def parts(self) -> tuple[float, F64]:
        """(coverage, state), for snapshots."""
        return self._coverage, self._state

    def __copy__(self) -> Forecaster:
        return type(self).of_parts(self._coverage, self._state.copy())

    @classmethod
    def of_parts(cls, coverage: float, state: F64) -> Forecaster:
        """A forecaster around its parts, which it then owns."""
        forecaster = cls.__new__(cls)
        forecaster._adopt(coverage, state)
        return forecaster

    def __reduce__(self) -> tuple[Callable[[bytes], Forecaster], tuple[bytes]]:
        """Copies are forecasters of their own: kernels know a state by its address."""
        return type(self).from_bytes, (self.to_bytes(),)

    def to_bytes(self) -> bytes:
        """Versioned, checksummed bytes from which `from_bytes` continues bit for bit."""
        from rcf.snapshot import forecaster_to_bytes

        return forecaster_to_bytes(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> Forecaster:
        """Restore a forecaster.

        Raises:
            SnapshotError: The bytes are damaged, cut short, or of an unknown version.
        """
        from rcf.snapshot import forecaster_from_bytes

        return forecaster_from_bytes(data)


def _flags(known: ArrayLike, rows: F64) -> np.ndarray:
    flags = np.asarray(known)
    if flags.dtype != np.bool_ or flags.shape != rows.shape:
        raise InvalidParameter("known", f"of shape {flags.shape}", f"booleans {rows.shape}")
    return np.ascontiguousarray(flags.astype(np.uint8))
