"""`rcf tail` and `rcf resume` against a running service."""

from __future__ import annotations

import json
import threading
import time

import pytest
from typer.testing import CliRunner

from service.api.context import Context, Limits
from service.cli import http
from service.cli.app import app
from service.cli.errors import CommandError
from service.cli.tail import Wanted, _Shown
from tests.api.conftest import Running, running
from tests.api.test_partitions import BAD, until_state


@pytest.fixture(scope="module")
def server():
    limits = Limits(heartbeat_interval_s=0.1)
    with running(Context(limits=limits, auto_create=True, partitions=2)) as started:
        yield started


def rcf(server: Running, *arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, [*arguments, "--url", server.url])
    if isinstance(done.exception, CommandError):
        assert done.exception.code == code, str(done.exception)
        return str(done.exception)
    assert done.exit_code == code, (done.output, done.exception)
    return done.output


def fill(server: Running, stream: str, count: int = 30) -> list[dict]:
    records = [{"key": f"k{n % 3}", "values": [n]} for n in range(count)]
    answer = server.client.post(f"/v1/streams/{stream}/records", json={"records": records})
    return answer.json()["results"]


def test_everything_that_is_kept_is_shown_as_it_was_published(server):
    results = fill(server, "all")
    said = rcf(server, "tail", "all", "--from-beginning", "--limit", "30", "--json")
    shown = [json.loads(line) for line in said.splitlines()]
    assert sorted(shown, key=json.dumps) == sorted(results, key=json.dumps)
    of_one = rcf(
        server, "tail", "all", "--from-beginning", "--series", "k1", "--limit", "10", "--json"
    )
    assert {json.loads(line)["key"] for line in of_one.splitlines()} == {"k1"}


def test_lines_name_the_place_that_replay_takes(server):
    results = fill(server, "lines")
    head, *lines = rcf(server, "tail", "lines", "--from-beginning", "--limit", "30").splitlines()
    assert head.split() == ["time", "at", "series", "score", "threshold", "grade"]
    places = {line.split()[1] for line in lines}
    assert places == {f"{each['partition']}:{each['offset']}" for each in results}
    anomalies = [line for line in lines if line.endswith("ANOMALY") and "INCIDENT" not in line]
    assert len(anomalies) == sum(each["anomaly"] for each in results)


def test_only_what_comes_later_is_shown_without_being_asked_for_more(server):
    fill(server, "live")
    found: list[str] = []
    reader = threading.Thread(
        target=lambda: found.append(rcf(server, "tail", "live", "--limit", "3", "--json"))
    )
    before = server.context.subscribers
    reader.start()
    until = time.monotonic() + 10
    while server.context.subscribers == before:
        assert time.monotonic() < until
        time.sleep(0.01)
    time.sleep(0.1)
    sent = server.client.post(
        "/v1/streams/live/records", json={"records": [{"values": [n]} for n in (100, 101, 102)]}
    )
    assert sent.status_code == 200
    reader.join(10)
    assert [json.loads(line)["values"] for line in found[0].splitlines()] == [[100], [101], [102]]


def test_the_newest_come_first_and_then_what_follows(server, monkeypatch):
    results = fill(server, "newest")
    shown = rcf(server, "tail", "newest", "--last", "4", "--limit", "4", "--json").splitlines()
    assert sorted(shown) == sorted(json.dumps(each, separators=(",", ":")) for each in results[-4:])
    of_one = rcf(server, "tail", "newest", "--last", "3", "--limit", "3", "--series", "k1")
    assert [row.split()[2] for row in of_one.splitlines()[1:]] == ["k1"] * 3
    newest = http.newest

    def one_more(*arguments, **wanted):
        """One comes after the newest were read, and before it is listened to what follows."""
        found = newest(*arguments, **wanted)
        sent = {"records": [{"key": "k1", "values": [77]}]}
        server.client.post("/v1/streams/newest/records", json=sent).raise_for_status()
        return found

    monkeypatch.setattr(http, "newest", one_more)
    shown = rcf(server, "tail", "newest", "--last", "2", "--limit", "3", "--json").splitlines()
    values = [json.loads(line)["values"] for line in shown]
    assert values[2] == [77], "nothing twice, nothing left out"
    assert sorted(values[:2]) == sorted(each["values"] for each in results[-2:])


