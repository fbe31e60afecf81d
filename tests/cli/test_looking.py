"""Commands that look into a log: the same over a file and over Kafka, and nothing changes."""

from __future__ import annotations

import asyncio
import json
import uuid
from hashlib import sha256
from pathlib import Path

import pytest

from service.adapters.kafka import KafkaView
from service.adapters.sqlite import SqliteLog, SqliteView
from service.engine.config import StreamConfig
from service.engine.records import (
    EVERYTHING,
    DeadLetter,
    NewRecord,
    Result,
    StreamPartition,
    Transaction,
)
from tests.cli.lived import BAD, Lived, make
from tests.kafka.fixtures import connection
from tests.left_out import left_out


@pytest.fixture(scope="module", params=["sqlite", "kafka"])
def lived(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Lived:
    directory = tmp_path_factory.mktemp("lived")
    found = None
    if request.param == "kafka":
        address = request.getfixturevalue("kafka_address")
        if address is None:
            left_out.leave_out("Kafka", left_out.reasons["Kafka"])
        found = connection(address)
    made = Lived(found, directory, f"s-{uuid.uuid4().hex[:8]}")
    make(made)
    return made


def look(lived: Lived, what) -> object:
    """What a view answers."""

    async def main():
        view = (
            SqliteView(lived.directory) if lived.connection is None else KafkaView(lived.connection)
        )
        await view.open()
        try:
            return await what(view)
        finally:
            await view.close()

    return asyncio.run(main())


def results(lived: Lived, partition: int) -> list[dict]:
    place = StreamPartition(lived.stream, partition)
    found = look(lived, lambda view: view.read_results(place, 0, 10**6, EVERYTHING))
    return [json.loads(result.value) for result in found.results]


def everything(lived: Lived) -> dict:
    """All that must stay as it is: files, and where each partition stands."""
    files = {
        path.relative_to(lived.directory): sha256(path.read_bytes()).hexdigest()
        for path in sorted(lived.directory.rglob("*"))
        if path.is_file()
    }
    stands = [
        look(lived, lambda view, n=n: view.overview(StreamPartition(lived.stream, n)))
        for n in range(2)
    ]
    return {"files": files, "stands": stands}


# -- replay -------------------------------------------------------------------------------


def test_a_replay_makes_the_published_bits_from_the_snapshot_before(lived):
    before = everything(lived)
    (spike,) = (r for n in range(2) for r in results(lived, n) if r["values"] == [90.0])
    number = spike["partition"]
    at = f"{number}:{spike['offset']}"
    (found,) = lived.rows("replay", lived.stream, "--at", at)
    assert found["identical"] is True and found["result"] == spike == found["published"]
    assert found["snapshot"] and 0 < found["begin"] <= spike["offset"]
    assert found["repeated"] < spike["offset"]
    assert [each["key"] for each in found["before"]] == [spike["key"]] * 5
    said = lived.run("replay", lived.stream, "--at", at)
    assert "identical" in said and "ANOMALY" in said and f"snapshot {found['snapshot']}" in said
    assert f"{number}:{found['before'][-1]['offset']}" in said
    assert everything(lived) == before, "a replay writes nothing"


def test_a_replay_of_what_came_before_all_snapshots_begins_with_the_stream(lived):
    for result in (results(lived, 0)[3], results(lived, 1)[30]):
        at = f"{result['partition']}:{result['offset']}"
        (found,) = lived.rows("replay", lived.stream, "--at", at)
        assert (found["snapshot"], found["begin"], found["identical"]) == (None, 0, True)
        assert "the stream's beginning" in lived.run("replay", lived.stream, "--at", at)


def test_dead_letters_and_changes_of_the_configuration_are_replayed_too(lived):
    found = {r["status"]: r for n in range(2) for r in results(lived, n)}
    for status in ("error", "control", "warming"):
        at = f"{found[status]['partition']}:{found[status]['offset']}"
        (again,) = lived.rows("replay", lived.stream, "--at", at)
        assert again["identical"] is True and again["result"]["status"] == status


def test_a_damaged_snapshot_is_passed_over_and_said(lived):
    last = results(lived, 0)[-1]
    at = f"0:{last['offset']}"
    (good,) = lived.rows("replay", lived.stream, "--at", at)
    manifest = lived.directory / "snapshots" / good["snapshot"]
    kept = manifest.read_bytes()
    manifest.write_bytes(kept.replace(b'"offset"', b'"0ffset"'))
    try:
        (found,) = lived.rows("replay", lived.stream, "--at", at)
        assert found["identical"] is True and found["begin"] < good["begin"]
        assert "checksum" in found["passed_over"][0]
        (check,) = (c for c in lived.rows("doctor") if c["name"] == f"restore {lived.stream}/0")
        assert check["level"] == "warning" and "checksum" in check["said"] and check["advice"]
    finally:
        manifest.write_bytes(kept)


def test_a_result_that_is_not_the_published_one_is_said_with_the_difference(lived, monkeypatch):
    from service.engine import replay

    last = results(lived, 1)[-1]
    at = f"1:{last['offset']}"
    restore = replay.SeriesDetectors.restore
    # Another series' state under this key: what a mixed-up snapshot would be.
    monkeypatch.setattr(
        replay.SeriesDetectors, "restore", lambda self, key, data: restore(self, key + "'", data)
    )
    said = lived.run("replay", lived.stream, "--at", at, code=1)
    assert "DIFFERENT" in said and "score: published" in said and "defect" in said


@pytest.mark.parametrize(
    ("at", "words"),
    [
        ("1", "PARTITION:OFFSET"),
        ("7:1", "allowed: 0 to 1"),
        ("0:99999", "which the log holds"),
        ("-1:0", "PARTITION:OFFSET"),
    ],
)
def test_a_place_that_is_not_there_is_named_with_what_is(lived, at, words):
    said = lived.run("replay", lived.stream, f"--at={at}", code=2)
    assert words in said


def test_an_unknown_stream_is_named_with_those_there_are(lived):
    for arguments in (
        ("replay", "absent", "--at", "0:1"),
        ("dlq", "list", "absent"),
        ("dlq", "requeue", "absent", "--all", "--yes"),
    ):
        said = lived.run(*arguments, code=2)
        assert "'absent'" in said and lived.stream in said


# -- doctor -------------------------------------------------------------------------------


def test_the_doctor_finds_nothing_wrong(lived):
    before = everything(lived)
    checks = lived.rows("doctor")
    assert [check for check in checks if check["level"] == "error"] == []
    names = {check["name"] for check in checks}
    assert {f"restore {lived.stream}/0", f"restore {lived.stream}/1", "streams"} <= names
    (restore,) = (c for c in checks if c["name"] == f"restore {lived.stream}/1")
    assert "from the snapshot at" in restore["said"] and "about 0 wait" in restore["said"]
    said = lived.run("doctor")
    assert said.splitlines()[-1].startswith("errors: 0,")
    assert len(said.splitlines()) >= len(checks)
    assert everything(lived) == before


def test_the_doctor_sees_that_nothing_could_be_restored(lived, tmp_path):
    trimmed = [
        look(lived, lambda view, n=n: view.overview(StreamPartition(lived.stream, n)))
        for n in range(2)
    ]
    assert [each.begin for each in trimmed] == [0, 0]
    said = lived.run("doctor", "--snapshots", str(tmp_path))
    assert "from the stream's beginning" in said and "shared" in said


# -- dead letters, last because they are appended once more -------------------------------


def test_dead_letters_are_listed_with_their_reasons(lived):
    letters = lived.rows("dlq", "list", lived.stream)
    assert len(letters) == 6
    for letter in letters:
        assert letter["value"] == BAD.decode() and letter["key"] == "k4"
        assert letter["field"] == "values" and letter["reason"]
        published = {r["offset"]: r["status"] for r in results(lived, letter["partition"])}
        assert published[letter["offset"]] == "error"
    said = lived.run("dlq", "list", lived.stream, "--limit", "2")
    assert "6 dead letters" in said and "2 shown" in said and "far too hot" in said
    assert f"{letters[0]['partition']}:{letters[0]['offset']}" in said


def test_a_place_without_a_dead_letter_is_refused_before_anything_is_appended(lived):
    before = everything(lived)
    letter = lived.rows("dlq", "list", lived.stream)[0]
    at = f"{letter['partition']}:{letter['offset']}"
    said = lived.run("dlq", "requeue", lived.stream, at, "0:1", "--yes", code=2)
    assert "0:1 is no dead letter" in said
    assert "--all" in lived.run("dlq", "requeue", lived.stream, "--yes", code=2)
    assert "--all" in lived.run("dlq", "requeue", lived.stream, at, "--all", code=2)
    lived.run("dlq", "requeue", lived.stream, at, code=1)  # nobody confirms
    assert everything(lived) == before


def test_chosen_dead_letters_are_appended_as_they_came(lived):
    letters = lived.rows("dlq", "list", lived.stream)
    ends = [each.end for each in everything(lived)["stands"]]
    places = [f"{each['partition']}:{each['offset']}" for each in letters[1:3]]
    said = lived.run("dlq", "requeue", lived.stream, *places, "--yes")
    assert "2 dead letters appended" in said
    moved = dict(line.split(" -> ") for line in said.splitlines() if " -> " in line)
    assert sorted(moved) == sorted(places)
    for letter, place in zip(letters[1:3], places, strict=True):
        number, offset = map(int, moved[place].split(":"))
        assert number == letter["partition"] and offset >= ends[number]
        batch = look(
            lived,
            lambda view, n=number, o=offset: view.read_records(
                StreamPartition(lived.stream, n), o, 1
            ),
        )
        (record,) = batch.records
        assert (record.key, record.value, record.control) == (letter["key"], BAD, False)
        assert record.timestamp_ms % 80 == 1_700_000_000_079 % 80
    rows = lived.rows("dlq", "requeue", lived.stream, "--all", "--yes")
    assert len(rows) == 6 and all(row["new_offset"] > row["offset"] for row in rows)


def test_a_file_that_a_service_holds_is_read_but_not_written(tmp_path: Path):
    lived, place = Lived(None, tmp_path, "s"), StreamPartition("s", 0)

    async def main() -> None:
        log = SqliteLog(lived.directory)
        await log.open()
        await log.create_stream(StreamConfig(name="s"))
        await log.append("s", [(0, NewRecord(BAD, "k", 1))])
        epoch = (await log.assign(place)).epoch
        result, dead = Result(0, 1, "k", False, b"{}"), DeadLetter(0, 1, "k", BAD, "values", "bad")
        await log.commit(Transaction(place, epoch, 0, 1, [result], [dead]))
        try:
            assert "far too hot" in await asyncio.to_thread(lived.run, "dlq", "list", "s")
            said = await asyncio.to_thread(
                lived.run, "dlq", "requeue", "s", "--all", "--yes", code=1
            )
            assert "in use by another process" in said and "--data-dir" in said
            assert "held: a service runs here" in await asyncio.to_thread(lived.run, "doctor")
        finally:
            await log.close()

    asyncio.run(main())


def test_no_log_is_said_with_where_one_was_looked_for(tmp_path: Path):
    nothing = Lived(None, tmp_path / "nothing", "s")
    assert "there is no log" in nothing.run("dlq", "list", "s", code=1)
    assert "--data-dir" in nothing.run("replay", "s", "--at", "0:0", code=1)
    said = nothing.run("doctor", code=1)
    assert said.startswith("error") and "-> " in said and not nothing.directory.exists()
