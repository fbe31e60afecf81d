"""What the OpenAPI document says about bodies: schemas, examples, problems of each operation.

The keyword dictionaries at the end are handed to FastAPI's route decorators as they are.
"""

from dataclasses import fields
from typing import Any

from starlette.responses import Response

from service.api.formats import CSV, JSON, NDJSON
from service.api.problems import KINDS, MEDIA_TYPE
from service.engine.config import (
    CHANGES,
    DECODERS,
    EXPLAIN,
    MISSING,
    MULTI_MODES,
    NEW_SERIES,
    SCORES,
    THRESHOLDS,
    TRANSFORMS,
    Change,
    StreamConfig,
)
from service.engine.rules import MOST_RULES
from service.engine.times import TIME_NAMES
from service.messages import examples
from service.messages.schemas import Schema, components

_DEFAULTS: dict[str, Any] = {item.name: item.default for item in fields(StreamConfig)}


def _whole(low: int, high: int, description: str, name: str) -> Schema:
    return {
        "type": "integer",
        "minimum": low,
        "maximum": high,
        "default": _DEFAULTS[name],
        "description": description,
    }


_CHANGES: dict[Change, str] = {
    "live": "Can be changed at any time.",
    "model": "A change needs a fresh model: `?reset=true`.",
    "never": "Never changes.",
}