@pytest.mark.parametrize("last", [1, 2])
def test_that_there_may_be_more_is_said_where_fewer_were_found(last):
    said, warned = [], []
    shown = _Shown(Wanted("s", last=last, as_json=True), said.append, warned.append)
    value = b'{"key":"k","partition":0,"offset":7}'
    assert not shown.take_newest([value], complete=False)
    assert said == [value.decode()]
    assert [text for text in warned if "hold 1;" in text] == warned and len(warned) == last - 1


def test_what_is_kept_and_the_newest_of_it_are_not_asked_for_together(server):
    fill(server, "both", 1)
    said = rcf(server, "tail", "both", "--last", "2", "--from-beginning", code=2)
    assert said == (
        "--last = 2 is not allowed; allowed: not beside --from-beginning, which shows all that is "
        "kept"
    )


def test_only_anomalies(server):
    server.client.put("/v1/streams/odd", json={"partitions": 1})
    results = [each for part in range(5) for each in fill(server, "odd", 60)]
    odd = [each for each in results if each["anomaly"]]
    assert odd
    said = rcf(
        server, "tail", "odd", "--anomalies", "--from-beginning", "--json", "--limit", str(len(odd))
    )
    shown = [json.loads(line) for line in said.splitlines()]
    assert [each["offset"] for each in shown if "anomaly" in each] == [e["offset"] for e in odd]
    opened = [each for each in shown if each.get("event") == "open"]
    assert opened and all(each["incident"].startswith("odd/") for each in opened)


def test_a_service_that_comes_back_is_followed_on(monkeypatch):
    """Two servers in turn, the second with more results: as one that restarted and went on."""
    monkeypatch.setattr(http, "RETRY_S", 0.05)
    first, second = (Running(Context(auto_create=True, partitions=1)) for _ in range(2))
    first.start()
    fill(first, "s", 2)
    warned: list[str] = []
    address = first.url

    def ask(_url, path, _open=http._open, **options):
        return _open(address, path, **options)

    monkeypatch.setattr(http, "_open", ask)
    results = http.follow(first.url, "s", anomalies=False, after="0", warn=warned.append)
    assert [json.loads(next(results))["offset"] for _ in range(2)] == [0, 1]
    first.stop()
    second.start()
    fill(second, "s", 4)
    address = second.url
    assert [json.loads(next(results))["offset"] for _ in range(2)] == [2, 3]
    assert any("trying again" in text for text in warned)
    results.close()
    second.stop()


def test_resume_says_what_goes_on(server):
    server.client.put("/v1/streams/dead", json={"partitions": 1, "dead_letter_run": 2})
    server.client.post(
        "/v1/streams/dead/records?invalid=dead_letter",
        content=f"{BAD}\n{BAD}",
        headers={"content-type": "application/x-ndjson"},
    )
    until_state(server.client, "dead", ["halted"])
    said = rcf(server, "resume", "dead")
    assert "dead/0 goes on" in said and "2 records in a row" in said
    until_state(server.client, "dead", ["live"])
    assert "dead/0" not in rcf(server, "resume", "dead")


def test_what_cannot_be_asked_is_said(server):
    for command in ("tail", "resume"):
        assert "No such stream" in rcf(server, command, "absent", code=2)
        done = CliRunner().invoke(app, [command, "s", "--url", "http://127.0.0.1:9"])
        assert "rcf serve" in str(done.exception) and "--url" in str(done.exception)
        done = CliRunner().invoke(app, [command, "s", "--url", "ftp://nowhere"])
        assert "http://" in str(done.exception)
