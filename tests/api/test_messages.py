"""What messages look like, over HTTP; and that answers look like it."""

import json

import jsonschema_rs
import pytest

from service.messages.schemas import DOCUMENTS, document
from tests.messages.schemas import validate


def test_the_asyncapi_document_is_served(client):
    answer = client.get("/asyncapi.json")
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
    assert answer.json()["asyncapi"] == "3.0.0"


def test_every_schema_is_listed_and_served(client):
    names = client.get("/schemas").json()["schemas"]
    assert names == list(DOCUMENTS)
    for name in names:
        answer = client.get(f"/schemas/{name}")
        assert answer.headers["content-type"] == "application/schema+json"
        assert answer.json() == document(name)


def test_another_name_is_refused_with_those_there_are(client):
    answer = client.get("/schemas/scores")
    assert answer.status_code == 422
    assert answer.json()["field"] == "name" and "score, score-headers" in answer.json()["allowed"]


def test_results_are_as_published_and_carry_the_records_other_fields(client, stream):
    rows = [{"values": [n % 3], "key": "a", "host": "h1", "n": 1.5} for n in range(60)]
    rows += [{"values": [1], "key": "a", "large": "x" * 5000}, {"values": [1]}]
    answer = client.post(f"/v1/streams/{stream}/records", json={"records": rows})
    results = answer.json()["results"]
    assert {result["status"] for result in results} == {"warming", "scored"}
    for result in results:
        validate("score", result)
        if result["anomaly"]:
            validate("anomaly", result)
        else:
            with pytest.raises(jsonschema_rs.ValidationError):
                validate("anomaly", result)
    assert results[0]["fields"] == {"host": "h1", "n": 1.5}
    assert "fields" not in results[-2] and results[-2]["fields_left_out"] == 1
    assert not {"fields", "fields_left_out"} & results[-1].keys()
    page = client.get(f"/v1/streams/{stream}/results").json()["results"]
    assert sorted(page, key=json.dumps) == sorted(results, key=json.dumps)


def test_a_stream_names_its_decoder(client, stream):
    made = client.put(f"/v1/streams/{stream}", json={"features": 2, "decoder": "csv"})
    assert made.json()["decoder"] == "csv"
    answer = client.post(
        f"/v1/streams/{stream}/records",
        content='1,2\n{"values":[3,4]}\n',
        headers={"content-type": "application/x-ndjson"},
    )
    assert answer.status_code == 200, answer.text
    assert [result["values"] for result in answer.json()["results"]] == [[1, 2], [3, 4]]
    refused = client.post(f"/v1/streams/{stream}/records", json={"records": [[1, 2]]})
    assert refused.status_code == 422
    changed = client.put(f"/v1/streams/{stream}", json={"decoder": "array"})
    assert changed.status_code == 200
    taken = client.post(f"/v1/streams/{stream}/records", json={"records": [[1, 2]]})
    assert taken.status_code == 200, taken.text
    refused = client.put(f"/v1/streams/{stream}", json={"decoder": "avro"})
    assert refused.status_code == 422 and refused.json()["allowed"] == (
        "auto, json, array, number, csv"
    )
