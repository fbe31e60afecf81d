"""POST …/feedback: a verdict, and what it asks of the threshold."""

import pytest

from tests.api.test_records import make, post, problem

BODY = {"partition": 0, "offset": 0, "verdict": "missed"}


def give(client, stream, **body):
    return client.post(f"/v1/streams/{stream}/feedback", json=body)


def test_a_false_alarm_raises_the_threshold_of_its_series(client, stream):
    make(client, stream, features=1, output_after=1, partitions=1)
    records = {"records": [{"values": [n], "key": "k"} for n in range(300)]}
    results = post(client, stream, records).json()["results"]
    odd = max((each for each in results if each["anomaly"]), key=lambda each: each["score"])
    said = {"partition": 0, "offset": odd["offset"], "verdict": "false_alarm"}
    advice = give(client, stream, **said).json()
    assert advice["key"] == "k" and advice["factor"] > 1 and not advice["applied"]
    anomalies = sum(each["anomaly"] for each in results)
    assert advice["fired"]["anomalies"] == anomalies
    assert advice["would_have_fired"]["anomalies"] == 0
    give(client, stream, **said, apply=True)
    config = client.get(f"/v1/streams/{stream}").json()
    assert config["threshold_factors"] == [{"key": "k", "factor": advice["factor"]}]
    assert [each["verdict"] for each in config["feedback"]] == ["false_alarm"]
    later = post(client, stream, records).json()["results"]
    assert all(each["score"] >= each["threshold"] for each in later if each["anomaly"])
    assert later[0]["factor"] == advice["factor"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (BODY | {"verdict": "wrong"}, "verdict"),
        (BODY | {"partition": 9}, "partition"),
        (BODY | {"offset": -1}, "offset"),
        (BODY | {"colour": 1}, "body"),
        ({}, "body"),
        (BODY, "offset"),  # it is warming
        (BODY | {"offset": 1}, "offset"),  # nobody sent it
    ],
)
def test_what_is_not_allowed(client, stream, body, field):
    make(client, stream, features=1, partitions=1)
    post(client, stream, {"values": [1]})
    answer = problem(give(client, stream, **body), 422, "invalid-parameter")
    assert answer["field"] == field


def test_what_cannot_be_read(client, stream):
    problem(give(client, stream, **BODY), 404, "stream-not-found")
    make(client, stream, features=1)
    answer = client.post(f"/v1/streams/{stream}/feedback", content=b"{")
    problem(answer, 400, "malformed-body")
