"""Questions to a series over HTTP: what is answered, and what is refused."""

import httpx
import pytest

from tests.api.test_records import problem

QUESTIONS = ("explain", "density", "neighbours")


@pytest.fixture
def asked(client: httpx.Client, stream: str) -> str:
    """The address of a stream with a series `a` of three records."""
    client.put(f"/v1/streams/{stream}", json={"features": ["x", "y"], "shingle_size": 1})
    records = {"records": [{"key": "a", "values": [i, -i]} for i in range(3)]}
    assert client.post(f"/v1/streams/{stream}/records", json=records).status_code == 200
    return f"/v1/streams/{stream}"


def test_a_record_is_explained_and_not_taken_in(client, asked):
    body = {"key": "a", "values": {"x": 1.0, "y": -3.0}}
    first, second = (client.post(f"{asked}/explain", json=body).json() for _ in range(2))
    assert first == second
    assert first["key"] == "a" and first["values"] == [1.0, -3.0] and first["score"] == 4.0
    assert [each["feature"] for each in first["attribution"]] == ["y", "x"], "most first"
    assert first["attribution"][0] == {
        "feature": "y",
        "high": 1.5,
        "low": 1.5,
        "direction": "low",
        "strength": 0.0,
        "lag": 0,
    }


def test_density_names_every_feature(client, asked):
    answer = client.post(f"{asked}/density", json={"key": "a", "values": [1.0, 2.0]}).json()
    assert (answer["density"], answer["distance"]) == (3.0, 3.0)
    assert [each["feature"] for each in answer["features"]] == ["x", "y"]
    assert answer["features"][1]["density_high"] == 1.0


def test_neighbours_are_those_within_a_distance(client, asked):
    body = {"key": "a", "values": [1.0, 2.0]}
    (near,) = client.post(f"{asked}/neighbours", json=body).json()["neighbours"]
    assert near == {"distance": 0.5, "trees": 3, "records": [[1.0, 2.0]], "ago": [3, None]}
    nearer = client.post(f"{asked}/neighbours", json=body, params={"distance": 0.1})
    assert nearer.json()["neighbours"] == []


def test_hotspots_of_a_series(client, asked):
    answer = client.get(f"{asked}/hotspots", params={"key": "a", "radius": 2, "least": 5})
    (spot,) = answer.json()["hotspots"]
    assert spot == {
        "density": 2.0,
        "low": [-3.0],
        "high": [3.0],
        "records": 5,
        "holds_newest": True,
    }


@pytest.mark.parametrize("question", QUESTIONS)
def test_what_cannot_be_asked_is_refused(client, asked, question):
    address = f"{asked}/{question}"
    body = problem(
        client.post(address, json={"key": "b", "values": [1, 2]}), 404, "series-not-found"
    )
    assert body["field"] == "key" and body["value"] == "b"
    body = problem(client.post(address, json={"key": "a", "values": [1]}), 422, "invalid-records")
    assert body["rows"][0]["field"] == "values"
    body = problem(
        client.post(address, content=b'{"values": [1, 2], "key": "a", "key": "b"}'),
        400,
        "malformed-body",
    )
    assert body["field"] == "key"
    absent = client.post(f"/v1/streams/absent/{question}", json={"values": [1]})
    problem(absent, 404, "stream-not-found")
    plain = client.post(address, content="1,2", headers={"content-type": "text/csv"})
    problem(plain, 415, "unsupported-media-type")


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_total_is_not_asked_of_a_detector_that_learnt_rates(client, stream, question):
    client.put(f"/v1/streams/{stream}", json={"features": ["cpu", "sent"], "counters": ["sent"]})
    records = [{"values": [1, 1e9 + 10 * i], "timestamp": 1_700_000_000 + i} for i in range(5)]
    assert client.post(f"/v1/streams/{stream}/records", json={"records": records}).is_success
    answer = client.post(f"/v1/streams/{stream}/{question}", json={"values": [1, 1e9 + 50]})
    body = problem(answer, 422, "invalid-parameter")
    assert body["field"] == "counters" and body["value"] == "['sent']"
    assert "rates" in body["detail"]


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("radius", {"radius": 0, "least": 5}),
        ("least", {"radius": 1, "least": 1}),
        ("least", {"radius": 1, "least": 200, "window": 100}),
        ("window", {"radius": 1, "least": 5, "window": 1001}),
    ],
)
def test_limits_of_hotspots_are_named(client, asked, field, given):
    body = problem(
        client.get(f"{asked}/hotspots", params={"key": "a"} | given), 422, "invalid-parameter"
    )
    assert body["field"] == field


def test_a_stream_chooses_which_results_say_why(client, stream):
    address = f"/v1/streams/{stream}"
    for explain, wanted in (("all", 5), ("none", 0), ("anomalies", None)):
        config = {"features": 1, "shingle_size": 1, "explain": explain}
        assert client.put(address, json=config).json()["explain"] == explain
        records = {"records": [{"key": explain, "values": [i]} for i in range(6)]}
        results = client.post(f"{address}/records", json=records).json()["results"]
        said = ["attribution" in each for each in results]
        if wanted is None:
            assert said == [each["anomaly"] for each in results]
        else:
            assert sum(said) == wanted
    body = problem(client.put(address, json={"explain": "some"}), 422, "invalid-parameter")
    assert body["field"] == "explain"


def test_what_comes_next(client, asked):
    answer = client.get(f"{asked}/forecast", params={"key": "a", "horizon": 2}).json()
    assert answer["key"] == "a"
    assert answer["forecast"] == [
        {"lead": 1, "expected": [1.0], "lower": [0.5], "upper": [1.5]},
        {"lead": 2, "expected": [2.0], "lower": [1.5], "upper": [2.5]},
    ]
    problem(client.get(f"{asked}/forecast", params={"horizon": 0}), 422, "invalid-parameter")
    client.put(asked, json={"forecast": False})
    refused = client.get(f"{asked}/forecast", params={"key": "a"})
    assert problem(refused, 422, "invalid-parameter")["field"] == "forecast"


@pytest.mark.parametrize("question", QUESTIONS)
def test_no_question_about_a_record_with_a_gap(client, asked, question):
    client.put(asked, json={"missing": "previous"})
    answer = client.post(f"{asked}/{question}", json={"key": "a", "values": [1.0, None]})
    assert answer.status_code == 422, answer.text
    assert "values.y" in answer.text


def test_gaps_come_as_null_as_an_empty_cell_and_as_a_name_left_out(client, stream):
    client.put(f"/v1/streams/{stream}", json={"features": ["x", "y"], "missing": "previous"})
    bodies = (
        ("application/json", '{"values": [1, null]}'),
        ("application/json", '{"values": {"x": 1}}'),
        ("text/csv", "x,y\n1,\n"),
    )
    for kind, body in bodies:
        answer = client.post(
            f"/v1/streams/{stream}/records", content=body, headers={"Content-Type": kind}
        )
        assert answer.status_code == 200, answer.text
        assert answer.json()["results"][0]["values"] == [1.0, None]
