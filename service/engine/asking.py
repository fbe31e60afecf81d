"""Questions to a series: why, how crowded, what is near, where the crowds are, what comes next.

Each is a function of a series and changes nothing of it. A point is made as if the record asked
about were the series' next one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec
import numpy as np

from service.engine.config import StreamConfig
from service.engine.errors import InvalidParameter
from service.engine.outcome import FeatureReason
from service.engine.ports import Expectation, Numbers
from service.engine.reasons import reasons_of

if TYPE_CHECKING:
    from rcf import Hotspot, Neighbour, Shares

Answer = TypeVar("Answer")
Question = Callable[[Any], Answer]

LONGEST_HORIZON = 10_000
"""Records that a forecast tells at most."""
SMALLEST_WINDOW, LARGEST_WINDOW = 100, 1000
"""Records that hotspots are looked for in."""


class Answering(Protocol):
    """What questions ask of a detector; `rcf.Detector` is one."""

    def density(self, values: Numbers) -> Shares:
        """Mass over volume around a point."""

    def distance(self, values: Numbers) -> Shares:
        """How far a point lies from what is around it."""

    def near_neighbours(self, values: Numbers, distance: float) -> list[list[Neighbour]]:
        """Sampled points near a point."""

    def hotspots(self, window: int, radius: float, least: int) -> list[Hotspot]:
        """Where the last records crowd."""

    def attribution(self, values: Numbers) -> list[Shares]:
        """Shares of the score of each record."""

    def newest(self) -> Numbers | None:
        """The record learnt last."""


class Asked(Protocol):
    """What questions are asked of; `rcf.Series` is one."""

    @property
    def detector(self) -> Answering:
        """What decides which records are anomalies."""

    def forecast(self, horizon: int) -> Expectation:
        """What the next records are expected to be."""


class Explanation(msgspec.Struct, frozen=True):
    """A score and what each feature contributes; no score while the series warms up."""

    score: float | None
    attribution: list[FeatureReason]


class FeatureDensity(msgspec.Struct, frozen=True):
    """One feature's shares of density and distance, by the side on which the value lies."""

    feature: str
    density_high: float
    density_low: float
    distance_high: float
    distance_low: float


class Crowding(msgspec.Struct, frozen=True):
    """How crowded it is around a point and how far that is; null while the series warms up."""

    density: float | None
    distance: float | None
    features: list[FeatureDensity]


class NearPoint(msgspec.Struct, frozen=True):
    """A sampled point near the one asked about."""

    distance: float
    trees: int
    records: list[list[float]]
    ago: list[int | None]


class Crowd(msgspec.Struct, frozen=True):
    """A hotspot."""

    density: float
    low: list[float]
    high: list[float]
    records: int
    holds_newest: bool


class ComingRecord(msgspec.Struct, frozen=True):
    """What a record to come is expected to be; its values in the order of the features."""

    lead: int
    expected: list[float]
    lower: list[float]
    upper: list[float]


def what_comes(config: StreamConfig, horizon: int) -> Question[list[ComingRecord]]:
    """Ask what the next records are expected to be; none before a series' first record.

    Raises:
        InvalidParameter: the stream does not forecast, or the horizon is outside its range.
    """
    if not config.forecast:
        raise InvalidParameter("forecast", config.forecast, "true, for a stream to tell what comes")
    if not 1 <= horizon <= LONGEST_HORIZON:
        raise InvalidParameter("horizon", horizon, f"1 to {LONGEST_HORIZON}")

    def ask(series: Asked) -> list[ComingRecord]:
        ahead = series.forecast(horizon)
        if np.isnan(ahead.expected[0, 0]):
            return []
        sides = (ahead.expected.tolist(), ahead.lower.tolist(), ahead.upper.tolist())
        return [ComingRecord(lead, *at) for lead, at in enumerate(zip(*sides, strict=True), 1)]

    return ask


def why(features: tuple[str, ...], values: Sequence[float]) -> Question[Explanation]:
    """Ask what each feature contributes to the score of a record."""

    def ask(series: Asked) -> Explanation:
        (shares,) = series.detector.attribution(_row(values))
        if np.isnan(shares.total[0]):
            return Explanation(None, [])
        return Explanation(float(shares.total[0]), reasons_of(features, shares, len(features)))

    return ask


def how_crowded(features: tuple[str, ...], values: Sequence[float]) -> Question[Crowding]:
    """Ask how crowded it is around a record's point, and how far that is."""

    def ask(series: Asked) -> Crowding:
        detector, row = series.detector, _row(values)
        density, distance = detector.density(row), detector.distance(row)
        if np.isnan(density.total[0]):
            return Crowding(None, None, [])
        columns = [each.high[0].sum(axis=0).tolist() for each in (density, distance)]
        below = [each.low[0].sum(axis=0).tolist() for each in (density, distance)]
        lines = zip(features, columns[0], below[0], columns[1], below[1], strict=True)
        return Crowding(
            float(density.total[0]),
            float(distance.total[0]),
            [FeatureDensity(*line) for line in lines],
        )

    return ask


def what_is_near(values: Sequence[float], distance: float, most: int) -> Question[list[NearPoint]]:
    """Ask which sampled points are nearer than `distance` to a record's, at most `most`.

    Raises:
        InvalidParameter: the distance is not above 0.
    """
    if not distance > 0.0:
        raise InvalidParameter("distance", distance, "a number above 0")

    def ask(series: Asked) -> list[NearPoint]:
        (found,) = series.detector.near_neighbours(_row(values), distance)
        return [
            NearPoint(each.distance, each.trees, each.point.tolist(), list(each.ago))
            for each in found[:most]
        ]

    return ask


def where_crowds_are(window: int, radius: float, least: int) -> Question[list[Crowd]]:
    """Ask where the last records crowd, the densest crowd first.

    Args:
        window: how many records are looked at, 100 to 1000.
        radius: how far neighbours may lie apart, above 0, in the unit of the values.
        least: records that make a crowd, 2 to `window`.

    Raises:
        InvalidParameter: one of them is outside its range.
    """
    if not SMALLEST_WINDOW <= window <= LARGEST_WINDOW:
        raise InvalidParameter("window", window, f"{SMALLEST_WINDOW} to {LARGEST_WINDOW}")
    if not 0.0 < radius <= 1e300:
        raise InvalidParameter("radius", radius, "a finite number above 0")
    if not 2 <= least <= window:
        raise InvalidParameter("least", least, f"2 to {window}, the window")

    def ask(series: Asked) -> list[Crowd]:
        found = series.detector.hotspots(window, radius, least)
        newest = series.detector.newest()
        return [
            Crowd(
                each.density,
                each.low.tolist(),
                each.high.tolist(),
                each.records,
                newest is not None and each.holds(newest, radius),
            )
            for each in found
        ]

    return ask


def _row(values: Sequence[float]) -> Numbers:
    return np.array([values], dtype=np.float64)
