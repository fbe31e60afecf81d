"""Which anomalies are held back: rules of a stream, for all of its series or some.

An anomaly is held back by the first rule of which every condition is met. A condition that cannot
be told, because no expected value is known, is not met: in doubt an anomaly is told.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime, time, timedelta
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta

from service.engine.errors import InvalidParameter, InvalidRecord
from service.engine.times import EARLIEST_MS, EPOCH, LATEST_MS, is_zone, parse_time

MOST_RULES = 1000
DAY_MS = 86_400_000
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

Direction = Literal["high", "low"]


class Mute(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A span of time, once or again and again."""

    start: Annotated[
        str, Meta(description="RFC 3339, or HH:MM where the span comes again every day.")
    ]
    end: Annotated[
        str,
        Meta(description="As `start`; not included. HH:MM at or before the start is the next day."),
    ]
    days: Annotated[
        tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...],
        Meta(description="Days on which a daily span begins; none for all."),
    ] = ()
    zone: Annotated[
        str,
        Meta(
            description="Time zone of a daily span, such as Europe/Berlin: its clocks count, also "
            "on the days on which they change."
        ),
    ] = "UTC"


class Rule(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """When anomalies are held back: where every condition that is given is met."""

    name: Annotated[str, Meta(description="1 to 100 characters; results show it.")]
    key: Annotated[
        str, Meta(description="Of which series: `*` stands for anything, `?` for a character.")
    ] = "*"
    feature: Annotated[
        str | None,
        Meta(description="The feature that `within` and `direction` speak of; null: all of them."),
    ] = None
    within: Annotated[
        float | None, Meta(description="Condition: at most so far from the expected value.")
    ] = None
    within_of_expected: Annotated[
        float | None, Meta(description="Condition: at most this share of the expected value away.")
    ] = None
    within_of_actual: Annotated[
        float | None, Meta(description="Condition: at most this share of the actual value away.")
    ] = None
    direction: Annotated[
        Direction | None,
        Meta(description="Condition: above (`high`) or below (`low`) what was expected."),
    ] = None
    grade_below: Annotated[
        float | None, Meta(description="Condition: the grade is smaller; above 0, up to 1.")
    ] = None
    fewer_than: Annotated[
        int | None,
        Meta(description="Condition: fewer anomalous records in a row than this, from 2 on."),
    ] = None
    shorter_than_s: Annotated[
        float | None,
        Meta(description="Condition: the anomalous records in a row span less time, in seconds."),
    ] = None
    mute: Annotated[Mute | None, Meta(description="Condition: the record's time lies in it.")] = (
        None
    )


Pairs = Sequence[tuple[float, float]]
"""Actual and expected value of the features that a rule speaks of."""


class Suspect(msgspec.Struct, frozen=True, gc=False):
    """What is known of an anomalous record.

    Attributes:
        values, expected: one number per feature; no expected ones where none are known.
        run: anomalous records of the series in a row, this one included.
        run_started_ms: time of the first of them.
    """

    key: str
    time_ms: int
    grade: float
    values: Sequence[float]
    expected: Sequence[float] | None = None
    run: int = 1
    run_started_ms: int = 0


def is_meant(pattern: str, key: str) -> bool:
    """Tell whether a series is one of a pattern's: `*` for anything, `?` for a character.

    `[*]`, `[?]` and `[[]` stand for the character inside; other brackets for themselves, because
    keys such as disk[0] are common.
    """
    return fnmatchcase(key, _BRACKETS.sub(lambda found: found[1] or "[[]", pattern))


def first_met(
    rules: Sequence[Rule], features: Sequence[str], suspect: Suspect
) -> tuple[Rule, str] | None:
    """Return the first rule that holds an anomaly back, and which of its conditions were met."""
    for rule in rules:
        if is_meant(rule.key, suspect.key):
            met = _met(rule, features, suspect)
            if met is not None:
                return rule, met
    return None


def check_rules(rules: Sequence[Rule], features: Sequence[str]) -> None:
    """Refuse rules that say nothing, or nothing sensible.

    Raises:
        InvalidParameter: names the first such field, and what is allowed.
    """
    if len(rules) > MOST_RULES:
        raise InvalidParameter("rules", len(rules), f"at most {MOST_RULES}")
    names = [rule.name for rule in rules]
    for index, rule in enumerate(rules):
        place = f"rules[{index}]"
        if not 1 <= len(rule.name) <= 100 or names.index(rule.name) != index:
            allowed = "1 to 100 characters, and no other rule's name"
            raise InvalidParameter(f"{place}.name", rule.name, allowed)
        if rule.feature is not None and rule.feature not in features:
            raise InvalidParameter(f"{place}.feature", rule.feature, ", ".join(features))
        if all(getattr(rule, name) is None for name in _CHECKS):
            raise InvalidParameter(place, rule.name, f"a condition: {', '.join(_CHECKS)}")
        for name, (holds, allowed) in _ALLOWED.items():
            value = getattr(rule, name)
            if value is not None and not holds(value):
                raise InvalidParameter(f"{place}.{name}", value, allowed)
        if rule.mute is not None:
            _check_mute(f"{place}.mute", rule.mute)


_BRACKETS = re.compile(r"(\[[*?[]])|\[")
_HOUR = re.compile(r"\d\d:\d\d", re.ASCII)

_ALLOWED: dict[str, tuple[Callable[[float], bool], str]] = {
    "within": (lambda value: 0 <= value <= 1e300, "a number of at least 0"),
    "within_of_expected": (lambda value: 0 <= value <= 1e300, "a share of at least 0"),
    "within_of_actual": (lambda value: 0 <= value <= 1e300, "a share of at least 0"),
    "grade_below": (lambda value: 0 < value <= 1, "a number above 0, up to 1"),
    "fewer_than": (lambda value: 2 <= value <= 10**9, "a whole number of at least 2"),
    "shorter_than_s": (lambda value: 0 < value <= 1e12, "seconds above 0"),
}


def _check_mute(place: str, mute: Mute) -> None:
    daily = _is_daily(mute)
    for name in ("start", "end"):
        value = getattr(mute, name)
        try:
            _clock(value) if daily else parse_time(value)
        except (ValueError, InvalidRecord):
            allowed = "HH:MM as the other end" if daily else "RFC 3339, or HH:MM for every day"
            raise InvalidParameter(f"{place}.{name}", value, allowed) from None
    if not daily and (mute.days or mute.zone != "UTC"):
        raise InvalidParameter(f"{place}.start", mute.start, "HH:MM where days or a zone are given")
    if not daily and parse_time(mute.start) >= parse_time(mute.end):
        raise InvalidParameter(f"{place}.end", mute.end, "a time after the start")
    if not is_zone(mute.zone):
        allowed = "an IANA time zone such as Europe/Berlin"
        raise InvalidParameter(f"{place}.zone", mute.zone, allowed)


def _met(rule: Rule, features: Sequence[str], suspect: Suspect) -> str | None:
    """Say which conditions a rule has, when all of them are met; else None."""
    said: list[str] = []
    for name, check in _CHECKS.items():
        wanted = getattr(rule, name)
        if wanted is None:
            continue
        if not check(wanted, suspect, _pairs(rule, features, suspect)):
            return None
        said.append(name if name == "mute" else f"{name} = {wanted}")
    return ", ".join(said)


def _pairs(rule: Rule, features: Sequence[str], suspect: Suspect) -> Pairs:
    """Return actual and expected value of the features in question; none where not known."""
    if suspect.expected is None:
        return []
    pairs = zip(features, suspect.values, suspect.expected, strict=True)
    return [(x, y) for name, x, y in pairs if rule.feature is None or name == rule.feature]


def _is_muted(mute: Mute, suspect: Suspect, _pairs: Pairs) -> bool:
    if not _is_daily(mute):
        return parse_time(mute.start) <= suspect.time_ms < parse_time(mute.end)
    start, end = _clock(mute.start), _clock(mute.end)
    moment = _local(suspect.time_ms, mute.zone)
    at, day = moment.time(), moment.weekday()
    if start < end:
        return start <= at < end and _begins_on(mute, day)
    if at >= start:
        return _begins_on(mute, day)
    return at < end and _begins_on(mute, (day - 1) % 7)


def _begins_on(mute: Mute, day: int) -> bool:
    return not mute.days or DAYS[day] in mute.days


def _is_daily(mute: Mute) -> bool:
    return _HOUR.fullmatch(mute.start) is not None


@lru_cache(maxsize=1024)
def _clock(text: str) -> time:
    """Read HH:MM; raises ValueError for all else, times with seconds or a zone included."""
    if not _HOUR.fullmatch(text):
        raise ValueError(text)
    return time.fromisoformat(text)


def _local(time_ms: int, zone: str) -> datetime:
    """What the clocks of a zone show; moments outside the years 1 to 9999 are moved inside."""
    inside = min(max(time_ms, EARLIEST_MS + DAY_MS), LATEST_MS - DAY_MS)
    return (EPOCH + timedelta(milliseconds=inside)).astimezone(ZoneInfo(zone))


def _span_s(suspect: Suspect) -> float:
    return (suspect.time_ms - suspect.run_started_ms) / 1000


_CHECKS: dict[str, Callable[[Any, Suspect, Pairs], bool]] = {
    "within": lambda most, _, pairs: _all(pairs, lambda x, y: abs(x - y) <= most),
    "within_of_expected": lambda share, _, pairs: _all(
        pairs, lambda x, y: abs(x - y) <= share * abs(y)
    ),
    "within_of_actual": lambda share, _, pairs: _all(
        pairs, lambda x, y: abs(x - y) <= share * abs(x)
    ),
    "direction": lambda wanted, _, pairs: _all(
        pairs, lambda x, y: x > y if wanted == "high" else x < y
    ),
    "grade_below": lambda bound, suspect, _: suspect.grade < bound,
    "fewer_than": lambda least, suspect, _: suspect.run < least,
    "shorter_than_s": lambda least, suspect, _: _span_s(suspect) < least,
    "mute": _is_muted,
}
"""Condition -> whether it is met, by what the rule says, the record, and (actual, expected)."""


def _all(pairs: Pairs, holds: Callable[[float, float], bool]) -> bool:
    """Tell whether something holds for every feature in question, and there is one."""
    return bool(pairs) and all(holds(actual, expected) for actual, expected in pairs)
