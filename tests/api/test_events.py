"""GET …/events: live results, resuming, heartbeats, and an end when the process is told to stop."""

import contextlib
import json
import threading
import time

import pytest

from service.api.context import Context, Limits
from tests.api.conftest import running
from tests.api.test_records import make, post, problem


class Follower:
    """Reads events of one response, line by line."""

    def __init__(self, answer):
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        self._lines = answer.iter_lines()
        self.comments = 0
        self.named = []
        self._until("connected")

    def _until(self, text):
        for line in self._lines:
            if text in line:
                return

    def take(self, count):
        """The next events as (id, result)."""
        events, data, event_id, name = [], None, None, None
        for line in self._lines:
            if line.startswith(":"):
                self.comments += 1
            elif line.startswith("event:"):
                name = line[6:].strip()
            elif line.startswith("data:"):
                data = json.loads(line[5:])
            elif line.startswith("id:"):
                event_id = line[3:].strip()
            elif not line and data is not None:
                (events if name is None else self.named).append((event_id, data))
                data, name, event_id = None, None, None
                if len(events) == count:
                    return events
        return events


@contextlib.contextmanager
def following(client, stream, headers=None, **parameters):
    path = f"/v1/streams/{stream}/events"
    with client.stream("GET", path, params=parameters, headers=headers) as answer:
        yield Follower(answer)


def place(result):
    return result["partition"], result["offset"]


def test_events_are_results_as_they_appear(client, stream):
    make(client, stream, features=1)
    with following(client, stream) as events:
        results = post(client, stream, {"records": [{"values": [i]} for i in range(5)]}).json()
        assert [event for _, event in events.take(5)] == results["results"]


@pytest.mark.parametrize("how", ["header", "parameter"])
def test_resuming_misses_and_repeats_nothing(client, stream, how):
    make(client, stream, features=1)
    with following(client, stream) as events:
        post(client, stream, {"records": [{"values": [i], "key": str(i)} for i in range(20)]})
        seen = events.take(8)
    post(client, stream, {"records": [{"values": [i], "key": str(i)} for i in range(20, 30)]})
    last = seen[-1][0]
    headers = {"Last-Event-ID": last} if how == "header" else None
    parameters = {"after": last} if how == "parameter" else {}
    with following(client, stream, headers, **parameters) as events:
        seen += events.take(22)
    assert sorted(event["values"][0] for _, event in seen) == list(range(30))
    assert len({place(event) for _, event in seen}) == 30


def test_only_anomalies_when_asked(client, stream):
    make(client, stream, features=1, output_after=1)
    with following(client, stream, anomalies=True) as events:
        results = post(client, stream, {"records": [{"values": [i]} for i in range(300)]}).json()
        wanted = [place(result) for result in results["results"] if result["anomaly"]]
        assert wanted
        assert [place(event) for _, event in events.take(len(wanted))] == wanted
        incidents = client.get(f"/v1/streams/{stream}/incidents").json()["incidents"]
        opened = [event["incident"] for _, event in events.named if event["event"] == "open"]
        assert opened and set(opened) <= {each["incident"] for each in incidents}
        assert [each["started"] for each in incidents] == sorted(
            (each["started"] for each in incidents), reverse=True
        )
        standing = client.get(f"/v1/streams/{stream}/incidents", params={"open": True}).json()
        assert standing["incidents"] == [each for each in incidents if each["event"] != "close"]


def test_silence_is_pinged(client, stream):
    make(client, stream, features=1)
    with following(client, stream) as events:
        threading.Timer(0.8, post, (client, stream, {"values": [1]})).start()
        events.take(1)
        assert events.comments >= 2


def test_a_deleted_stream_ends_its_events(client, stream):
    make(client, stream, features=1)
    with following(client, stream) as events:
        client.delete(f"/v1/streams/{stream}")
        assert events.take(1) == []


def test_what_is_not_allowed(client, stream):
    problem(client.get("/v1/streams/nowhere/events"), 404, "stream-not-found")
    make(client, stream, features=1)
    for parameters in ({"after": "nonsense"}, {"anomalies": "some"}):
        answer = client.get(f"/v1/streams/{stream}/events", params=parameters)
        problem(answer, 422, "invalid-parameter")
    answer = client.get(f"/v1/streams/{stream}/events", headers={"Last-Event-ID": "nonsense"})
    problem(answer, 422, "invalid-parameter")


def test_a_bound_of_subscribers_that_frees_places():
    limits = Limits(subscribers=2, heartbeat_interval_s=0.1)
    with running(Context(limits=limits, auto_create=True)) as server:
        client = server.client
        make(client, "s", features=1)
        # Bound to names: a follower that nobody holds is collected, and its connection closed.
        with following(client, "s") as _first, following(client, "s") as _second:
            body = problem(client.get("/v1/streams/s/events"), 503, "too-many-subscribers")
            assert "2" in body["detail"]
        until = time.monotonic() + 5
        while server.context.subscribers and time.monotonic() < until:
            time.sleep(0.02)
        with following(client, "s"):
            pass


def test_a_stop_ends_event_streams_at_once():
    with running(Context(auto_create=True)) as server:
        make(server.client, "s", features=1)
        with following(server.client, "s") as events:
            ended = []
            reader = threading.Thread(target=lambda: ended.append(events.take(1)))
            reader.start()
            seconds = server.stop()
            reader.join(5)
        assert ended == [[]]
        assert seconds < 2.5
