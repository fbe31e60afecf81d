"""GET …/results: order, filters, pages."""

import pytest

from tests.api.test_records import make, post, problem


def get(client, stream, **parameters):
    return client.get(f"/v1/streams/{stream}/results", params=parameters)


@pytest.fixture
def filled(client, stream):
    make(client, stream, features=1, output_after=5)
    records = [
        {"values": [index], "key": f"k{index % 3}", "timestamp": 1_700_000_000_000 + index * 1000}
        for index in range(90)
    ]
    assert post(client, stream, {"records": records}).status_code == 200
    return stream


def test_pages_are_the_whole_once_and_in_order(client, filled):
    whole = get(client, filled).json()
    assert (
        whole["next"] is None or get(client, filled, cursor=whole["next"]).json()["results"] == []
    )
    pages, cursor = [], None
    while True:
        page = get(client, filled, limit=7, **({"cursor": cursor} if cursor else {})).json()
        assert len(page["results"]) <= 7
        pages += page["results"]
        cursor = page["next"]
        if cursor is None:
            break

    def place(result):
        return result["partition"], result["offset"]

    assert sorted(map(place, pages)) == sorted(map(place, whole["results"]))
    for key in ("k0", "k1", "k2"):
        values = [result["values"][0] for result in pages if result["key"] == key]
        assert values == sorted(values) and len(values) == 30


def test_one_key(client, filled):
    results = get(client, filled, key="k1").json()["results"]
    assert len(results) == 30
    assert {result["key"] for result in results} == {"k1"}


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("2023-11-14T22:13:30Z", "2023-11-14T22:13:40Z"),
        ("2023-11-14T22:13:30", "1700000020"),
        (1_700_000_010, 1_700_000_020),
        (1_700_000_010_000, 1_700_000_020_000),
        ("2023-11-15T00:13:30+02:00", "2023-11-14T20:13:40-02:00"),
    ],
)
def test_times_from_inclusive_to_exclusive(client, filled, first, last):
    results = get(client, filled, **{"from": first, "to": last}).json()["results"]
    assert sorted(result["values"][0] for result in results) == list(range(10, 20))


def test_times_without_an_offset_are_of_the_streams_zone(client, stream):
    make(client, stream, features=1, zone="Europe/Berlin")
    times = ["2026-06-01T11:59:59", "2026-06-01T12:00:00", "2026-06-01T12:00:01"]
    records = [{"values": [n], "timestamp": time} for n, time in enumerate(times)]
    posted = post(client, stream, {"records": records}).json()["results"]
    assert posted[1]["timestamp"] == "2026-06-01T10:00:00.000Z"
    assert get(client, stream, **{"from": times[1]}).json()["results"] == posted[1:]
    assert get(client, stream, to=times[1], last=9).json()["results"] == posted[:1]
    assert get(client, stream, to="2026-06-01T10:00:00Z").json()["results"] == posted[:1]


def test_a_plus_that_arrived_as_a_space(client, filled):
    path = f"/v1/streams/{filled}/results"
    escaped = client.get(f"{path}?from=2023-11-15T00:13:30%2B02:00").json()["results"]
    for first in ("2023-11-15T00:13:30+02:00", "2023-11-15 00:13:30.000+02:00"):
        assert client.get(f"{path}?from={first}").json()["results"] == escaped
    assert 0 < len(escaped) < 90


def test_anomalies_only(client, filled):
    results = get(client, filled).json()["results"]
    anomalies = get(client, filled, anomalies=True).json()["results"]
    wanted = [(r["partition"], r["offset"]) for r in results if r["anomaly"]]
    assert sorted((r["partition"], r["offset"]) for r in anomalies) == sorted(wanted)
    assert anomalies and all(result["grade"] > 0 for result in anomalies)


def test_the_newest_are_the_end_of_the_whole(client, filled):
    whole = get(client, filled).json()["results"]
    for last in (1, 7, 89, 90, 1000):
        answer = get(client, filled, last=last).json()
        assert answer["results"] == whole[-last:]
        assert answer["complete"] is True
    of_one = [result for result in whole if result["key"] == "k1"]
    assert get(client, filled, last=4, key="k1").json()["results"] == of_one[-4:]
    anomalies = [result for result in whole if result["anomaly"]]
    assert get(client, filled, last=2, anomalies=True).json()["results"] == anomalies[-2:]
    before = get(client, filled, last=3, to=1_700_000_050_000).json()["results"]
    assert [result["values"][0] for result in before] == [47, 48, 49]


def test_what_comes_after_the_newest_begins_at_next(client, filled):
    cursor = get(client, filled, last=5).json()["next"]
    assert get(client, filled, cursor=cursor).json() == {"results": [], "next": None}
    [later] = post(client, filled, {"values": [1]}).json()["results"]
    assert get(client, filled, cursor=cursor).json()["results"] == [later]


@pytest.mark.parametrize(("name", "value"), [("limit", "1000"), ("cursor", "0,0")])
def test_nothing_of_pages_stands_beside_last(client, filled, name, value):
    answer = get(client, filled, last=5, **{name: value})
    body = problem(answer, 422, "invalid-parameter")
    assert (body["field"], body["value"]) == (name, value)
    assert body["allowed"] == "only without `last`"


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"last": 0}, "last"),
        ({"last": 100_001}, "last"),
        ({"limit": 0}, "limit"),
        ({"limit": 100_001}, "limit"),
        ({"limit": "all"}, "limit"),
        ({"from": "yesterday"}, "from"),
        ({"to": "nan"}, "to"),
        ({"to": "1e300"}, "to"),
        ({"from": "9" * 5000}, "from"),
        ({"anomalies": "some"}, "anomalies"),
        ({"cursor": "nonsense"}, "cursor"),
    ],
)
def test_parameters_that_are_not_allowed(client, filled, parameters, field):
    answer = get(client, filled, **parameters)
    body = problem(answer, 422, "invalid-parameter")
    assert body["field"] == field and body["allowed"]
    assert len(answer.content) < 1_000


def test_an_unknown_stream(client):
    problem(get(client, "nowhere"), 404, "stream-not-found")
