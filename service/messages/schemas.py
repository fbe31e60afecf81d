"""A JSON Schema for every message, made from the types that the code reads and writes with.

Bodies come from those types alone; what a dictionary of headers looks like stands here. Headers are
bytes in Kafka; their schemas are of the text in them.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import msgspec

from service.engine.config import StreamConfig
from service.engine.feedback import Advice
from service.engine.outcome import Outcome
from service.messages import headers
from service.messages.pointer import StoredPointer
from service.messages.record import RecordWithGaps
from service.messages.stream import Stored

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_PUBLISHED = {
    "IncidentEvent": "Incident",
    "Outcome": "Result",
    "RecordWithGaps": "Record",
    "StoredPointer": "Checkpoint",
    "Stored": "StoredStream",
}
"""Types that are called otherwise outside."""

_NUMBERS: Schema = {"type": "array", "items": {"type": ["number", "null"]}, "minItems": 1}


def components(template: str) -> dict[str, Schema]:
    """Return the schemas by name; they refer to each other as the template says (`{name}`)."""
    kinds = (Advice, RecordWithGaps, Outcome, StoredPointer, StreamConfig, Stored)
    _, made = msgspec.json.schema_components(kinds, ref_template=template)
    renamed = {
        template.format(name=name): template.format(name=other)
        for name, other in _PUBLISHED.items()
    }
    found = {
        _PUBLISHED.get(name, name): _tidied(schema, renamed) | {"title": _PUBLISHED.get(name, name)}
        for name, schema in made.items()
    }
    for item in fields(StreamConfig):
        allowed = item.metadata["allowed"]
        found["StreamConfig"]["properties"][item.name].setdefault("description", allowed)

    def refer(name: str) -> Schema:
        return {"$ref": template.format(name=name)}

    found["KafkaRecord"] = {
        "title": "KafkaRecord",
        "description": "The value of an input record, as the decoders auto, json and array read "
        "it: flat JSON, or the numbers alone in the order of the features.",
        "anyOf": [refer("Record"), _NUMBERS, {"type": "number"}],
    }
    found["Anomaly"] = {
        "title": "Anomaly",
        "description": "A result that is told of as an anomaly; its grade is above 0.",
        "allOf": [
            refer("Result"),
            {
                "properties": {
                    "status": {"enum": ["scored", "imputed"]},
                    "values": {"type": "array"},
                    "score": {"type": "number"},
                    "threshold": {"type": "number"},
                    "grade": {"type": "number", "exclusiveMinimum": 0},
                    "anomaly": {"const": True},
                }
            },
        ],
    }
    found["ResultHeaders"] = _headers(
        "Headers of a result: those of a CloudEvent, and the record's own. A header of the record "
        f"whose name is one of these stands behind `{headers.CARRIED}`.",
        {
            headers.CE_ID: _text("topic/partition/offset of the input record: one for each result,"
                                 " the same after any repetition.", r"^.+/\d+/\d+$"),
            headers.CE_SPECVERSION: {"const": headers.SPECVERSION},
            headers.CE_TYPE: {"const": headers.RESULT_TYPE},
            headers.CE_SOURCE: _text("The stream.", r"^/streams/.+$"),
            headers.CONTENT_TYPE: {"const": headers.JSON},
        },
        {
            headers.ANOMALY: {"const": "true", "description": "Only of an anomaly."},
            headers.INCIDENT: {"const": "true", "description": "Only where incidents are told of."},
            headers.TIMESTAMP: _text("Milliseconds since 1970, where negative.", r"^-\d+$"),
            headers.KEY: _text("The key as hex, where it is no UTF-8.", "^([0-9a-f]{2})+$"),
        },
    )  # fmt: skip
    found["IncidentHeaders"] = _headers(
        "Headers of an incident: those of a CloudEvent.",
        {
            headers.CE_ID: _text("topic/partition/offset#number of the record that made the event: "
                                 "the same after any repetition.", r"^.+/\d+/\d+#\d+$"),
            headers.CE_SPECVERSION: {"const": headers.SPECVERSION},
            headers.CE_TYPE: {"const": headers.INCIDENT_TYPE},
            headers.CE_SOURCE: _text("The stream.", r"^/streams/.+$"),
            headers.CONTENT_TYPE: {"const": headers.JSON},
        },
        {headers.TIMESTAMP: _text("Milliseconds since 1970, where negative.", r"^-\d+$")},
    )  # fmt: skip
    found["AnomalyHeaders"] = {
        "title": "AnomalyHeaders",
        "description": "Headers of a result that is an anomaly.",
        "allOf": [refer("ResultHeaders"), {"required": [headers.ANOMALY]}],
    }
    found["DeadLetterHeaders"] = _headers(
        "Headers of a dead letter: why it is one, named as Kafka Connect does, and the record's "
        "own as they came. The value is the record's, byte for byte; null where there was none.",
        {
            headers.ERROR_TOPIC: _text("Where the record stands."),
            headers.ERROR_PARTITION: _text("Where the record stands.", r"^\d+$"),
            headers.ERROR_OFFSET: _text("Where the record stands.", r"^\d+$"),
            headers.ERROR_CLASS: {"const": "InvalidRecord"},
            headers.ERROR_MESSAGE: _text("What is wrong with it.", "."),
            headers.ERROR_FIELD: _text('The field to mend; "" is the record as a whole.'),
        },
        {headers.TIMESTAMP: _text("Milliseconds since 1970, where negative.", r"^-\d+$")},
    )
    found["StreamChangeHeaders"] = _headers(
        "Header of a record that changes the stream's configuration.",
        {headers.CONTROL: _text("The stream's incarnation; of another one it is data.", r"^\d+$")},
        {headers.TIMESTAMP: _text("Milliseconds since 1970, where negative.", r"^-\d+$")},
    )
    return found


DOCUMENTS = {
    "record": "KafkaRecord",
    "stream-change": "StreamConfig",
    "stream-change-headers": "StreamChangeHeaders",
    "score": "Result",
    "score-headers": "ResultHeaders",
    "anomaly": "Anomaly",
    "anomaly-headers": "AnomalyHeaders",
    "incident": "Incident",
    "incident-headers": "IncidentHeaders",
    "dead-letter-headers": "DeadLetterHeaders",
    "checkpoint": "Checkpoint",
    "stream": "StoredStream",
}
"""Name of a schema that stands alone -> what it is of. The body of a dead letter is any bytes."""


def document(name: str) -> Schema:
    """Return one schema that needs no other.

    Raises:
        KeyError: there is none of this name; `DOCUMENTS` has them all.
    """
    root = DOCUMENTS[name]
    known = components("#/$defs/{name}")
    needed: dict[str, Schema] = {}
    waiting = _named(known[root])
    while waiting:
        each = waiting.pop()
        if each not in needed:
            needed[each] = known[each]
            waiting |= _named(known[each])
    alone: Schema = {"$schema": DIALECT, "$id": f"urn:rcf-stream:schema:{name}", **known[root]}
    return alone | ({"$defs": needed} if needed else {})


def _named(schema: object) -> set[str]:
    """Return the names that a schema refers to."""
    if isinstance(schema, dict):
        found = {schema["$ref"].rpartition("/")[2]} if "$ref" in schema else set()
        return found.union(*map(_named, schema.values()))
    if isinstance(schema, list):
        return set().union(*map(_named, schema))
    return set()


def _tidied(schema: Any, renamed: dict[str, str]) -> Any:
    """Refer to published names, and keep the first line of a docstring."""
    if isinstance(schema, list | tuple):
        return [_tidied(each, renamed) for each in schema]
    if not isinstance(schema, dict):
        return schema
    tidy = {name: _tidied(each, renamed) for name, each in schema.items()}
    if isinstance(tidy.get("$ref"), str):
        tidy["$ref"] = renamed.get(tidy["$ref"], tidy["$ref"])
    if isinstance(tidy.get("description"), str):
        tidy["description"] = tidy["description"].partition("\n")[0]
    return tidy


def _headers(description: str, always: dict[str, Schema], sometimes: dict[str, Schema]) -> Schema:
    return {
        "title": "Headers",
        "description": description,
        "type": "object",
        "properties": always | sometimes,
        "required": list(always),
    }


def _text(description: str, pattern: str | None = None) -> Schema:
    rule = {} if pattern is None else {"pattern": pattern}
    return {"type": "string", "description": description, **rule}
