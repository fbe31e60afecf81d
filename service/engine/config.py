"""What a stream is. Which changes need another model is data beside each field."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields, replace
from hashlib import blake2b
from typing import Any, Literal, cast
from zoneinfo import ZoneInfo

import msgspec

import rcf
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
SCORES = ("blend", "codisp", "disp", "depth")
THRESHOLDS = ("automatic", "budget", "percentile", "sigma", "fixed")
LEVELS = {"percentile": (50.0, 99.99), "sigma": (1.0, 100.0), "fixed": (0.0, 1e9)}
"""The thresholds that take a level, and from where to where."""
LARGEST = 3.4e38
"""Largest magnitude of a value: within float32, in which the forest holds points."""
TRANSFORMS = (
    *("none", "weighted", "subtract_ma", "normalize", "difference", "normalize_difference"),
    *("robust", "log"),
)
TIME = "time"
"""The coordinate that a gap between records is, beside the features."""
NEW_SERIES = ("cold", "shared")
MISSING = ("refuse", "previous", "zero", "fixed", "forest", "forecast")
EXPLAIN = ("anomalies", "all", "none")
MULTI_MODES = ("none", "precision", "recall")
DECODERS = ("auto", "json", "array", "number", "csv")
TOLD_FROM_ALLOWED = "a time as RFC 3339 text, or null"


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


def _is_level(value: object) -> bool:
    return value is None or (
        isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1e9
    )


def _real(low: float, high: float) -> Any:
    def check(value: object) -> bool:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and low <= cast(float, value) <= high

    return check


def _optional(check: Any) -> Any:
    return lambda value: value is None or check(value)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _are_names(value: object) -> bool:
    named = isinstance(value, tuple) and all(isinstance(name, str) for name in value)
    return named and len(set(cast(tuple[str, ...], value))) == len(cast(tuple[str, ...], value))


def _is_zone(value: object) -> bool:
    return isinstance(value, str) and is_zone(value)


def _are(kind: type) -> Any:
    return lambda value: isinstance(value, tuple) and all(isinstance(each, kind) for each in value)


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _are_numbers(value: object) -> bool:
    numbers = isinstance(value, tuple) and all(
        isinstance(each, int | float) and not isinstance(each, bool) and abs(each) <= LARGEST
        for each in value
    )
    return value is None or numbers


def _are_weights(value: object) -> bool:
    if value is None:
        return True
    check = _real(0, 1e6)
    return isinstance(value, tuple) and all(check(each) for each in value)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamConfig:
    """One stream's configuration; checked when made.

    Attributes:
        name: 1 to 100 letters, digits, dots, underscores or hyphens.
        features: names of a record's values, in order.
        partitions: ordered parts of the stream, 1 to 256; every key belongs to one.
        transform: what is done to records before forests see them (see `rcf.transform`).
        weights: one number for each feature, what it counts for, 0 to 1e6; None for 1 each, and
            with the transform "none".
        time_weight: weight of the gap between a series' records as one more coordinate, `time`, 0
            to 1e6; 0 for none.
        shingle_size: records end to end in one point, 1 to 1000.
        smoothing: records of the trailing mean that a second forest sees, 1 to 1000; 1 for no
            second forest.
        trees: trees of each series' first forest, 1 to 1000.
        sample_size: points behind each tree of it, 2 to 16383.
        time_decay: weight lost per record, [0, 1), or None for the library's default; a change
            reaches each series with its next record, as all that sets thresholds does.
        score: "blend", "codisp", "disp" or "depth".
        threshold: how thresholds are set: "automatic", "budget", "percentile", "sigma", "fixed".
        threshold_level: percentage, deviations or score, in the modes that have one; None takes
            the mode's default.
        cool_down: records below the threshold that end an event, 0 to 1000000.
        alert_budget: anomalies of a series allowed in any period, 1 to 1000; None for any number.
        alert_budget_s: seconds of that period, by the records' times; 1 to 31536000.
        multi_mode: whether a record's distance has a say besides its score: "none"; "precision",
            what it finds ordinary is no anomaly; "recall", what it finds out of the ordinary is
            one, too. Turned on while the stream runs, it begins with each series' next records.
        seed: root of all randomness of the stream, [0, 2**63).
        output_after: records of a series before its first score, or None for the default.
        new_series: what a series' first record finds: "cold" forests, or the samples "shared" by
            the first four series, of the partition's first 64, that have seen `sample_size`
            records.
        max_series: series that may be held in one partition; further keys get an error result.
        retention: records and results kept per partition, at least 1000.
        decoder: how a record's bytes are read: "json" flat JSON with fields, "array" a JSON array,
            "number" one number, "csv" one line of numbers with commas, "auto" any of the first
            three. All of them read flat JSON too, for that is what HTTP appends.
        explain: which results say why: those of "anomalies", "all", "none".
        dead_letter_share: a partition halts when more than this share of its last 1000 records
            became dead letters, [0, 1]; 0 never halts it.
        dead_letter_run: a partition halts after so many dead letters in a row; 0 never halts it.
        forecast: whether results say what each value was expected to be, with a band that holds 90
            of 100 values, and the series tells what comes next. Turned on while the stream runs, it
            begins with each series' next record.
        missing: what stands in the place of a missing value (see `rcf.gaps`); "refuse" makes an
            error of the record. "forecast" needs `forecast`.
        fill: one number for each feature, for `missing` "fixed"; else None.
        learning: whether forests learn; thresholds and forecasts follow the records even where
            they do not.
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
        told_from: anomalies of records before this time, RFC 3339 or without an offset in the
            zone, are not told of: they are history; None tells of all.
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
    transform: str = _field("model", "none", TRANSFORMS.__contains__, ", ".join(TRANSFORMS))
    weights: tuple[float, ...] | None = _field(
        "model", None, _are_weights, "a list of numbers from 0 to 1000000, or null"
    )
    time_weight: float = _field("model", 0.0, _real(0, 1e6), "a number from 0 to 1000000")
    shingle_size: int = _field("model", 1, _whole(1, 1000), "a whole number from 1 to 1000")
    smoothing: int = _field("model", 12, _whole(1, 1000), "a whole number from 1 to 1000")
    trees: int = _field("model", 30, _whole(1, 1000), "a whole number from 1 to 1000")
    sample_size: int = _field("model", 1024, _whole(2, 16383), "a whole number from 2 to 16383")
    time_decay: float | None = _field(
        "live", None, _is_decay, "a number of at least 0 and below 1, or null"
    )
    score: str = _field("model", "blend", SCORES.__contains__, ", ".join(SCORES))
    threshold: str = _field("live", "automatic", THRESHOLDS.__contains__, ", ".join(THRESHOLDS))
    threshold_level: float | None = _field(
        "live", None, _is_level, "a number from 0 to 1e9, or null; see the mode of `threshold`"
    )
    cool_down: int = _field("live", 40, _whole(0, 10**6), "a whole number from 0 to 1000000")
    alert_budget: int | None = _field(
        "live", None, _whole(1, 1000, optional=True), "a whole number from 1 to 1000, or null"
    )
    alert_budget_s: int = _field(
        "live", 86_400, _whole(1, 31_536_000), "a whole number from 1 to 31536000"
    )
    multi_mode: str = _field("live", "none", MULTI_MODES.__contains__, ", ".join(MULTI_MODES))
    seed: int = _field("model", 0, _whole(0, 2**63 - 1), "a whole number from 0 to 2**63 - 1")
    output_after: int | None = _field(
        "model", None, _whole(1, 2**31, optional=True), "a whole number of at least 1, or null"
    )
    new_series: str = _field("live", "cold", NEW_SERIES.__contains__, ", ".join(NEW_SERIES))
    max_series: int = _field("live", 1000, _whole(1, 10**6), "a whole number from 1 to 1000000")
    retention: int = _field(
        "live", 1_000_000, _whole(1000, 10**12), "a whole number of at least 1000"
    )
    decoder: str = _field("live", "auto", DECODERS.__contains__, ", ".join(DECODERS))
    explain: str = _field("live", "anomalies", EXPLAIN.__contains__, ", ".join(EXPLAIN))
    dead_letter_share: float = _field("live", 0.2, _is_share, "a number from 0 to 1; 0 for never")
    dead_letter_run: int = _field(
        "live", 1000, _whole(0, 10**9), "a whole number from 0 to 1000000000; 0 for never"
    )
    forecast: bool = _field("live", True, _is_flag, "true or false")
    missing: str = _field("live", "refuse", MISSING.__contains__, ", ".join(MISSING))
    fill: tuple[float, ...] | None = _field(
        "live", None, _are_numbers, "a list of numbers, or null"
    )
    learning: bool = _field("live", True, _is_flag, "true or false")
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
    told_from: str | None = _field("live", None, _optional(_is_text), TOLD_FROM_ALLOWED)
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
        self._check_threshold()
        self._check_gaps()
        self._check_transform()
        self._check_told_from()
        check_rules(self.rules, self.features)
        check_factors(self.threshold_factors)
        unknown = [name for name in self.counters if name not in self.features]
        if unknown:
            raise InvalidParameter("counters", unknown[0], ", ".join(self.features))
        dimensions = len(self.coordinates) * self.shingle_size
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

    @property
    def coordinates(self) -> tuple[str, ...]:
        """What a point has of each record: the features, and the time where it has a weight."""
        return (*self.features, TIME) if self.time_weight > 0.0 else self.features

    @property
    def told_from_ms(self) -> int | None:
        """`told_from` in milliseconds since 1970; without an offset a time of the zone."""
        return None if self.told_from is None else parse_time(self.told_from, ZoneInfo(self.zone))

    def _check_told_from(self) -> None:
        try:
            _ = self.told_from_ms
        except InvalidRecord:
            raise InvalidParameter("told_from", self.told_from, TOLD_FROM_ALLOWED) from None

    def _check_transform(self) -> None:
        if self.weights is not None:
            if self.transform == "none":
                raise InvalidParameter("weights", self.weights, 'null where transform is "none"')
            if len(self.weights) != len(self.features):
                allowed = f"{len(self.features)} numbers, one for each feature"
                raise InvalidParameter("weights", self.weights, allowed)
        if self.time_weight > 0.0 and TIME in self.features:
            allowed = f"0 where a feature is named {TIME!r}"
            raise InvalidParameter("time_weight", self.time_weight, allowed)

    def _check_threshold(self) -> None:
        if self.threshold == "budget" and self.alert_budget is None:
            raise InvalidParameter(
                "alert_budget", None, 'a number of anomalies where threshold is "budget"'
            )
        level, range_of = self.threshold_level, LEVELS.get(self.threshold)
        if range_of is None:
            if level is not None:
                raise InvalidParameter(
                    "threshold_level", level, f"null where threshold is {self.threshold!r}"
                )
        elif level is None:
            if self.threshold == "fixed":
                raise InvalidParameter(
                    "threshold_level", None, 'a score where threshold is "fixed"'
                )
        elif not range_of[0] <= level <= range_of[1]:
            low, high = range_of
            raise InvalidParameter(
                "threshold_level",
                level,
                f"a number from {low:g} to {high:g} where threshold is {self.threshold!r}",
            )

    def _check_gaps(self) -> None:
        if self.missing == "forecast" and not self.forecast:
            raise InvalidParameter("missing", self.missing, "another one where forecast is false")
        wanted = len(self.features) if self.missing == "fixed" else 0
        if len(self.fill or ()) != wanted:
            allowed = (
                f"{wanted} numbers, one for each feature" if wanted else 'null but for "fixed"'
            )
            raise InvalidParameter("fill", self.fill, allowed)

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


