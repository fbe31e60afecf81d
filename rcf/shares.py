"""A number and its shares per dimension and direction."""

from __future__ import annotations

from typing import NamedTuple

from rcf.state import F64


class Shares(NamedTuple):
    """Numbers of n records, and what each face of a point contributes to them; NaN while warming.

    Attributes:
        total: float64 (n,), at least 0.
        high: float64 (n, shingle_size, features), at least 0: what is due to values above what is
            usual. The oldest record of a point comes first: lag l is at ``shingle_size - 1 - l``.
        low: The same of values below. All of a record's `high` and `low` sum to its `total`.
    """

    total: F64
    high: F64
    low: F64

    def by_feature(self) -> Shares:
        """The shares with all lags of a feature together: `high` and `low` are (n, features)."""
        return Shares(self.total, self.high.sum(axis=1), self.low.sum(axis=1))

    def by_lag(self) -> Shares:
        """The shares with all features of a record together: (n, shingle_size), oldest first."""
        return Shares(self.total, self.high.sum(axis=2), self.low.sum(axis=2))
