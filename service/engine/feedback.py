"""What people say of results, and what it asks of the threshold.

A verdict is kept in the stream's configuration, so it is a record of the log like every change. It
is turned into a factor of the series' thresholds: the one that agrees with most verdicts, and among
those the nearest to 1. A factor multiplies the detector's threshold wherever it happens to stand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from service.engine.errors import InvalidParameter
from service.engine.rules import is_meant

MOST_KEPT = 200
"""Verdicts that a stream keeps, the newest; they travel with each change of its configuration."""
LEAST_GRADE = 1 / 16
"""Grade of a record that only a lowered threshold makes an anomaly: grades come in sixteenths."""
LOWEST_FACTOR, HIGHEST_FACTOR = 0.01, 100.0
_BEYOND = 1 + 2**-20
"""A false alarm must fall below the threshold, not on it."""

Verdict = Literal["false_alarm", "missed", "confirmed"]

ByDistance = Literal["near", "far"] | None
"""What a stream's multi mode makes of a record's distance: no anomaly, an anomaly, nothing."""


class Feedback(msgspec.Struct, frozen=True):
    """One verdict on one record."""

    verdict: Annotated[
        Verdict,
        Meta(
            description="`false_alarm`: not an anomaly. `missed`: one that was not told of. "
            "`confirmed`: told of, and rightly."
        ),
    ]
    partition: Annotated[int, Meta(description="Where the record stands.")]
    offset: Annotated[int, Meta(description="Where the record stands.")]
    key: Annotated[str, Meta(description="Its series.")]
    ratio: Annotated[
        float, Meta(description="Its score, as a multiple of the detector's own threshold.")
    ]


class ThresholdFactor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How some series' thresholds are raised or lowered."""

    key: Annotated[
        str, Meta(description="Of which series: `*` stands for anything, `?` for a character.")
    ]
    factor: Annotated[
        float,
        Meta(
            description="Above 1: fewer anomalies. Below: more.",
            extra_json_schema={"minimum": LOWEST_FACTOR, "maximum": HIGHEST_FACTOR},
        ),
    ]


def check_factors(factors: Sequence[ThresholdFactor]) -> None:
    """Refuse factors out of range.

    Raises:
        InvalidParameter: names the first.
    """
    for index, each in enumerate(factors):
        if not LOWEST_FACTOR <= each.factor <= HIGHEST_FACTOR:
            allowed = f"a number from {LOWEST_FACTOR} to {HIGHEST_FACTOR:g}"
            raise InvalidParameter(f"threshold_factors[{index}].factor", each.factor, allowed)


def factor_of(factors: Sequence[ThresholdFactor], key: str) -> float:
    """Return the first factor that speaks of a series; 1 where none does."""
    return next((each.factor for each in factors if is_meant(each.key, key)), 1.0)


def with_factor(
    factors: Sequence[ThresholdFactor], key: str, factor: float
) -> tuple[ThresholdFactor, ...]:
    """Return factors that begin with the one of this very series, and no other of it."""
    pattern = "".join(f"[{sign}]" if sign in "*?[" else sign for sign in key)
    others = tuple(each for each in factors if each.key != pattern)
    return others if factor == 1.0 else (ThresholdFactor(pattern, factor), *others)


def bent(
    score: float, threshold: float, grade: float, factor: float, by_distance: ByDistance = None
) -> tuple[float, float]:
    """Return threshold and grade under a factor.

    A record of which the detector says that it is none, although it passes the threshold (its
    series is flat), stays none. Of distances the factor says nothing: one that is far stays what it
    is, one that is near becomes no anomaly.
    """
    moved = threshold * factor
    if by_distance == "far" or (by_distance == "near" and score < threshold):
        return moved, grade
    if score < moved:
        return moved, 0.0
    if grade == 0.0 and score < threshold:
        return moved, LEAST_GRADE
    return moved, grade


def suggested(given: Sequence[Feedback], key: str) -> float:
    """Return the factor that agrees with most verdicts on a series, the nearest to 1 of those."""
    verdicts, candidates = [each for each in given if each.key == key], [1.0]
    for each in verdicts:
        bound = each.ratio * _BEYOND if each.verdict == "false_alarm" else each.ratio
        candidates.append(min(max(bound, LOWEST_FACTOR), HIGHEST_FACTOR))
    return min(candidates, key=lambda factor: (_against(verdicts, factor), abs(math.log(factor))))


def _against(verdicts: Sequence[Feedback], factor: float) -> int:
    """Count the verdicts that a factor does not agree with."""
    return sum((each.ratio >= factor) == (each.verdict == "false_alarm") for each in verdicts)


class Fired(msgspec.Struct, frozen=True):
    """How often a series would have been told of."""

    anomalies: Annotated[int, Meta(description="Records that pass the threshold.")]
    alerts: Annotated[
        int, Meta(description="The same, counted once until the series has calmed down.")
    ]


def fired(ratios: Sequence[float | None], factor: float, gap: int) -> Fired:
    """Count what would have fired under a factor.

    Args:
        ratios: score by the detector's own threshold of a series' records in order; None where
            there is none, or where the detector says that it is no anomaly all the same.
        factor: of the threshold.
        gap: records without an anomaly after which the next one is told of anew.
    """
    rows = [row for row, ratio in enumerate(ratios) if ratio is not None and ratio >= factor]
    anew = sum(row - before > gap for row, before in zip(rows[1:], rows[:-1], strict=True))
    return Fired(len(rows), anew + bool(rows))


class Advice(msgspec.Struct, frozen=True):
    """What the verdicts on a series ask of its threshold."""

    key: Annotated[str, Meta(description="The series.")]
    factor: Annotated[float, Meta(description="By which to multiply its threshold.")]
    applied: Annotated[bool, Meta(description="Whether that is done from here on.")]
    records: Annotated[int, Meta(description="Of the series, looked through for what fired.")]
    fired: Annotated[Fired, Meta(description="Under the factor that held before.")]
    would_have_fired: Annotated[Fired, Meta(description="Under the factor suggested.")]


class JudgedRatio(msgspec.Struct):
    """A result's score by the detector's own threshold.

    Attributes:
        ratio: None where there is no score, or where the detector says that it is no anomaly
            although it passes the threshold.
    """

    key: str
    ratio: float | None


class _Judged(msgspec.Struct):
    key: str
    score: float | None
    threshold: float | None
    grade: float | None
    factor: float = 1.0


_decode = msgspec.json.Decoder(_Judged).decode


def judged_ratio(value: bytes) -> JudgedRatio:
    """Read a result."""
    read = _decode(value)
    if read.score is None or read.threshold is None:
        return JudgedRatio(read.key, None)
    flat = read.score >= read.threshold and read.grade == 0.0
    own = read.threshold / read.factor
    return JudgedRatio(read.key, read.score / own if own > 0.0 and not flat else None)
