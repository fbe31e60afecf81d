"""What a stream is. Which changes need another model is data beside each field."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields, replace
from hashlib import blake2b
from typing import Any, Literal, cast

import msgspec

from service.engine.errors import InvalidParameter, InvalidRecord
from service.engine.feedback import Feedback, ThresholdFactor, check_factors
from service.engine.rules import Rule, check_rules
from service.engine.times import is_zone, parse_time

Change = Literal["live", "model", "never"]
"""What a change of a field means: taken over at once, only with a fresh model, not at all."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
MAX_DIMENSIONS = 4096
MAX_NUMBERS = 2**26
"""Numbers in the boxes of one forest: half a gigabyte. One series must not exhaust the machine."""
SCORES = ("codisp", "disp", "depth")
DECODERS = ("auto", "json", "array", "number", "csv")


def _field(change: Change, default: Any, check: Any = None, allowed: str = "") -> Any:
    metadata = {"change": change, "check": check, "allowed": allowed}
    return field(default=default, metadata=metadata)


def _whole(low: int, high: int, *, optional: bool = False) -> Any:
    def check(value: object) -> bool:
        if value is None:
            return optional
        return type(value) is int and low <= value <= high

    return check


def _is_name(value: object) -> bool:
    return isinstance(value, str) and NAME.fullmatch(value) is not None


def _are_features(value: object) -> bool:
    if not isinstance(value, tuple) or not 1 <= len(value) <= 1000:
        return False
    named = all(isinstance(name, str) and 1 <= len(name) <= 200 for name in value)
    return named and len(set(value)) == len(value)


def _is_decay(value: object) -> bool:
    return value is None or (_is_share(value) and value != 1)


def _real(low: float, high: float) -> Any:
    def check(value: object) -> bool:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and low <= cast(float, value) <= high

    return check


