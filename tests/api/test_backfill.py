"""POST …/backfill: history warms series up and alerts nobody; live records go on from there."""

import pytest

from tests.api.test_records import make, post, problem, stored

START_S = 1_767_225_600


def history(count=300, key="k"):
    return [
        {"values": [n % 7 + n * n % 5], "key": key, "timestamp": START_S + 60 * n}
        for n in range(count)
    ]


def backfill(client, stream, body, **parameters):
    return client.post(f"/v1/streams/{stream}/backfill", json=body, params=parameters)


def test_history_is_learnt_and_not_told_of(client, stream):
    make(client, stream, features=1, output_after=2, partitions=2)
    told = backfill(client, stream, {"records": history() + history(1, "new")}).json()
    assert told["records"] == 301 and "results" not in told
    assert told["series"]["k"]["warm"] and not told["series"]["new"]["warm"]
    assert told["series"]["k"]["period"] == 35
    assert told["series"]["k"]["suggested_shingle_size"] == 17
    results = [each for each in stored(client, stream) if each["status"] != "control"]
    assert not any(each["anomaly"] or "incidents" in each for each in results)
    held = [each["held_back"] for each in results if each["status"] == "suppressed"]
    assert held and all("history" in each["reason"] for each in held)
    live = [{"values": [n], "key": "k"} for n in range(300)]
    later = post(client, stream, {"records": live}).json()["results"]
    assert later[0]["status"] == "scored"
    assert any(each["anomaly"] for each in later)


def test_its_scores_are_those_of_records_posted_one_by_one(client, stream):
    fields = {"features": 1, "output_after": 2, "partitions": 1}
    make(client, stream, **fields)
    told = backfill(client, stream, {"records": history(100)}, scores=True).json()
    once = [each["score"] for each in told["results"]]
    assert once[0] is None and None not in once[8:]
    client.delete(f"/v1/streams/{stream}")
    make(client, stream, **fields)
    posted = post(client, stream, {"records": history(100)}).json()["results"]
    assert [each["score"] for each in posted] == once


def test_told_from_only_moves_on(client, stream):
    make(client, stream, features=1)
    assert backfill(client, stream, {"records": history(9)}, wait="ack").status_code == 202
    newest = client.get(f"/v1/streams/{stream}").json()["told_from"]
    assert newest == "2026-01-01T00:08:00.001Z"
    backfill(client, stream, {"records": history(3)})
    assert client.get(f"/v1/streams/{stream}").json()["told_from"] == newest


def test_told_from_without_an_offset_is_a_time_of_the_zone(client, stream):
    """08:00 in Berlin is 07:00 UTC."""
    told_from = {"told_from": "2026-01-01T08:00:00", "zone": "Europe/Berlin"}
    make(client, stream, features=1, output_after=2, partitions=1, **told_from)
    records = [{"values": [n], "timestamp": START_S + 60 * n} for n in range(600)]
    results = post(client, stream, {"records": records}).json()["results"]
    history = [each["timestamp"] for each in results if each["status"] == "suppressed"]
    told = [each["timestamp"] for each in results if each["anomaly"]]
    assert "2026-01-01T06:00" < max(history) < "2026-01-01T07:00" <= min(told) < "2026-01-01T08:00"
    backfill(client, stream, {"records": [{"values": [1], "timestamp": "2026-01-01T07:30:00Z"}]})
    after = client.get(f"/v1/streams/{stream}").json()["told_from"]
    assert after == "2026-01-01T07:30:00.001Z"


@pytest.mark.parametrize(
    ("record", "slug", "said"),
    [
        ({"values": [1]}, "invalid-records", "needs a timestamp"),
        ({"values": [1, 2], "timestamp": START_S}, "invalid-records", "row 1"),
        ({"values": [1], "timestamp": "2999-01-01"}, "invalid-parameter", "have passed"),
    ],
)
def test_what_is_not_history(client, stream, record, slug, said):
    make(client, stream, features=1)
    assert said in problem(backfill(client, stream, record), 422, slug)["detail"]
    assert stored(client, stream) == []
    assert client.get(f"/v1/streams/{stream}").json()["told_from"] is None
