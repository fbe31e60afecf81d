"""What only the SQLite log does: shared flushes, growing segments, a full disk."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from service.adapters.sqlite import SqliteLog
from service.engine.errors import TransientError
from service.engine.records import EVERYTHING, NewRecord, Result, StreamPartition, Transaction
from tests.contracts.test_log import CONFIG, records
from tests.engine.world import World, ask, rows, run, until

HERE = StreamPartition("s", 0)


def test_appends_that_wait_together_share_a_flush(tmp_path):
    counts: Counter[str] = Counter()

    async def body() -> None:
        log = SqliteLog(tmp_path, failpoint=lambda name: counts.update([name]))
        await log.open()
        await log.create_stream(CONFIG)
        counts.clear()
        await asyncio.gather(*(log.append("s", records(n)) for n in range(200)))
        await log.close()

    run(body)
    assert counts["sqlite.append"] == 200
    assert counts["sqlite.before_commit"] < 20


def test_single_records_share_rows(tmp_path):
    async def body() -> None:
        log = SqliteLog(tmp_path, "NORMAL")
        await log.open()
        await log.create_stream(CONFIG)
        epoch = (await log.assign(HERE)).epoch
        for n in range(300):
            await log.append("s", [(0, NewRecord(bytes(200), None, n))])
            result = Result(n, n, "", n % 100 == 99, b"r" * 200)
            await log.commit(Transaction(HERE, epoch, n, n + 1, [result]))
        for table in ("input", "results"):
            (count,) = await log._read(
                lambda db, t=table: db.execute(f"SELECT count(*) FROM {t}").fetchone()
            )
            assert count < 10
        found = await log.read_results(HERE, 7, 1000, EVERYTHING)
        assert [result.offset for result in found.results] == list(range(7, 300))
        flagged = await log.read_results(HERE, 0, 1000, replace(EVERYTHING, anomalies=True))
        assert [result.offset for result in flagged.results] == [99, 199, 299]
        await log.close()
        again = SqliteLog(tmp_path)
        await again.open()
        await again.assign(HERE)
        batch = await again.poll(HERE, 123, 50, 10**6)
        assert [record.offset for record in batch.records] == list(range(123, 173))
        await again.close()

    run(body)


def test_a_full_disk_refuses_and_nothing_is_lost_when_it_has_room_again(tmp_path):
    async def limit(log: SqliteLog, pages: int) -> None:
        await log._write(lambda db: db.execute(f"PRAGMA max_page_count = {pages}").fetchall())

    async def body() -> None:
        log = SqliteLog(tmp_path)
        world = World(log=log)  # type: ignore[arg-type]  # another log
        async with world.engine() as engine:
            await engine.create_stream(CONFIG)
            await limit(log, 60)
            taken = await fill(engine)
            assert 1 < taken < 100
            await asyncio.sleep(0.05)
            await limit(log, 10**6)
            await until(lambda: engine.ready)
            more = await ask(engine, rows((1.0,)))
            assert more[0]["offset"] == taken
            page = await engine.results("s")
            assert len(page.results) == taken + 1

    run(body)


async def fill(engine) -> int:
    """Append until the disk is full; count what was taken."""
    for taken in range(100):
        try:
            await engine.append("s", [NewRecord(b"[1]" + b" " * 20_000)])
        except TransientError as error:
            if "full" not in str(error):
                raise
            return taken
    return 100


def test_two_engines_on_one_directory_cannot_be(tmp_path):
    from service.engine.errors import DataDirectoryInUse

    async def body() -> None:
        async with World(log=SqliteLog(tmp_path)).engine():  # type: ignore[arg-type]  # another log
            with pytest.raises(DataDirectoryInUse):
                async with World(log=SqliteLog(tmp_path)).engine():  # type: ignore[arg-type]  # another log
                    pass

    run(body)


def test_a_file_that_is_no_database_is_named(tmp_path):
    (tmp_path / "log.sqlite").write_bytes(b"not a database" * 1000)

    async def body() -> None:
        with pytest.raises(Exception, match="database"):
            await SqliteLog(tmp_path).open()

    run(body)
