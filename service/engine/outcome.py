"""A result as readers get it: the flat JSON of every answer, event and score.

The published JSON Schema is made from these types, so what stands here is what readers see.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from service.engine.incidents import IncidentEvent

VERSION = 3
"""Grows when the bytes of a result change: a restart then does not compare what it repeats with
results that an earlier version wrote."""

Status = Literal["scored", "suppressed", "warming", "late", "duplicate", "error", "control"]


class Reason(msgspec.Struct, frozen=True, gc=False):
    """Why a record has no score."""

    field: Annotated[str, Meta(description='The field to mend; "" is the record as a whole.')]
    value: Annotated[str | None, Meta(description="What stood there, shortened.")]
    reason: Annotated[str, Meta(description="What is wrong with it.")]


class HeldBack(msgspec.Struct, frozen=True, gc=False):
    """Why an anomaly is not told of."""

    rule: Annotated[
        str, Meta(description='Name of the stream\'s rule that held it back; "" for none of them.')
    ]
    reason: Annotated[
        str, Meta(description="The conditions of the rule, all of which were met; or why else.")
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
        list[float] | None,
        Meta(description="The record's values in the order of the features; null if unreadable."),
    ]
    status: Annotated[
        Status,
        Meta(
            description="`suppressed`: anomalous, but held back, see `held_back`. `warming`: too "
            "little seen. `late`, `duplicate`: passed over, neither scored nor learnt. `error`: no "
            "valid record, see `error`. `control`: the stream was changed here."
        ),
    ]
    score: Annotated[float | None, Meta(description="Null while warming, never 0 for that.")]
    threshold: Annotated[float | None, Meta(description="A score above it is anomalous.")]
    grade: Annotated[
        float | None,
        Meta(
            description="How anomalous; 0 is normal.",
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
    error: Annotated[
        Reason | UnsetType, Meta(description="Only with the status `error`: why it has no score.")
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
    held_back: Annotated[
        HeldBack | UnsetType, Meta(description="Only with the status `suppressed`: why.")
    ] = UNSET
    incidents: Annotated[
        list[IncidentEvent] | UnsetType,
        Meta(description="What the record did to incidents: opened, updated or closed them."),
    ] = UNSET


class _Events(msgspec.Struct):
    """The part of an outcome that tells of incidents."""

    incidents: list[Raw] = []


_events = msgspec.json.Decoder(_Events).decode


def incident_events(value: bytes) -> list[bytes]:
    """Return the incident events that an outcome carries, JSON each."""
    return [bytes(event) for event in _events(value).incidents]
