"""A result as readers get it: the flat JSON of every answer, event and score.

The published JSON Schema is made from these types, so what stands here is what readers see.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from service.engine.incidents import IncidentEvent

VERSION = 3
"""Grows when the bytes of a result change: a restart then does not compare what it repeats with
results that an earlier version wrote."""

Status = Literal[
    "scored", "imputed", "suppressed", "warming", "late", "duplicate", "error", "control"
]


HELD_BACK = {1: "cool_down", 2: "flat", 3: "budget", 4: "drift", 5: "distance"}
"""Why a detector holds a record back, by its numbers; those of `rcf.alert.HELD_BACK`."""


class Reason(msgspec.Struct, frozen=True, gc=False):
    """Why a record has no score."""

    field: Annotated[str, Meta(description='The field to mend; "" is the record as a whole.')]
    value: Annotated[str | None, Meta(description="What stood there, shortened.")]
    reason: Annotated[str, Meta(description="What is wrong with it.")]


class FeatureReason(msgspec.Struct, frozen=True, gc=False):
    """What one feature contributes to a score."""

    feature: Annotated[str, Meta(description="The feature's name.")]
    high: Annotated[
        float,
        Meta(
            description="Share of the score that is due to values above what is usual.",
            extra_json_schema={"minimum": 0},
        ),
    ]
    low: Annotated[
        float,
        Meta(
            description="The same of values below.",
            extra_json_schema={"minimum": 0},
        ),
    ]
    direction: Annotated[
        Literal["high", "low"], Meta(description="`high` where that share is the larger one.")
    ]
    strength: Annotated[
        float,
        Meta(
            description="How far the two shares differ: 0 says nothing of the direction.",
            extra_json_schema={"minimum": 0},
        ),
    ]
    lag: Annotated[
        int,
        Meta(
            description="How many records ago the value came that contributes most.",
            extra_json_schema={"minimum": 0},
        ),
    ]


class HeldBack(msgspec.Struct, frozen=True, gc=False):
    """Why an anomaly is not told of."""

    rule: Annotated[
        str,
        Meta(description='Name of the stream\'s rule that held it back; "": the detector did.'),
    ]
    reason: Annotated[
        str,
        Meta(
            description="The conditions of the rule, all of which were met. Or `cool_down`: it "
            "belongs to an event that was said; `drift`: it is an ordinary one beside the last "
            "records, soon after an event; `flat`: it changes nothing in a flat series; `budget`: "
            "the alerts are used up; `distance`: its distance is an ordinary one, and the stream's "
            "`multi_mode` is `precision`."
        ),
    ]


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """The one result of one record."""

    stream: Annotated[str, Meta(description="The stream; on Kafka also the input topic.")]
    key: Annotated[str, Meta(description='The series; "" for records without a key.')]
    partition: Annotated[
        int, Meta(description="Where the record stands.", extra_json_schema={"minimum": 0})
    ]
    offset: Annotated[
        int, Meta(description="Where the record stands.", extra_json_schema={"minimum": 0})
    ]
    timestamp: Annotated[
        str,
        Meta(
            description="The record's time, in UTC with milliseconds.",
            extra_json_schema={"format": "date-time"},
        ),
    ]
    values: Annotated[
        Sequence[float | None] | None,
        Meta(
            description="The record's values in the order of the features, null where one is "
            "missing; null as a whole where the record could not be read."
        ),
    ]
    status: Annotated[
        Status,
        Meta(
            description="`imputed`: scored, with gaps that were filled, see `filled`. "
            "`suppressed`: the score reaches the threshold and the record is no anomaly, see "
            "`held_back`. `warming`: too little seen. `late`, `duplicate`: passed over, neither "
            "scored nor learnt. `error`: no valid record, see `error`. `control`: the stream was "
            "changed here."
        ),
    ]
    score: Annotated[float | None, Meta(description="Null while warming, never 0 for that.")]
    threshold: Annotated[
        float | None,
        Meta(
            description="A score that reaches it is anomalous. Where the stream's `multi_mode` is "
            "`recall`, so is a distance above `distance_threshold`."
        ),
    ]
    grade: Annotated[
        float | None,
        Meta(
            description="How anomalous; 0 is normal.",
            extra_json_schema={"minimum": 0, "maximum": 1},
        ),
    ]
    confidence: Annotated[
        float | None,
        Meta(
            description="Share of the series' own records that score lower: of ordinary records "
            "one in a hundred has more than 0.99. Null while warming.",
            extra_json_schema={"minimum": 0, "maximum": 1},
        ),
    ]
    anomaly: Annotated[bool, Meta(description="Whether the grade is above 0, and not held back.")]
    model: Annotated[
        str,
        Meta(
            description="Digest of everything in the configuration that decides scores. Two "
            "results of a series with one digest come from one model.",
            extra_json_schema={"pattern": "^[0-9a-f]{16}$"},
        ),
    ]
    attribution: Annotated[
        list[FeatureReason] | UnsetType,
        Meta(
            description="Why: what each feature contributes to the score, those that contribute "
            "most first, 32 at most. All features' `high` and `low` sum to the score; of an "
            "anomaly whose score is below the threshold, to the distance. Of anomalies, or of all "
            "records, as the stream's `explain` says."
        ),
    ] = UNSET
    expected: Annotated[
        list[float] | UnsetType | None,
        Meta(
            description="What each value was expected to be before it was seen, in the order of "
            "the features; null for a series' first record. Only where the stream says `forecast`."
        ),
    ] = UNSET
    lower: Annotated[
        list[float] | UnsetType | None,
        Meta(description="Lower end of the band that holds 90 of 100 values, as `expected`."),
    ] = UNSET
    upper: Annotated[
        list[float] | UnsetType | None, Meta(description="Upper end of that band.")
    ] = UNSET
    filled: Annotated[
        list[float] | UnsetType,
        Meta(description="Only of a record with gaps: the values as they were judged."),
    ] = UNSET
    error: Annotated[
        Reason | UnsetType, Meta(description="Only with the status `error`: why it has no score.")
    ] = UNSET
    held_back: Annotated[
        HeldBack | UnsetType,
        Meta(description="Only with the status `suppressed`: why."),
    ] = UNSET
    started: Annotated[
        str | UnsetType,
        Meta(
            description="When the event began to which the record belongs: before the record "
            "where a slow change was found late or the event goes on. Only of records that belong "
            "to one.",
            extra_json_schema={"format": "date-time"},
        ),
    ] = UNSET
    fields: Annotated[
        Raw | UnsetType,
        Meta(
            description="The record's other fields, as they came; up to 4,096 bytes of JSON.",
            extra_json_schema={"type": "object"},
        ),
    ] = UNSET
    fields_left_out: Annotated[
        int | UnsetType,
        Meta(
            description="How many other fields did not fit into `fields`.",
            extra_json_schema={"minimum": 1},
        ),
    ] = UNSET
    headers_left_out: Annotated[
        int | UnsetType,
        Meta(
            description="Kafka: how many of the record's headers did not fit into 4,096 bytes.",
            extra_json_schema={"minimum": 1},
        ),
    ] = UNSET
    rates: Annotated[
        list[float] | UnsetType,
        Meta(description="What was scored, where some features are counters: their rate a second."),
    ] = UNSET
    factor: Annotated[
        float | UnsetType,
        Meta(description="By which the stream's configuration multiplied the threshold; else 1."),
    ] = UNSET
    incidents: Annotated[
        list[IncidentEvent] | UnsetType,
        Meta(description="What the record did to incidents: opened, updated or closed them."),
    ] = UNSET
    distance: Annotated[
        float | UnsetType,
        Meta(
            description="How far the record lies from what is around it, in the unit of what the "
            "forest sees. Only where the stream has a `multi_mode`, and with a score.",
            extra_json_schema={"minimum": 0},
        ),
    ] = UNSET
    distance_threshold: Annotated[
        float | UnsetType,
        Meta(
            description="Above it the distance is out of the ordinary: three deviations above the "
            "mean of the series' distances, or as many as the stream's `sigma` says. Unknown for "
            "the first ten of them."
        ),
    ] = UNSET


class _Events(msgspec.Struct):
    """The part of an outcome that tells of incidents."""

    incidents: list[Raw] = []


_events = msgspec.json.Decoder(_Events).decode


def incident_events(value: bytes) -> list[bytes]:
    """Return the incident events that an outcome carries, JSON each."""
    return [bytes(event) for event in _events(value).incidents]