def _optional(check: Any) -> Any:
    return lambda value: value is None or check(value)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_time(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        parse_time(value)
    except InvalidRecord:
        return False
    return True


def _are_names(value: object) -> bool:
    named = isinstance(value, tuple) and all(isinstance(name, str) for name in value)
    return named and len(set(cast(tuple[str, ...], value))) == len(cast(tuple[str, ...], value))


def _is_zone(value: object) -> bool:
    return isinstance(value, str) and is_zone(value)


def _are(kind: type) -> Any:
    return lambda value: isinstance(value, tuple) and all(isinstance(each, kind) for each in value)


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamConfig:
    """One stream's configuration; checked when made.

    Attributes:
        name: 1 to 100 letters, digits, dots, underscores or hyphens.
        features: names of a record's values, in order.
        partitions: ordered parts of the stream, 1 to 256; every key belongs to one.
        shingle_size: records end to end in one point, 1 to 1000.
        trees: trees of each forest, 1 to 1000.
        sample_size: points behind each tree, 2 to 16383.
        time_decay: weight lost per record, [0, 1), or None for the library's default; a change
            reaches each series with its next record.
        score: "codisp", "disp" or "depth".
        seed: root of all randomness of the stream, [0, 2**63).
        output_after: records of a series before its first score, or None for the default.
        max_series: series that may be held in one partition; further keys get an error result.
        retention: records and results kept per partition, at least 1000.
        decoder: how a record's bytes are read: "json" flat JSON with fields, "array" a JSON array,
            "number" one number, "csv" one line of numbers with commas, "auto" any of the first
            three. All of them read flat JSON too, for that is what HTTP appends.
        dead_letter_share: a partition halts when more than this share of its last 1000 records
            became dead letters, [0, 1]; 0 never halts it.
        dead_letter_run: a partition halts after so many dead letters in a row; 0 never halts it.
        counters: features that only grow, but for falls back to 0: judged by their rate per second
            since the series' record before. Records that are not after it in time are late.
        late_after_s: records whose time lies more seconds than that before the newest of their
            series are passed over as late; None: none are.
        skip_duplicates: whether a record with the key, time and values of one of the last 10,000
            of its partition is passed over.
        zone: IANA time zone of times that are written without an offset.
        threshold_factors: how series' thresholds are raised or lowered; the first that speaks of a
            series counts.
        feedback: verdicts on results, the newest 200.
        told_from: anomalies of records before this time, RFC 3339, are not told of: they are
            history; None tells of all.
        incident_gap: records of a series in a row without an anomaly after which its part in an
            incident is over, at least 1; until then its anomalies open no other incident.
        incident_window_s: seconds of the records' time within which an anomaly of another series
            of the partition joins an incident; 0 keeps series apart.
        incident_silence_s: seconds of the records' time after which a series that sends nothing
            has left its incident, above 0.
        rules: which anomalies are held back; the first rule that is met counts.
        generation: grows by one with every reset; given by the engine.

    Raises:
        InvalidParameter: a field has a value that is not allowed.
    """

    name: str = _field(
        "never", "", _is_name, "1 to 100 letters, digits, '.', '_' or '-', a letter or digit first"
    )
    features: tuple[str, ...] = _field(
        "model", ("value",), _are_features, "1 to 1000 distinct names of 1 to 200 characters"
    )
    partitions: int = _field("never", 1, _whole(1, 256), "a whole number from 1 to 256")
    shingle_size: int = _field("model", 8, _whole(1, 1000), "a whole number from 1 to 1000")
    trees: int = _field("model", 50, _whole(1, 1000), "a whole number from 1 to 1000")
    sample_size: int = _field("model", 256, _whole(2, 16383), "a whole number from 2 to 16383")
    time_decay: float | None = _field(
        "live", None, _is_decay, "a number of at least 0 and below 1, or null"
    )
    score: str = _field("model", "codisp", SCORES.__contains__, ", ".join(SCORES))
    seed: int = _field("model", 0, _whole(0, 2**63 - 1), "a whole number from 0 to 2**63 - 1")
    output_after: int | None = _field(
        "model", None, _whole(1, 2**31, optional=True), "a whole number of at least 1, or null"
    )
    max_series: int = _field("live", 1000, _whole(1, 10**6), "a whole number from 1 to 1000000")
    retention: int = _field(
        "live", 1_000_000, _whole(1000, 10**12), "a whole number of at least 1000"
    )
    decoder: str = _field("live", "auto", DECODERS.__contains__, ", ".join(DECODERS))
    dead_letter_share: float = _field("live", 0.2, _is_share, "a number from 0 to 1; 0 for never")
    dead_letter_run: int = _field(
        "live", 1000, _whole(0, 10**9), "a whole number from 0 to 1000000000; 0 for never"
    )
    counters: tuple[str, ...] = _field("model", (), _are_names, "names of features, each once")
    late_after_s: float | None = _field(
        "live", None, _optional(_real(0, 1e12)), "seconds of at least 0, or null"
    )
    skip_duplicates: bool = _field("live", False, _is_flag, "true or false")
    zone: str = _field("live", "UTC", _is_zone, "an IANA time zone such as Europe/Berlin")
    threshold_factors: tuple[ThresholdFactor, ...] = _field(
        "live", (), _are(ThresholdFactor), "a list of keys with factors"
    )
    feedback: tuple[Feedback, ...] = _field("live", (), _are(Feedback), "a list of verdicts")
    told_from: str | None = _field(
        "live", None, _optional(_is_time), "a time as RFC 3339 text, or null"
    )
    incident_gap: int = _field("live", 40, _whole(1, 10**6), "a whole number from 1 to 1000000")
    incident_window_s: float = _field(
        "live", 300.0, _real(0, 1e9), "seconds from 0 to 1e9; 0 keeps series apart"
    )
    incident_silence_s: float = _field("live", 86_400.0, _real(1, 1e9), "seconds from 1 to 1e9")
    rules: tuple[Rule, ...] = _field("live", (), _are(Rule), "a list of rules")
    generation: int = _field("live", 1, _whole(1, 2**31), "given by the engine")

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if not _allows(item.metadata["check"], value):
                raise InvalidParameter(item.name, value, item.metadata["allowed"])
        check_rules(self.rules, self.features)
        check_factors(self.threshold_factors)
        unknown = [name for name in self.counters if name not in self.features]
        if unknown:
            raise InvalidParameter("counters", unknown[0], ", ".join(self.features))
        dimensions = len(self.features) * self.shingle_size
        if dimensions > MAX_DIMENSIONS:
            raise InvalidParameter(
                "shingle_size",
                self.shingle_size,
                f"features x shingle_size of at most {MAX_DIMENSIONS}",
            )
        if self.trees * self.sample_size * dimensions > MAX_NUMBERS:
            raise InvalidParameter(
                "sample_size",
                self.sample_size,
                f"trees x sample_size x features x shingle_size of at most {MAX_NUMBERS:,}",
            )

    def changed(self, other: StreamConfig) -> tuple[str, ...]:
        """Name the fields, apart from the generation, in which the other one differs."""
        return tuple(
            item.name
            for item in fields(self)
            if item.name != "generation" and getattr(self, item.name) != getattr(other, item.name)
        )

    def with_generation(self, generation: int) -> StreamConfig:
        """Return the same configuration under another generation."""
        return replace(self, generation=generation)


DECISIVE = (
    *("name", "features", "shingle_size", "trees", "sample_size", "time_decay", "score", "seed"),
    *("output_after", "counters", "generation"),
)
"""The fields that decide a series' scores, given its records."""


def model_digest(config: StreamConfig) -> str:
    """Name the model that a configuration makes: 16 hex digits."""
    decisive = [getattr(config, name) for name in DECISIVE]
    return blake2b(msgspec.json.encode(decisive), digest_size=8).hexdigest()


CHANGES: dict[str, Change] = {item.name: item.metadata["change"] for item in fields(StreamConfig)}


def that_mean(change: Change, names: tuple[str, ...]) -> tuple[str, ...]:
    """Pick from field names those whose change means `change`."""
    return tuple(name for name in names if CHANGES[name] == change)


def _allows(check: Any, value: object) -> bool:
    try:
        return bool(check(value))
    except TypeError:  # an unhashable value asked of a set
        return False
