"""Names of the headers that messages bear, and how those of a record are carried along.

Results bear the headers of a CloudEvent in binary mode; dead letters those that Kafka Connect
gives. A record's own header travels under its own name; where that is one of ours, behind
`input.`: the result of a CloudEvent has its own `ce_id`, and the record's as `input.ce_id`.
"""

from __future__ import annotations

CE_ID = "ce_id"
CE_SPECVERSION = "ce_specversion"
CE_TYPE = "ce_type"
CE_SOURCE = "ce_source"
CONTENT_TYPE = "content-type"

SPECVERSION = "1.0"
RESULT_TYPE = "io.github.rcf-stream.result"
INCIDENT_TYPE = "io.github.rcf-stream.incident"
JSON = "application/json"

ANOMALY = "rcf-anomaly"
"""There, and `true`, where the record is an anomaly: so that readers may filter without parsing."""

INCIDENT = "rcf-incident"
"""There, and `true`, where the result tells of incidents."""

CONTROL = "rcf-control"
"""Of a record that changes a stream's configuration; names the stream's incarnation."""

TIMESTAMP = "rcf-timestamp"
"""Milliseconds since 1970 of a time before 1970, which Kafka's own field cannot hold."""

KEY = "rcf-key"
"""The bytes, as hex, of a key that is no UTF-8 and stands escaped everywhere else."""

_ERRORS = "__connect.errors."
ERROR_TOPIC = f"{_ERRORS}topic"
ERROR_PARTITION = f"{_ERRORS}partition"
ERROR_OFFSET = f"{_ERRORS}offset"
ERROR_CLASS = f"{_ERRORS}exception.class.name"
ERROR_MESSAGE = f"{_ERRORS}exception.message"
ERROR_FIELD = "rcf.errors.field"

OF_RESULTS = frozenset(
    (CE_ID, CE_SPECVERSION, CE_TYPE, CE_SOURCE, CONTENT_TYPE, ANOMALY, INCIDENT, TIMESTAMP)
)
OF_DEAD_LETTERS = frozenset(
    (ERROR_TOPIC, ERROR_PARTITION, ERROR_OFFSET, ERROR_CLASS, ERROR_MESSAGE, ERROR_FIELD, TIMESTAMP)
)
OF_INPUT = frozenset((CONTROL, TIMESTAMP, KEY))
"""What the service itself puts beside input records; not carried along."""

CARRIED = "input."
_RESERVED = ("ce_", "rcf-", CONTENT_TYPE, CARRIED)


def carried_name(name: str) -> str:
    """Return the name under which a record's header stands beside its result."""
    return f"{CARRIED}{name}" if name.startswith(_RESERVED) and name != KEY else name


def original_name(name: str) -> str:
    """Return the name that `carried_name` was given."""
    return name.removeprefix(CARRIED)
