"""PUT, GET, DELETE of streams: defaults, changes, and what needs a fresh model."""

import pytest

from service.api.schemas import STREAM_FIELDS
from service.api.streams import StreamBody
from service.engine.config import StreamConfig
from tests.api.test_records import post, problem, stored

PATH = "/v1/streams/{}"


def put(client, stream, body, **parameters):
    return client.put(PATH.format(stream), json=body, params=parameters)


def test_create_read_list_delete(client, stream):
    answer = put(client, stream, {"features": ["cpu", "memory"], "shingle_size": 4})
    assert answer.status_code == 201
    created = answer.json()
    assert created["name"] == stream
    assert created["features"] == ["cpu", "memory"]
    assert created["shingle_size"] == 4
    assert created["trees"] == 30 and created["sample_size"] == 1024 and created["score"] == "blend"
    assert created["threshold"] == "automatic" and created["alert_budget"] is None
    assert client.get(PATH.format(stream)).json() == created
    assert created in client.get("/v1/streams").json()["streams"]
    assert client.delete(PATH.format(stream)).status_code == 204
    problem(client.get(PATH.format(stream)), 404, "stream-not-found")
    problem(client.delete(PATH.format(stream)), 404, "stream-not-found")


def test_an_empty_put_takes_the_defaults(client, stream):
    answer = client.put(PATH.format(stream))
    assert answer.status_code == 201
    assert answer.json()["features"] == ["value"]


def test_features_by_count(client, stream):
    assert put(client, stream, {"features": 3}).json()["features"] == ["v0", "v1", "v2"]


def test_putting_the_same_again_changes_nothing(client, stream):
    first = put(client, stream, {"features": 2})
    again = put(client, stream, {"features": 2})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()


def test_fields_left_out_keep_their_values(client, stream):
    put(client, stream, {"features": 2, "trees": 30})
    answer = put(client, stream, {"retention": 5000})
    assert answer.status_code == 200
    changed = answer.json()
    assert changed["retention"] == 5000
    assert changed["trees"] == 30 and changed["features"] == ["v0", "v1"]


def test_a_change_that_needs_a_fresh_model_says_so_and_does_it_when_told(client, stream):
    put(client, stream, {"features": 1, "output_after": 1})
    post(client, stream, {"records": [{"values": [1]}] * 5})
    body = problem(put(client, stream, {"trees": 10, "retention": 2000}), 409, "needs-new-model")
    assert body["fields"] == ["trees"]
    assert "reset" in body["detail"]
    assert client.get(PATH.format(stream)).json()["trees"] == 30
    answer = put(client, stream, {"trees": 10}, reset=True)
    assert answer.status_code == 200
    assert answer.json()["trees"] == 10 and answer.json()["generation"] == 2
    [result] = post(client, stream, {"values": [1]}).json()["results"]
    assert result["status"] == "warming"
    assert len(stored(client, stream)) >= 6


def test_the_time_decay_changes_without_a_fresh_model(client, stream):
    put(client, stream, {"features": 1, "output_after": 1})
    post(client, stream, {"records": [{"values": [1]}] * 5})
    answer = put(client, stream, {"time_decay": 0.01})
    assert answer.status_code == 200
    assert answer.json()["time_decay"] == 0.01 and answer.json()["generation"] == 1
    [result] = post(client, stream, {"values": [1]}).json()["results"]
    assert result["status"] == "scored"


@pytest.mark.parametrize(
    ("said", "time_decay"), [({"half_life": 1000}, 0.000693147), ({"window": 3000}, 0.001)]
)
def test_how_soon_a_stream_forgets_is_said_in_records(client, stream, said, time_decay):
    put(client, stream, {"features": 1, "time_decay": 0.5})
    answer = put(client, stream, said)
    assert answer.status_code == 200
    assert answer.json()["time_decay"] == pytest.approx(time_decay, rel=1e-6)
    assert put(client, stream, {}).json()["time_decay"] == answer.json()["time_decay"]
    assert put(client, stream, {"time_decay": None}).json()["time_decay"] is None


def test_a_transform_with_its_weights_is_a_setting_of_the_model(client, stream):
    said = {"transform": "normalize", "weights": [1, 2], "time_weight": 0.5}
    answer = put(client, stream, {"features": ["share", "bytes"]} | said)
    assert answer.status_code == 201
    assert {name: answer.json()[name] for name in said} == said
    body = problem(put(client, stream, {"transform": "log"}), 409, "needs-new-model")
    assert body["fields"] == ["transform"]


def test_a_multi_mode_changes_while_a_stream_runs(client, stream):
    assert put(client, stream, {"features": 1}).json()["multi_mode"] == "none"
    for mode in ("precision", "recall", "none"):
        answer = put(client, stream, {"multi_mode": mode})
        assert answer.status_code == 200 and answer.json()["multi_mode"] == mode