_SETTABLE: dict[str, Schema] = {
    "partitions": {
        "type": "integer",
        "minimum": 1,
        "maximum": 256,
        "description": "Ordered parts of the stream; a key belongs to one.",
    },
    "transform": {
        "type": "string",
        "enum": list(TRANSFORMS),
        "default": _DEFAULTS["transform"],
        "description": "What is done to records before forests see them: `robust` puts features "
        "of several units on scales of their own, `normalize` does so where spikes are few, "
        "`normalize_difference` looks at steps, `log` at orders of magnitude.",
    },
    "weights": {
        "type": ["array", "null"],
        "items": {"type": "number", "minimum": 0, "maximum": 1e6},
        "description": "What each feature counts for, under a transform; 0 leaves one out.",
    },
    "time_weight": {
        "type": "number",
        "minimum": 0,
        "maximum": 1e6,
        "default": _DEFAULTS["time_weight"],
        "description": "Weight of the gap between records as one more coordinate, `time`; 0: none.",
    },
    "shingle_size": _whole(1, 1000, "Records end to end in one point.", "shingle_size"),
    "smoothing": _whole(
        1,
        1000,
        "Records of the trailing mean that a second forest sees, for changes of level that no "
        "single record shows; 1 for no second forest.",
        "smoothing",
    ),
    "trees": _whole(1, 1000, "Trees of each series' first forest.", "trees"),
    "sample_size": _whole(2, 16383, "Points behind each tree of it.", "sample_size"),
    "time_decay": {
        "type": ["number", "null"],
        "minimum": 0,
        "exclusiveMaximum": 1,
        "description": "Weight that sampled points lose per record; null takes "
        "1 / 32768, or 1 / (10 sample_size) if that is less. A change reaches each series with its "
        "next record.",
    },
    "score": {
        "type": "string",
        "enum": list(SCORES),
        "default": _DEFAULTS["score"],
        "description": "Inverse depth blended with displacement, collusive displacement, "
        "displacement, or inverse depth (what AWS reports).",
    },
    "threshold": {
        "type": "string",
        "enum": list(THRESHOLDS),
        "default": _DEFAULTS["threshold"],
        "description": "How thresholds are set: `automatic`; `budget`, the highest scores that "
        "`alert_budget` allows; `percentile`, of the series' scores; `sigma`, deviations above "
        "their mean; `fixed`, a score.",
    },
    "threshold_level": {
        "type": ["number", "null"],
        "minimum": 0,
        "maximum": 1e9,
        "description": "Percentage (50 to 99.99; null takes 99.5), deviations (1 to 100; null "
        "takes 3) or score, where `threshold` is `percentile`, `sigma` or `fixed`.",
    },
    "cool_down": _whole(
        0,
        10**6,
        "Records below the threshold that end an event; of its records one is an anomaly.",
        "cool_down",
    ),
    "alert_budget": {
        "type": ["integer", "null"],
        "minimum": 1,
        "maximum": 1000,
        "description": "Anomalies of a series allowed in any `alert_budget_s`, by the records' "
        "times; null for any number.",
    },
    "alert_budget_s": _whole(
        1, 31_536_000, "Seconds that `alert_budget` is for.", "alert_budget_s"
    ),
    "multi_mode": {
        "type": "string",
        "enum": list(MULTI_MODES),
        "default": _DEFAULTS["multi_mode"],
        "description": "Whether a record's distance from what is around it has a say besides its "
        "score, as in AWS's multi-mode scores: `precision`, what the distance finds ordinary is "
        "no anomaly; `recall`, what it finds out of the ordinary is one, too.",
    },
    "seed": _whole(0, 2**63 - 1, "Root of all randomness of the stream.", "seed"),
    "output_after": {
        "type": ["integer", "null"],
        "minimum": 1,
        "maximum": 2**31,
        "description": "Records of a series before its first score; null takes the default.",
    },
    "max_series": _whole(
        1, 10**6, "Series held in one partition; further keys get an error result.", "max_series"
    ),
    "retention": _whole(1000, 10**12, "Records and results kept per partition.", "retention"),
    "decoder": {
        "type": "string",
        "enum": list(DECODERS),
        "default": _DEFAULTS["decoder"],
        "description": "How a record's bytes are read: `json` flat JSON with fields, `array` a "
        "JSON array, `number` one number, `csv` one line of numbers with commas, `auto` any of "
        "the first three. All of them read flat JSON too.",
    },
    "new_series": {
        "type": "string",
        "enum": list(NEW_SERIES),
        "default": _DEFAULTS["new_series"],
        "description": "What a series' first record finds: `cold` forests, which score nothing "
        "until they have learnt `output_after` points, or the samples `shared` by the first four "
        "series (of its partition's first 64) that have seen `sample_size` records.",
    },
    "explain": {
        "type": "string",
        "enum": list(EXPLAIN),
        "default": _DEFAULTS["explain"],
        "description": "Which results have an `attribution`. Of each record it costs several times "
        "its score.",
    },
    "dead_letter_share": {
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "default": _DEFAULTS["dead_letter_share"],
        "description": "A partition halts when more than this share of its last 1000 records "
        "became dead letters; 0 never halts it.",
    },
    "dead_letter_run": _whole(
        0,
        10**9,
        "A partition halts after so many dead letters in a row; 0 never halts it.",
        "dead_letter_run",
    ),
    "forecast": {
        "type": "boolean",
        "default": _DEFAULTS["forecast"],
        "description": "Whether results say what each value was expected to be, with a band that "
        "holds 90 of 100 values, and `…/forecast` tells what comes next.",
    },
    "missing": {
        "type": "string",
        "enum": list(MISSING),
        "default": _DEFAULTS["missing"],
        "description": "What stands in the place of a missing value (null, or a name left out): "
        "nothing, so that the record is an error; the last known value; zero; the number in "
        "`fill`; what the forest or the forecast expects there.",
    },
    "fill": {
        "type": ["array", "null"],
        "items": {"type": "number"},
        "default": None,
        "description": "One number for each feature where `missing` is `fixed`, else null.",
    },
    "learning": {
        "type": "boolean",
        "default": _DEFAULTS["learning"],
        "description": "Whether forests learn. Where they do not, records are scored against "
        "what was learnt before; thresholds and forecasts follow the records all the same.",
    },
    "counters": {
        "type": "array",
        "items": {"type": "string"},
        "uniqueItems": True,
        "default": [],
        "description": "Features that only grow, but for falls back to 0: judged by their rate per "
        "second since the series' record before.",
    },
    "late_after_s": {
        "type": ["number", "null"],
        "minimum": 0,
        "maximum": 1e12,
        "description": "Records whose time lies more seconds than that before the newest of their "
        "series are passed over as `late`; null: none are.",
    },
    "skip_duplicates": {
        "type": "boolean",
        "default": False,
        "description": "Whether a record with the key, time and values of one of the last 10,000 "
        "of its partition is passed over as `duplicate`.",
    },
    "zone": {
        "type": "string",
        "default": "UTC",
        "description": "IANA time zone of times that are written without an offset.",
    },
    "threshold_factors": {
        "type": "array",
        "items": {"$ref": "#/components/schemas/ThresholdFactor"},
        "default": [],
        "description": "How series' thresholds are raised or lowered; the first that speaks of a "
        "series counts.",
    },
    "feedback": {
        "type": "array",
        "items": {"$ref": "#/components/schemas/Feedback"},
        "default": [],
        "description": "Verdicts on results, as `POST …/feedback` adds them.",
    },
    "told_from": {
        "type": ["string", "null"],
        "description": "Anomalies of records before this time, RFC 3339, or without an offset in "
        "the `zone`, are not told of: they are history. `POST …/backfill` sets it.",
    },
    "incident_gap": _whole(
        1,
        10**6,
        "Records of a series in a row without an anomaly after which its part in an incident is "
        "over; until then its anomalies open no other.",
        "incident_gap",
    ),
    "incident_window_s": {
        "type": "number",
        "minimum": 0,
        "maximum": 1e9,
        "default": _DEFAULTS["incident_window_s"],
        "description": "Seconds of the records' time within which an anomaly of another series of "
        "the partition joins an incident; 0 keeps series apart.",
    },
    "incident_silence_s": {
        "type": "number",
        "minimum": 1,
        "maximum": 1e9,
        "default": _DEFAULTS["incident_silence_s"],
        "description": "Seconds of the records' time after which a series that sends nothing has "
        "left its incident.",
    },
    "rules": {
        "type": "array",
        "maxItems": MOST_RULES,
        "items": {"$ref": "#/components/schemas/Rule"},
        "default": [],
        "description": "Which anomalies are held back, with the status `suppressed`: by the first "
        "rule of which every condition is met.",
    },
}

