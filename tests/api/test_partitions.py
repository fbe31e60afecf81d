"""How partitions stand, what a halted one answers, and how it goes on."""

import time

from tests.api.test_records import problem

BAD = '{"values": [null]}'


def state(client, stream):
    return client.get(f"/v1/streams/{stream}/partitions").json()["partitions"]


def send(client, stream, body, **parameters):
    headers = {"content-type": "application/x-ndjson"}
    params = {"invalid": "dead_letter"} | parameters
    return client.post(
        f"/v1/streams/{stream}/records", content=body, headers=headers, params=params
    )


def until_state(client, stream, wanted):
    until = time.monotonic() + 5
    while [each["state"] for each in state(client, stream)] != wanted:
        assert time.monotonic() < until, state(client, stream)
        time.sleep(0.01)


def test_a_stream_tells_how_its_partitions_stand(client, stream):
    client.put(f"/v1/streams/{stream}", json={"features": 1, "partitions": 2})
    nothing = {"state": "live", "committed": 0, "waiting": 0, "reason": None}
    assert state(client, stream) == [{"partition": 0} | nothing, {"partition": 1} | nothing]
    problem(client.get("/v1/streams/absent/partitions"), 404, "stream-not-found")
    problem(client.post("/v1/streams/absent/resume"), 404, "stream-not-found")


def test_a_halted_stream_says_why_refuses_records_and_goes_on_when_told(client, stream):
    config = {"features": 1, "partitions": 1, "dead_letter_run": 3}
    assert client.put(f"/v1/streams/{stream}", json=config).json()["dead_letter_share"] == 0.2
    answer = send(client, stream, "\n".join([BAD] * 3))
    assert [each["status"] for each in answer.json()["results"]] == ["error"] * 3
    until_state(client, stream, ["halted"])
    said = problem(send(client, stream, '{"values": [1]}'), 503, "partition-halted")
    assert "3 records in a row" in said["detail"] and said["offset"] == 2
    (halted,) = client.get("/readyz").json()["halted"]
    assert halted == said["detail"] == state(client, stream)[0]["reason"]
    assert "rcf_partitions_halted 1.0" in client.get("/metrics").text
    assert client.post(f"/v1/streams/{stream}/resume").status_code == 202
    until_state(client, stream, ["live"])
    assert client.get("/readyz").json()["halted"] == []
    assert send(client, stream, '{"values": [1]}').json()["results"][0]["offset"] == 4


def test_limits_outside_their_range_are_named(client, stream):
    for field, value in (("dead_letter_share", 1.5), ("dead_letter_run", -1)):
        body = problem(
            client.put(f"/v1/streams/{stream}", json={field: value}), 422, "invalid-parameter"
        )
        assert body["field"] == field and "0" in body["allowed"]