def test_sizes_that_a_stream_does_not_say_are_those_of_the_service(client, stream):
    client.post(f"/v1/streams/{stream}/records", json={"values": [1]})
    put(client, f"{stream}-put", {"max_series": 7})
    for name, sizes in ((stream, (2, 900)), (f"{stream}-put", (2, 7))):
        config = client.get(f"/v1/streams/{name}").json()
        assert (config["partitions"], config["max_series"]) == sizes


def test_partitions_never_change(client, stream):
    put(client, stream, {"partitions": 1})
    for reset in (False, True):
        body = problem(
            put(client, stream, {"partitions": 2}, reset=reset), 422, "invalid-parameter"
        )
        assert body["field"] == "partitions"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"trees": 0}, "trees"),
        ({"trees": 10**9}, "trees"),
        ({"trees": "many"}, "trees"),
        ({"trees": 1.5}, "trees"),
        ({"trees": None}, "trees"),
        ({"sample_size": 1}, "sample_size"),
        ({"threshold": "loud"}, "threshold"),
        ({"threshold": "fixed"}, "threshold_level"),
        ({"threshold": "percentile", "threshold_level": 101}, "threshold_level"),
        ({"threshold_level": 3}, "threshold_level"),
        ({"threshold": "budget"}, "alert_budget"),
        ({"alert_budget": 0}, "alert_budget"),
        ({"cool_down": -1}, "cool_down"),
        ({"time_decay": 1}, "time_decay"),
        ({"time_decay": -0.1}, "time_decay"),
        ({"transform": "zscore"}, "transform"),
        ({"weights": [1]}, "weights"),
        ({"transform": "normalize", "weights": [1, 2]}, "weights"),
        ({"transform": "normalize", "weights": [-1]}, "weights"),
        ({"time_weight": -1}, "time_weight"),
        ({"features": ["time"], "time_weight": 1}, "time_weight"),
        ({"half_life": 0.5}, "half_life"),
        ({"window": 2}, "window"),
        ({"window": 300, "half_life": 100}, "window"),
        ({"half_life": 100, "time_decay": 0.1}, "half_life"),
        ({"score": "iforest"}, "score"),
        ({"multi_mode": "both"}, "multi_mode"),
        ({"multi_mode": None}, "multi_mode"),
        ({"features": []}, "features"),
        ({"features": 0}, "features"),
        ({"features": ["a", "a"]}, "features"),
        ({"features": [""]}, "features"),
        ({"features": [1]}, "features"),
        ({"features": 1000, "shingle_size": 1000}, "shingle_size"),
        ({"features": 100, "shingle_size": 10, "sample_size": 16383}, "sample_size"),
        ({"seed": -1}, "seed"),
        ({"incident_gap": 0}, "incident_gap"),
        ({"told_from": "soon"}, "told_from"),
        ({"told_from": "0001-01-01T00:00:00", "zone": "Asia/Tokyo"}, "told_from"),
        ({"incident_window_s": -1}, "incident_window_s"),
        ({"rules": [{"name": "r"}]}, "rules[0]"),
        ({"rules": [{"name": "r", "within": "much"}]}, "rules[0].within"),
        ({"rules": [{"name": "r", "colour": 1}]}, "rules[0]"),
        ({"colour": "red"}, "body"),
        ([], "body"),
    ],
)
def test_fields_that_are_not_allowed(client, stream, body, field):
    answer = problem(put(client, stream, body), 422, "invalid-parameter")
    assert answer["field"].startswith(field)
    assert answer["allowed"]
    problem(client.get(PATH.format(stream)), 404, "stream-not-found")


def test_rules_are_set_shown_and_taken_away(client, stream):
    rule = {"name": "night", "key": "a*", "mute": {"start": "22:00", "end": "06:00"}}
    assert put(client, stream, {"rules": [rule]}).json()["rules"] == [rule]
    assert put(client, stream, {"incident_gap": 5}).json()["rules"] == [rule]
    assert put(client, stream, {"rules": []}).json()["rules"] == []


@pytest.mark.parametrize("content", [b"{", b"\xff", b'{"features": NaN}'])
def test_bodies_that_are_no_json(client, stream, content):
    problem(client.put(PATH.format(stream), content=content), 400, "malformed-body")


def test_other_content_types(client, stream):
    headers = {"Content-Type": "text/csv"}
    answer = client.put(PATH.format(stream), content="a", headers=headers)
    problem(answer, 415, "unsupported-media-type")


def test_reset_must_be_a_truth_value(client, stream):
    body = problem(put(client, stream, {}, reset="perhaps"), 422, "invalid-parameter")
    assert body["field"] == "reset"


def test_every_field_of_a_stream_can_be_set_and_is_documented():
    of_engine = set(StreamConfig.__dataclass_fields__) - {"name", "generation"}
    assert set(StreamBody.__struct_fields__) == of_engine | {"half_life", "window"}
    assert {*STREAM_FIELDS, "features"} == of_engine


def test_a_field_that_stands_twice_is_named(client, stream):
    answer = client.put(f"/v1/streams/{stream}", content=b'{"features": 1, "features": 2}')
    assert problem(answer, 400, "malformed-body")["field"] == "features"
    assert client.get(f"/v1/streams/{stream}").status_code == 404
