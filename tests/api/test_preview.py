"""POST …/preview: figures of other settings, and nothing changes."""

import pytest

from tests.api.test_records import make, post, problem, stored

START_S = 1_767_225_600


def preview(client, stream, body):
    return client.post(f"/v1/streams/{stream}/preview", json=body)


def fill(client, stream, count=300):
    make(client, stream, features=1, output_after=2, shingle_size=2)
    records = [{"values": [n], "key": f"k{n % 3}", "timestamp": START_S + n} for n in range(count)]
    return post(client, stream, {"records": records}).json()["results"]


def test_the_past_is_judged_as_it_was(client, stream):
    results = fill(client, stream)
    answer = preview(client, stream, {}).json()
    assert answer["records"] == 300 and "against" not in answer
    for key, columns in answer["settings"]["series"].items():
        of_key = [each for each in results if each["key"] == key]
        assert columns["score"] == [each["score"] for each in of_key]
        assert columns["anomaly"] == [each["anomaly"] for each in of_key]
    assert stored(client, stream) == results


def test_two_settings_with_labels(client, stream):
    results = fill(client, stream)
    odd = next(each for each in results if each["anomaly"])
    body = {
        "settings": {},
        "against": {"rules": [{"name": "all", "key": "*", "fewer_than": 1000}]},
        "labels": [[odd["timestamp"], odd["timestamp"]]],
    }
    answer = preview(client, stream, body).json()
    ours, theirs = (answer[name]["measures"] for name in ("settings", "against"))
    assert ours["events"] >= 1 and ours["anomalies"] > 0 and ours["vus_pr"] is not None
    assert theirs["alerts"] == theirs["anomalies"] == 0 and theirs["recall"] == 0.0
    assert answer["against"]["incidents"] == []
    assert client.get(f"/v1/streams/{stream}").json()["rules"] == []


def test_records_sent_along_are_judged_and_not_kept(client, stream):
    make(client, stream, features=1, output_after=1)
    records = [{"values": [n], "timestamp": START_S + n} for n in range(40)]
    answer = preview(client, stream, {"records": records, "limit": 40}).json()
    assert answer["records"] == 40
    assert answer["settings"]["measures"]["scored"] > 0
    assert stored(client, stream) == []


@pytest.mark.parametrize(
    ("count", "given", "field"), [(5_001, {}, "limit"), (20_001, {"limit": 20_000}, "records")]
)
def test_more_records_than_are_judged_are_refused(client, stream, count, given, field):
    make(client, stream, features=1)
    body = {"records": [{"values": [1]}] * count} | given
    answer = problem(preview(client, stream, body), 422, "invalid-parameter")
    assert answer["field"] == field
    assert f"{count}" in answer["detail"].replace(",", "") and "20" in answer["allowed"]


def test_records_are_read_as_the_settings_tried_read_them(client, stream):
    make(client, stream, features=["x", "y"], output_after=1)
    records = [
        {"values": [n, None if n % 4 == 3 else n], "timestamp": START_S + n} for n in range(40)
    ]
    (row, *others) = problem(preview(client, stream, {"records": records}), 422, "invalid-records")[
        "rows"
    ]
    assert (row["row"], row["field"], len(others)) == (4, "values.y", 9)
    body = {"records": records, "settings": {"missing": "previous"}, "against": {}}
    answer = preview(client, stream, body).json()
    tried, present = (answer[name]["measures"] for name in ("settings", "against"))
    assert answer["records"] == tried["rows"] == present["rows"] == 40
    assert tried["scored"] == present["scored"] + 10


def test_a_stream_without_a_past(client, stream):
    make(client, stream, features=1)
    assert preview(client, stream, {}).json()["settings"]["measures"]["rows"] == 0


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 20_001}, "limit"),
        ({"late": -1}, "late"),
        ({"labels": [["soon", 1]]}, "labels"),
        ({"labels": [[1]]}, "body"),
        ({"settings": {"trees": 0}}, "trees"),
        ({"settings": {"colour": "red"}}, "body"),
        ({"settings": {"features": 2}}, "features"),
        ({"against": {"partitions": 0}}, "partitions"),
        ({"colour": "red"}, "body"),
    ],
)
def test_what_is_not_allowed(client, stream, body, field):
    make(client, stream, features=1)
    answer = problem(preview(client, stream, body), 422, "invalid-parameter")
    assert answer["field"] == field and answer["allowed"]


def test_bad_records_and_unknown_streams(client, stream):
    problem(preview(client, stream, {}), 404, "stream-not-found")
    make(client, stream, features=1)
    assert preview(client, stream, {"records": [{"values": [1, 2]}]}).status_code == 422
    answer = client.post(f"/v1/streams/{stream}/preview", content=b"{")
    problem(answer, 400, "malformed-body")
