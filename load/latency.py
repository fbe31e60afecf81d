"""Latencies in histograms of high dynamic range: any quantile, from microseconds to an hour."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from hdrh.histogram import HdrHistogram

from load.report import Row

MOST_US = 3_600_000_000
DIGITS = 3  #: of a value that are kept
SHOWN = (("p50 ms", 50.0), ("p99 ms", 99.0), ("p99.9 ms", 99.9), ("most ms", 100.0))
CURVE = (0, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99, 100)


class Latencies:
    """How long records took, each from the moment at which it was meant to be sent.

    Args:
        slice_s: length of the slices of time that are also looked at alone, above 0.
    """

    def __init__(self, slice_s: float = 60.0) -> None:
        self.slice_s = slice_s
        self._all = HdrHistogram(1, MOST_US, DIGITS)
        self._slices: dict[int, HdrHistogram] = {}

    def add(self, intended_s: float, took_s: float, records: int = 1) -> None:
        """Note records.

        Args:
            intended_s: when they were meant to be sent, in seconds from the begin, at least 0.
            took_s: how long after that their answer came; less than a microsecond counts as one.
            records: how many.
        """
        micros = min(max(round(1e6 * took_s), 1), MOST_US)
        number = int(intended_s / self.slice_s)
        if number not in self._slices:
            self._slices[number] = HdrHistogram(1, MOST_US, DIGITS)
        for histogram in (self._all, self._slices[number]):
            histogram.record_value(micros, records)

    def add_many(self, rows: Iterable[tuple[float, float]]) -> None:
        """Note (intended_s, took_s) of many records; equal rows are counted at once."""
        for (intended_s, took_s), equal in groupby(sorted(rows)):
            self.add(intended_s, took_s, sum(1 for _ in equal))

    @property
    def records(self) -> int:
        """Records noted."""
        return int(self._all.get_total_count())

    def ms(self, percentile: float) -> float:
        """Milliseconds within which so many percent of the records were answered; 0 without any."""
        return float(self._all.get_value_at_percentile(percentile)) / 1e3

    def row(self) -> Row:
        """The quantiles that tables show."""
        return {name: self.ms(percentile) for name, percentile in SHOWN}

    def curve(self) -> list[tuple[float, float]]:
        """(percentile, ms), for plots."""
        return [(percentile, self.ms(percentile)) for percentile in CURVE]

    def over_time(self, percentile: float) -> list[tuple[float, float]]:
        """(end of a slice in seconds, ms), for plots."""
        return [
            ((number + 1) * self.slice_s, histogram.get_value_at_percentile(percentile) / 1e3)
            for number, histogram in sorted(self._slices.items())
        ]
