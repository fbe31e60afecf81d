"""The OpenAPI document is truthful: fuzzed requests never meet a 500 or an undocumented answer."""

import json

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis import Phase as HypothesisPhase
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from service.api.app import create_app
from service.api.context import Context
from service.api.problems import KINDS
from tests.api.test_records import post

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
# An event stream never ends by itself; tests/api/test_events.py has its cases.
ENDLESS = "/v1/streams/{stream}/events"


@schemathesis.serializer("application/x-ndjson", "text/csv")
def plain(_context, value):
    return (
        value.encode("utf-8", "replace") if isinstance(value, str) else json.dumps(value).encode()
    )


document = create_app(Context()).openapi()
schema = schemathesis.openapi.from_dict(document).exclude(path=ENDLESS)


@schema.parametrize()
@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[HypothesisPhase.explicit, HypothesisPhase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_fuzzed_requests_get_documented_answers(case, server):
    answer = case.call(base_url=server.url, timeout=20)
    case.validate_response(answer, checks=CHECKS)


def operations():
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield pytest.param(operation, id=f"{method} {path}")


@pytest.mark.parametrize("operation", list(operations()))
def test_every_operation_is_described(operation):
    assert operation["summary"] and operation["description"]
    assert all(each["description"] for each in operation.get("parameters", []))
    assert any(status.startswith("2") for status in operation["responses"])
    for status, response in operation["responses"].items():
        assert response["description"]
        if status >= "400":
            assert set(response["content"]) == {"application/problem+json"}


def test_it_is_openapi_3_1_and_every_reference_resolves():
    assert document["openapi"].startswith("3.1")
    text = json.dumps(document)
    for name in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert name in document["components"]["schemas"]


def test_every_problem_is_documented_at_some_operation():
    titles = " ".join(
        response["description"]
        for methods in document["paths"].values()
        for operation in methods.values()
        for response in operation["responses"].values()
    )
    # An unknown address belongs to no operation.
    assert [kind.slug for kind in KINDS.values() if kind.title not in titles] == ["not-found"]


def test_the_examples_work_as_they_stand(client, stream):
    content = document["paths"]["/v1/streams/{stream}/records"]["post"]["requestBody"]["content"]
    client.put(f"/v1/streams/{stream}", json={"features": 1})
    for kind, body in content.items():
        examples = [body["example"]] if "example" in body else []
        examples += [example["value"] for example in body.get("examples", {}).values()]
        assert examples
        for example in examples:
            answer = post(client, stream, example, kind)
            assert answer.status_code == 200, answer.text
    shown = document["paths"]["/v1/streams/{stream}/records"]["post"]["responses"]["200"]
    example = shown["content"]["application/json"]["example"]["results"][0]
    assert example.keys() == answer.json()["results"][0].keys() | {"attribution"}
