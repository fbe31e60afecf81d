"""The AsyncAPI 3 document: every topic, who writes it, and what its records look like."""

from __future__ import annotations

from typing import Any

from service.messages import examples
from service.messages.schemas import Schema, components
from service.messages.topics import control_topic, topics_of

VERSION = "3.0.0"
_BINDING = "0.5.0"
_SERIES = "The series, as text."
_ANY = "The key of the input record, byte for byte."

_TOPICS = topics_of("{stream}")


def asyncapi(version: str) -> dict[str, Any]:
    """Return the document for this version of the service."""
    return {
        "asyncapi": VERSION,
        "id": "urn:rcf-stream",
        "info": {
            "title": "rcf-stream on Kafka",
            "version": version,
            "description": "Records in, one result for each out, exactly once: read with "
            "`isolation.level=read_committed`. All topics of a stream have the same partitions; "
            "what comes of partition p of the input stands in partition p.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {name: _channel(*each) for name, each in _CHANNELS.items()},
        "operations": {name: _operation(*each) for name, each in _OPERATIONS.items()},
        "components": {
            "messages": _messages(),
            "schemas": components("#/components/schemas/{name}"),
            "parameters": {
                "stream": {"description": "The stream.", "examples": ["rooms"]},
                "application": {
                    "description": "RCF_KAFKA_APPLICATION.",
                    "default": "rcf",
                },
            },
        },
    }


_CHANNELS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "records": (
        _TOPICS.input,
        "Input. The key names the series; without one, the value's field `key` does.",
        ("record", "recordText", "streamChange"),
    ),
    "scores": (_TOPICS.scores, "One result for each record of the input.", ("score",)),
    "anomalies": (
        _TOPICS.anomalies,
        "The results that are anomalies, once more, and incidents as they open, change and close; "
        "`ce_type` tells them apart.",
        ("anomaly", "incident"),
    ),
    "deadLetters": (
        _TOPICS.dead_letters,
        "Records that could not be scored, as they came, with the reason.",
        ("deadLetter",),
    ),
    "checkpoints": (
        _TOPICS.checkpoints,
        "Compacted: where the newest snapshots are. For the service itself.",
        ("checkpoint",),
    ),
    "streams": (
        control_topic("{application}"),
        "Compacted: the streams. For the service itself; a null ends a stream.",
        ("stream",),
    ),
}
"""Name -> address, description, messages."""

_OPERATIONS = {
    "receiveRecords": ("receive", "records", "Score records, and learn from them."),
    "sendScores": ("send", "scores", "Say what came of every record."),
    "sendAnomalies": ("send", "anomalies", "Say which records are anomalous, and what incidents."),
    "sendDeadLetters": ("send", "deadLetters", "Put aside what could not be scored."),
    "sendCheckpoints": ("send", "checkpoints", "Remember a snapshot."),
    "sendStreams": ("send", "streams", "Remember a stream."),
}
"""Name -> action, channel, summary."""


def _channel(address: str, description: str, messages: tuple[str, ...]) -> Schema:
    parameter = address[address.index("{") + 1 : address.index("}")]
    return {
        "address": address,
        "description": description,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "parameters": {parameter: {"$ref": f"#/components/parameters/{parameter}"}},
    }


def _operation(action: str, channel: str, summary: str) -> Schema:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": summary,
    }


def _messages() -> dict[str, Schema]:
    record = {"payload": examples.RECORD}
    result = {"payload": examples.RESULT, "headers": examples.RESULT_HEADERS}
    dead = {"payload": "21,5", "headers": examples.DEAD_LETTER_HEADERS}
    return {
        "record": _message("A record", "KafkaRecord", _SERIES, example=record),
        "recordText": {
            "title": "A record as text",
            "summary": "Where the stream's decoder is `number` or `csv`.",
            "contentType": "text/csv",
            "payload": {"type": "string", "description": "One number, or several with commas."},
            "examples": [{"payload": "21.5,0.72"}],
            **_keyed(_SERIES),
        },
        "streamChange": _message(
            "A change of the stream's configuration, from the next record on",
            "StreamConfig",
            "Null.",
            "StreamChangeHeaders",
        ),
        "score": _message("A result", "Result", _SERIES, "ResultHeaders", example=result),
        "anomaly": _message("An anomaly", "Anomaly", _SERIES, "AnomalyHeaders", example=result),
        "incident": _message(
            "What a record did to an incident",
            "Incident",
            "The series of the record.",
            "IncidentHeaders",
            example={"payload": examples.INCIDENT, "headers": examples.INCIDENT_HEADERS},
        ),
        "deadLetter": {
            "title": "A dead letter",
            "contentType": "application/octet-stream",
            "payload": {"description": "The record's value, byte for byte."},
            "headers": _schema("DeadLetterHeaders"),
            "examples": [dead],
            **_keyed(_ANY),
        },
        "checkpoint": _message("A snapshot's whereabouts", "Checkpoint", "partition/slot."),
        "stream": _message("A stream", "StoredStream", "The stream's name."),
    }


def _message(
    title: str, payload: str, key: str, headers: str | None = None, example: Any = None
) -> Schema:
    return {
        "title": title,
        "contentType": "application/json",
        "payload": _schema(payload),
        **({} if headers is None else {"headers": _schema(headers)}),
        **({} if example is None else {"examples": [example]}),
        **_keyed(key),
    }


def _keyed(description: str) -> Schema:
    key = {"type": ["string", "null"], "description": description}
    return {"bindings": {"kafka": {"key": key, "bindingVersion": _BINDING}}}


def _schema(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}
