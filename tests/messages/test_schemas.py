"""Every published schema is sound, stands alone, and says what the code does."""

from __future__ import annotations

import json
import subprocess
import sys

import jsonschema_rs
import msgspec
import pytest

from service.cli.errors import CommandError
from service.cli.schema import text
from service.engine.outcome import Outcome
from service.messages import examples
from service.messages.headers import (
    CARRIED,
    KEY,
    OF_DEAD_LETTERS,
    OF_RESULTS,
    carried_name,
    original_name,
)
from service.messages.record import MEANT, Record
from service.messages.schemas import DIALECT, DOCUMENTS, document
from tests.messages.schemas import validate


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_schema_is_sound_and_needs_no_other(name):
    schema = document(name)
    jsonschema_rs.meta.validate(schema)
    assert schema["$schema"] == DIALECT and schema["$id"].endswith(f":{name}")
    for reference in json.dumps(schema).split('"$ref": "')[1:]:
        target = reference.split('"')[0].removeprefix("#/$defs/")
        assert target in schema["$defs"]
    assert len(schema["description"]) > 10
    assert "\n" not in json.dumps(schema).replace("\\n", "\n"), "docstrings stay inside"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_field_is_described(name):
    schema = document(name)
    for part in (schema, *schema.get("$defs", {}).values()):
        for field, described in part.get("properties", {}).items():
            assert described.get("description") or "const" in described, f"{name}: {field}"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("record", examples.RECORD),
        ("score", examples.RESULT),
        ("anomaly", examples.RESULT),
        ("score-headers", examples.RESULT_HEADERS),
        ("anomaly-headers", examples.RESULT_HEADERS),
        ("dead-letter-headers", examples.DEAD_LETTER_HEADERS),
    ],
)
def test_the_examples_are_valid(name, message):
    validate(name, message)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("record", {"key": "a"}),
        ("record", "text"),
        ("record", []),
        ("score", {}),
        ("score", examples.RESULT | {"status": "fine"}),
        ("score", examples.RESULT | {"grade": 1.5}),
        ("score", examples.RESULT | {"timestamp": "yesterday"}),
        ("score", examples.RESULT | {"fields": [1]}),
        ("anomaly", examples.RESULT | {"grade": 0}),
        ("anomaly", examples.RESULT | {"anomaly": False}),
        ("anomaly", examples.RESULT | {"score": None}),
        ("anomaly-headers", examples.RESULT_HEADERS | {"rcf-anomaly": "false"}),
        ("score-headers", examples.RESULT_HEADERS | {"ce_id": "4711"}),
        ("dead-letter-headers", examples.RESULT_HEADERS),
        ("anomaly-headers", examples.DEAD_LETTER_HEADERS),
        ("checkpoint", {"offset": 1}),
        ("stream", {"config": {}}),
        ("stream-change", {"features": 3}),
    ],
)  # fmt: skip
def test_the_schemas_refuse(name, message):
    with pytest.raises(jsonschema_rs.ValidationError):
        validate(name, message)


def test_what_is_always_there_is_required():
    required = {field.name for field in msgspec.structs.fields(Outcome) if field.required}
    assert set(document("score")["required"]) == required
    assert examples.RESULT.keys() == required | {"attribution"}, "the example is an anomaly"


def test_the_fields_that_mean_something_are_those_of_the_record():
    assert set(MEANT) == {field.name for field in msgspec.structs.fields(Record)}


def test_every_header_that_is_written_is_described():
    assert document("score-headers")["properties"].keys() == OF_RESULTS | {KEY}
    assert document("dead-letter-headers")["properties"].keys() == OF_DEAD_LETTERS


@pytest.mark.parametrize(
    "name", ["trace", "ce_id", "rcf-x", "content-type", "input.ce_id", "input.", KEY, ""]
)
def test_a_carried_name_is_told_apart_from_ours_and_leads_back(name):
    carried = carried_name(name)
    assert carried not in OF_RESULTS
    assert original_name(carried) == name
    assert carried == name or carried == CARRIED + name


def test_the_command_prints_each():
    names = text(None).splitlines()
    assert names == ["asyncapi", *DOCUMENTS]
    for name in names:
        assert json.loads(text(name))
    with pytest.raises(CommandError, match="no schema 'scores'; there are: asyncapi, record"):
        text("scores")


def test_the_command_needs_no_server_and_nothing_heavy():
    code = "import sys; from service.cli.schema import text; text('asyncapi');print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"numba", "numpy", "fastapi", "aiokafka", "pydantic"}