#: Other ways to say `time_decay`, which is what a stream shows.
_MEMORY: dict[str, Schema] = {
    "half_life": {
        "type": ["number", "null"],
        "minimum": 1,
        "description": "Instead of `time_decay`: records after which a sampled point weighs half.",
    },
    "window": {
        "type": ["number", "null"],
        "exclusiveMinimum": 3,
        "description": "Instead of `time_decay`: records that are remembered; 95 % of the points "
        "sampled are younger.",
    },
}

STREAM_FIELDS: dict[str, Schema] = {
    name: field | {"description": f"{field['description']} {_CHANGES[CHANGES[name]]}"}
    for name, field in _SETTABLE.items()
}

_NAMES: Schema = {
    "type": "array",
    "items": {"type": "string", "minLength": 1, "maxLength": 200},
    "minItems": 1,
    "maxItems": 1000,
    "uniqueItems": True,
    "description": "Names of a record's values, in order.",
}


def _object(properties: dict[str, Schema]) -> Schema:
    """An object that has all of these members."""
    return {"type": "object", "required": list(properties), "properties": properties}


def _about_record(answer: dict[str, Schema]) -> Schema:
    """An answer about one record."""
    asked: dict[str, Schema] = {
        "stream": {"type": "string"},
        "key": {"type": "string"},
        "values": {"type": "array", "items": {"type": "number"}},
    }
    return _object(asked | answer)


_PUBLISHED = components("#/components/schemas/{name}")

_NUMBERS: Schema = {"type": "array", "items": {"type": "number"}}