def time_decay_of(
    time_decay: float | None, half_life: float | None, window: float | None
) -> float | None:
    """Return the `time_decay` that one of three ways to say it means; None if none is given.

    Args:
        time_decay: the rate itself.
        half_life: records after which a sampled point weighs half, at least 1.
        window: records that are remembered, at least 3: of the points sampled, 95 % are younger.

    Raises:
        InvalidParameter: two are given, or one is outside what is allowed.
    """
    from rcf.decay import decay_of  # takes NumPy along, which whoever prints a schema does without

    try:
        return decay_of(time_decay, half_life, window)
    except rcf.InvalidParameter as error:
        raise InvalidParameter(error.field, error.value, error.allowed) from error


DECISIVE = (
    *(
        "name",
        "features",
        "transform",
        "weights",
        "time_weight",
        "shingle_size",
        "smoothing",
        "trees",
        "sample_size",
        "time_decay",
        "new_series",
    ),
    *("score", "threshold", "threshold_level", "cool_down", "alert_budget", "alert_budget_s"),
    *("seed", "output_after", "missing", "fill", "learning", "counters", "generation"),
    "multi_mode",
)
"""The fields that decide what is said of a series, given its records."""


def model_digest(config: StreamConfig) -> str:
    """Name the model that a configuration makes: 16 hex digits."""
    decisive = [getattr(config, name) for name in DECISIVE]
    if config.multi_mode == "none":  # a model that is older than the field keeps its name
        decisive.pop()
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
