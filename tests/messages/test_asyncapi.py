"""The AsyncAPI document is valid, and names every topic and message there is.

asyncapi-3.0.0.json.gz is the official JSON Schema of AsyncAPI 3.0.0, as the npm package
@asyncapi/specs 6.11.1 has it (Apache 2.0, copyright AsyncAPI Initiative).
"""

from __future__ import annotations

import copy
import gzip
import json
from pathlib import Path

import jsonschema_rs
import pytest

from service.adapters.kafka import Connection, names
from service.messages.asyncapi import asyncapi
from service.messages.schemas import document

OFFICIAL = Path(__file__).parents[1] / "data" / "asyncapi-3.0.0.json.gz"
DOCUMENT = asyncapi("1.2.3")


@pytest.fixture(scope="module")
def official():
    schema = json.loads(gzip.decompress(OFFICIAL.read_bytes()))
    return jsonschema_rs.Draft7Validator(schema)


def test_the_document_is_asyncapi_3(official):
    assert [error.message for error in official.iter_errors(DOCUMENT)] == []
    assert DOCUMENT["info"]["version"] == "1.2.3"


@pytest.mark.parametrize(
    "break_it",
    [
        lambda broken: broken.pop("info"),
        lambda broken: broken["channels"]["scores"].update(adress="x"),
        lambda broken: broken["operations"]["sendScores"].update(action="publish"),
        lambda broken: broken["components"]["messages"]["score"].update(payloads={}),
    ],
)
def test_a_broken_document_is_not(official, break_it):
    broken = copy.deepcopy(DOCUMENT)
    break_it(broken)
    assert not official.is_valid(broken)


def follow(reference: str) -> object:
    found: object = DOCUMENT
    for part in reference.removeprefix("#/").split("/"):
        assert isinstance(found, dict)
        found = found[part]
    return found


def test_every_reference_leads_somewhere():
    references = json.dumps(DOCUMENT).split('"$ref": "')[1:]
    assert len(references) > 20
    for reference in references:
        assert follow(reference.split('"')[0])


def test_every_topic_is_a_channel_with_an_operation():
    topics = names.topics_of("{stream}")
    control = names.control_topic(Connection("", application="{application}"))
    addresses = {channel["address"] for channel in DOCUMENT["channels"].values()}
    assert addresses == {topics.input, *topics.outputs, control}
    operated = {each["channel"]["$ref"] for each in DOCUMENT["operations"].values()}
    assert operated == {f"#/channels/{name}" for name in DOCUMENT["channels"]}


def test_the_examples_are_as_their_messages_say():
    messages = DOCUMENT["components"]["messages"]
    checked = 0
    for message in messages.values():
        for example in message.get("examples", []):
            for part in {"payload", "headers"} & example.keys() & message.keys():
                schema = message[part] | {"components": DOCUMENT["components"]}
                jsonschema_rs.validate(schema, example[part])
                checked += 1
    assert checked >= 8


def test_it_says_the_same_as_the_schemas_that_stand_alone():
    alone = document("score")
    inside = DOCUMENT["components"]["schemas"]["Result"]
    assert alone["properties"].keys() == inside["properties"].keys()
    assert alone["required"] == inside["required"]