COMPONENTS: dict[str, Schema] = {
    "Record": _PUBLISHED["Record"],
    "Records": {
        "type": "object",
        "required": ["records"],
        "additionalProperties": False,
        "properties": {
            "records": {
                "type": "array",
                "minItems": 1,
                "items": {"$ref": "#/components/schemas/Record"},
            }
        },
    },
    "Result": _PUBLISHED["Result"],
    **{
        name: _PUBLISHED[name]
        for name in (
            "Reason",
            "FeatureReason",
            "HeldBack",
            "Incident",
            "InvolvedSeries",
            "InvolvedFeature",
        )
    },
    **{name: _PUBLISHED[name] for name in ("Rule", "Mute", "ThresholdFactor", "Feedback")},
    "Incidents": {
        "type": "object",
        "required": ["incidents"],
        "properties": {
            "incidents": {
                "type": "array",
                "items": {
                    "allOf": [
                        {"$ref": "#/components/schemas/Incident"},
                        {
                            "required": ["group"],
                            "properties": {
                                "group": {
                                    "type": "string",
                                    "description": "The earliest of the incidents that overlap in "
                                    "time, in whichever partition.",
                                }
                            },
                        },
                    ]
                },
            }
        },
    },
    "Results": {
        "type": "object",
        "required": ["results"],
        "properties": {
            "results": {"type": "array", "items": {"$ref": "#/components/schemas/Result"}}
        },
    },
    "ResultsPage": {
        "type": "object",
        "required": ["results", "next"],
        "properties": {
            "results": {"type": "array", "items": {"$ref": "#/components/schemas/Result"}},
            "next": {
                "type": ["string", "null"],
                "description": "`cursor` of the page after; null where the log ends so far. With "
                "`last`, where later results begin.",
            },
            "complete": {
                "type": "boolean",
                "description": "Only with `last`: whether no older ones are left out for lying "
                "farther back than is looked.",
            },
        },
    },
    "Positions": {
        "type": "object",
        "required": ["positions"],
        "properties": {
            "positions": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["partition", "offset"],
                    "properties": {
                        "partition": {"type": "integer", "minimum": 0},
                        "offset": {"type": "integer", "minimum": 0},
                    },
                },
            }
        },
    },
    "Partitions": {
        "type": "object",
        "required": ["partitions"],
        "properties": {
            "partitions": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["partition", "state", "committed", "waiting", "reason"],
                    "properties": {
                        "partition": {"type": "integer", "minimum": 0},
                        "state": {
                            "type": "string",
                            "description": "`live`, `halted` by its dead letters, `restoring`, "
                            "`retrying`, `failed`, `fenced`, `stopped`, or `elsewhere`: another "
                            "process runs it.",
                        },
                        "committed": {
                            "type": "integer",
                            "description": "The next offset to get a result.",
                        },
                        "waiting": {
                            "type": "integer",
                            "description": "Records known to wait for theirs.",
                        },
                        "reason": {
                            "type": ["string", "null"],
                            "description": "Why it is not live, if anything is known.",
                        },
                    },
                },
            }
        },
    },
    "Explanation": _about_record(
        {
            "score": {"type": ["number", "null"], "description": "Null while warming."},
            "attribution": {
                "type": "array",
                "items": {"$ref": "#/components/schemas/FeatureReason"},
                "description": "What each feature contributes, most first; `high` and `low` of all "
                "sum to the score.",
            },
        }
    ),
    "Density": _about_record(
        {
            "density": {
                "type": ["number", "null"],
                "minimum": 0,
                "maximum": 1000,
                "description": "Mass over volume around the point; null while warming.",
            },
            "distance": {
                "type": ["number", "null"],
                "minimum": 0,
                "description": "How far the point lies from what is around it, in the unit of the "
                "values; null while warming.",
            },
            "features": {
                "type": "array",
                "items": _object(
                    {
                        "feature": {"type": "string"},
                        **{
                            name: {"type": "number", "minimum": 0}
                            for name in (
                                "density_high",
                                "density_low",
                                "distance_high",
                                "distance_low",
                            )
                        },
                    }
                ),
                "description": "Shares by the side on which the value lies; they sum to the two.",
            },
        }
    ),
    "Neighbours": _about_record(
        {
            "neighbours": {
                "type": "array",
                "items": _object(
                    {
                        "distance": {
                            "type": "number",
                            "minimum": 0,
                            "description": "Euclidean, over all records of the point.",
                        },
                        "trees": {
                            "type": "integer",
                            "minimum": 1,
                            "description": "How many trees find it nearest.",
                        },
                        "records": {
                            "type": "array",
                            "items": {"type": "array", "items": {"type": "number"}},
                            "description": "Its records, oldest first.",
                        },
                        "ago": {
                            "type": "array",
                            "items": {"type": ["integer", "null"], "minimum": 0},
                            "description": "How many records before the series' newest one it "
                            "ended, for each time it came; null: longer ago than is known.",
                        },
                    }
                ),
                "description": "Nearest first; none while warming.",
            }
        }
    ),
    "Forecast": _object(
        {
            "stream": {"type": "string"},
            "key": {"type": "string"},
            "forecast": {
                "type": "array",
                "items": _object(
                    {
                        "lead": {"type": "integer", "minimum": 1, "description": "Records ahead."},
                        "expected": _NUMBERS,
                        "lower": _NUMBERS,
                        "upper": _NUMBERS,
                    }
                ),
                "description": "The records to come, in order; empty before a series' first. Bands "
                "are calibrated to hold 90 of 100 values up to lead 16; further on they grow with "
                "the square root of the lead.",
            },
        }
    ),
    "Hotspots": _object(
        {
            "stream": {"type": "string"},
            "key": {"type": "string"},
            "hotspots": {
                "type": "array",
                "items": _object(
                    {
                        "density": {
                            "type": "number",
                            "minimum": 0,
                            "description": "Records over size: the product of the extents, each "
                            "counted as the radius at least.",
                        },
                        "low": {"type": "array", "items": {"type": "number"}},
                        "high": {"type": "array", "items": {"type": "number"}},
                        "records": {"type": "integer", "minimum": 1},
                        "holds_newest": {
                            "type": "boolean",
                            "description": "Whether the newest record lies in it or within the "
                            "radius of its box.",
                        },
                    }
                ),
            },
        }
    ),
    "StreamFields": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "features": {
                "anyOf": [
                    _NAMES,
                    {
                        "type": "integer",
                        "minimum": 1,
                        "maximum": 1000,
                        "description": "So many features, named v0, v1, ….",
                    },
                ]
            },
            **STREAM_FIELDS,
            **_MEMORY,
        },
    },
    "Stream": {
        "type": "object",
        "required": ["name", "features", *STREAM_FIELDS, "generation"],
        "properties": {
            "name": {"type": "string"},
            "features": _NAMES,
            **STREAM_FIELDS,
            "generation": {"type": "integer", "description": "Grows by one with every reset."},
        },
    },
    "Streams": {
        "type": "object",
        "required": ["streams"],
        "properties": {
            "streams": {"type": "array", "items": {"$ref": "#/components/schemas/Stream"}}
        },
    },
    "Problem": {
        "type": "object",
        "description": "RFC 9457. `type` is one of the problems listed in the documentation.",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string", "enum": [f"urn:rcf:problem:{slug}" for slug in KINDS]},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "field": {"type": "string"},
            "value": {},
            "allowed": {"type": "string"},
        },
    },
}

SECURITY_SCHEMES: Schema = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "Where RCF_TOKEN or RCF_TOKEN_FILE is set.",
    }
}
SECURITY: list[Schema] = [{}, {"token": []}]

_BATCH_EXAMPLE = {"records": [{"values": [21.5]}, {"values": [21.7]}]}
_STREAM_EXAMPLE = {"features": ["cpu", "memory"], "shingle_size": 4}


def _json(name: str, description: str, example: Any = None) -> Schema:
    content: Schema = {"schema": {"$ref": f"#/components/schemas/{name}"}}
    if example is not None:
        content["example"] = example
    return {"description": description, "content": {JSON: content}}


def _problems(*slugs: str) -> dict[int | str, Schema]:
    """Responses of these problems, those of one status together."""
    responses: dict[int | str, Schema] = {}
    for slug in slugs:
        kind = KINDS[slug]
        content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
        response = responses.setdefault(kind.status, {"description": "", "content": content})
        joined = (
            f"{response['description']}; {kind.title}" if response["description"] else kind.title
        )
        response["description"] = joined
        if slug in ("backpressure", "not-ready", "partition-halted", "too-many-subscribers"):
            response["headers"] = {"Retry-After": {"schema": {"type": "string"}}}
        if slug == "token-needed":
            response["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}}}
    return responses


_EVERYWHERE = ("method-not-allowed", "unknown-host", "internal-error")
_OPEN: list[Schema] = []
"""As the `security` of an operation: it needs no token."""


def _operation(responses: dict[int | str, Schema], *problems: str, **extra: Any) -> Schema:
    needed = () if extra.get("security") is _OPEN else ("token-needed",)
    return {
        "responses": responses | _problems(*problems, *needed, *_EVERYWHERE),
        "response_class": Response,
        "status_code": next(iter(responses)),
        **({"openapi_extra": extra} if extra else {}),
    }


_APPEND_BODY: Schema = {
    "required": True,
    "content": {
        JSON: {
            "schema": {
                "anyOf": [
                    {"$ref": "#/components/schemas/Record"},
                    {"$ref": "#/components/schemas/Records"},
                ]
            },
            "examples": {
                "one": {"summary": "One record", "value": examples.RECORD},
                "batch": {"summary": "A batch", "value": _BATCH_EXAMPLE},
            },
        },
        NDJSON[0]: {
            "schema": {"type": "string", "description": "One record per line."},
            "example": '{"values": [21.5]}\n{"values": [21.7]}\n',
        },
        CSV[0]: {
            "schema": {
                "type": "string",
                "description": "A header with feature names, optionally `key` and a column of "
                f"times, called {', '.join(f'`{name}`' for name in TIME_NAMES)}, in any case of "
                "letters, where no feature is called so; without a header, values alone in the "
                "order of the features.",
            },
            "example": "key,timestamp,v0\nroom-1,2026-01-31T12:00:00Z,21.5\n",
        },
    },
}

_STREAM = ("stream-not-found", "invalid-parameter", "not-ready")
_WRITES = ("foreign-page",)
_BODY = ("malformed-body", "body-too-large", "unsupported-media-type", *_WRITES)

APPEND = _operation(
    {
        200: _json("Results", "Scored, in the order given.", {"results": [examples.RESULT]}),
        202: _json(
            "Positions", "Durable; scored soon.", {"positions": [{"partition": 0, "offset": 0}]}
        ),
    },
    *_BODY,
    *_STREAM,
    "invalid-records",
    "backpressure",
    "partition-halted",
    "result-timeout",
    requestBody=_APPEND_BODY,
)
_SERIES = (*_STREAM, "series-not-found", "served-elsewhere")
_ONE_RECORD: Schema = {
    "required": True,
    "content": {
        JSON: {"schema": {"$ref": "#/components/schemas/Record"}, "example": examples.RECORD}
    },
}


def _about(schema: str, description: str) -> Schema:
    """An operation that answers a question about one record."""
    responses: dict[int | str, Schema] = {200: _json(schema, description)}
    return _operation(responses, *_BODY, *_SERIES, "invalid-records", requestBody=_ONE_RECORD)


EXPLAIN_RECORD = _about("Explanation", "The score, and why.")
DENSITY = _about("Density", "How crowded it is.")
NEIGHBOURS = _about("Neighbours", "What resembles it.")
HOTSPOTS = _operation({200: _json("Hotspots", "The crowds.")}, *_SERIES)
FORECAST = _operation({200: _json("Forecast", "What comes next.")}, *_SERIES)
PUT_STREAM = _operation(
    {
        200: _json("Stream", "Changed, or as it was."),
        201: _json("Stream", "Created."),
    },
    *_BODY,
    "invalid-parameter",
    "not-ready",
    "needs-new-model",
    "stream-changed",
    requestBody={
        "required": False,
        "content": {
            JSON: {
                "schema": {"$ref": "#/components/schemas/StreamFields"},
                "example": _STREAM_EXAMPLE,
            }
        },
    },
)
GET_STREAM = _operation({200: _json("Stream", "The configuration.")}, *_STREAM)
DELETE_STREAM = _operation({204: {"description": "Removed."}}, *_STREAM, *_WRITES)
LIST_STREAMS = _operation({200: _json("Streams", "All streams.")}, "invalid-parameter", "not-ready")
PARTITIONS = _operation({200: _json("Partitions", "All of them, in order.")}, *_STREAM)
RESUME = _operation({202: _json("Partitions", "They go on in a moment.")}, *_STREAM, *_WRITES)
_MEASURES: Schema = {
    "type": "object",
    "description": "Figures by name: rows, scored, anomalies, alerts, alerts_per_day; with labels "
    "also events, found, right, precision, recall, f1, delay_rows, delay_s, nab_standard and the "
    "other profiles, and of the scores alone roc_auc, average_precision, best_f1 and vus_pr. Null "
    "where nothing tells.",
    "additionalProperties": {"type": ["number", "null"]},
}
_REHEARSED: Schema = {
    "type": "object",
    "required": ["measures", "incidents", "series"],
    "properties": {
        "measures": _MEASURES,
        "incidents": {"type": "array", "items": {"$ref": "#/components/schemas/Incident"}},
        "series": {
            "type": "object",
            "description": "Each series by columns: timestamp_ms, score, threshold, grade, "
            "anomaly, and alert: where an incident opens or begins again.",
            "additionalProperties": {"type": "object"},
        },
    },
}
COMPONENTS["Preview"] = {
    "type": "object",
    "required": ["records", "settings"],
    "properties": {
        "records": {"type": "integer", "description": "So many were judged."},
        "settings": _REHEARSED,
        "against": _REHEARSED,
    },
}
_TIMES: Schema = {"type": ["string", "number"]}
COMPONENTS["PreviewFields"] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "settings": {"$ref": "#/components/schemas/StreamFields"},
        "against": {"$ref": "#/components/schemas/StreamFields"},
        "records": {
            "type": "array",
            "items": {"$ref": "#/components/schemas/Record"},
            "description": "What to judge, read as `settings` read it; without them the newest "
            "records of the stream.",
        },
        "labels": {
            "type": "array",
            "items": {"type": "array", "items": _TIMES, "minItems": 2, "maxItems": 2},
            "description": "[start, end] times of what should be found, both included.",
        },
        "limit": {
            "type": "integer",
            "minimum": 1,
            "maximum": 20000,
            "default": 5000,
            "description": "So many of the newest records; more sent along than this are refused.",
        },
        "late": {
            "type": "integer",
            "minimum": 0,
            "default": 0,
            "description": "Rows behind a label in which an alert still tells of it.",
        },
    },
}
PREVIEW = _operation(
    {200: _json("Preview", "What would have come of it.")},
    *_BODY,
    *_STREAM,
    "invalid-records",
    requestBody={
        "required": False,
        "content": {
            JSON: {
                "schema": {"$ref": "#/components/schemas/PreviewFields"},
                "example": {"settings": {"shingle_size": 4}, "against": {"shingle_size": 1}},
            }
        },
    },
)
COMPONENTS["Advice"] = _PUBLISHED["Advice"]
COMPONENTS["Fired"] = _PUBLISHED["Fired"]
COMPONENTS["FeedbackFields"] = {
    "type": "object",
    "required": ["partition", "offset", "verdict"],
    "additionalProperties": False,
    "properties": {
        "partition": {"type": "integer", "minimum": 0},
        "offset": {"type": "integer", "minimum": 0},
        "verdict": {"type": "string", "enum": ["false_alarm", "missed", "confirmed"]},
        "apply": {
            "type": "boolean",
            "default": False,
            "description": "Whether the suggested factor holds from here on.",
        },
    },
}
FEEDBACK = _operation(
    {200: _json("Advice", "Kept; what it asks of the threshold.")},
    *_BODY,
    *_STREAM,
    "result-timeout",
    requestBody={
        "required": True,
        "content": {JSON: {"schema": {"$ref": "#/components/schemas/FeedbackFields"}}},
    },
)
COMPONENTS["Backfilled"] = {
    "type": "object",
    "required": ["records", "series"],
    "properties": {
        "records": {"type": "integer", "description": "Scored and learnt."},
        "series": {
            "type": "object",
            "description": "The first 100 of them.",
            "additionalProperties": {
                "type": "object",
                "required": ["records", "warm", "period", "suggested_shingle_size"],
                "properties": {
                    "records": {"type": "integer"},
                    "warm": {"type": "boolean", "description": "Whether it gives scores."},
                    "period": {
                        "type": ["integer", "null"],
                        "description": "Records after which the series resembles itself.",
                    },
                    "suggested_shingle_size": {
                        "type": ["integer", "null"],
                        "description": "Half the period; another shingle needs a fresh model.",
                    },
                },
            },
        },
        "results": {"type": "array", "items": {"$ref": "#/components/schemas/Result"}},
    },
}
BACKFILL = _operation(
    {
        200: _json("Backfilled", "Learnt."),
        202: _json("Positions", "Durable; learnt soon."),
    },
    *_BODY,
    *_STREAM,
    "invalid-records",
    "backpressure",
    "partition-halted",
    "result-timeout",
    requestBody=_APPEND_BODY,
)
INCIDENTS = _operation({200: _json("Incidents", "The last to begin first.")}, *_STREAM)
RESULTS = _operation({200: _json("ResultsPage", "One page.")}, *_STREAM)
EVENTS = _operation(
    {
        200: {
            "description": "Server-sent events until the client leaves or the service stops.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }
    },
    *_STREAM,
    "too-many-subscribers",
)
_STATUS: Schema = {
    "description": "Yes.",
    "content": {
        JSON: {
            "schema": {
                "type": "object",
                "required": ["status"],
                "properties": {"status": {"type": "string"}},
            }
        }
    },
}
_READY: Schema = {
    "description": "Yes.",
    "content": {
        JSON: {
            "schema": {
                "type": "object",
                "required": ["status", "halted"],
                "properties": {
                    "status": {"type": "string"},
                    "halted": {
                        "type": "array",
                        "items": {"type": "string"},
                        "description": "Partitions that stand still because of their dead "
                        "letters, each with why and what to do.",
                    },
                },
            }
        }
    },
}
HEALTH = _operation({200: _STATUS}, security=_OPEN)
READY = _operation({200: _READY}, "not-ready", security=_OPEN)
METRICS = _operation(
    {200: {"description": "Metrics.", "content": {"text/plain": {"schema": {"type": "string"}}}}}
)

_OBJECT: Schema = {
    "description": "The document.",
    "content": {JSON: {"schema": {"type": "object"}}},
}
ASYNCAPI = _operation({200: _OBJECT})
MESSAGE_SCHEMAS = _operation(
    {
        200: {
            "description": "The names.",
            "content": {
                JSON: {
                    "schema": {
                        "type": "object",
                        "required": ["schemas"],
                        "properties": {"schemas": {"type": "array", "items": {"type": "string"}}},
                    }
                }
            },
        }
    }
)
MESSAGE_SCHEMA = _operation(
    {
        200: {
            "description": "JSON Schema, 2020-12.",
            "content": {"application/schema+json": {"schema": {"type": "object"}}},
        }
    },
    "invalid-parameter",
)
