"""A partition's owner who commits record by record, and what must be in the topics afterwards."""

from __future__ import annotations

import time

from service.adapters.kafka import Connection, KafkaLog
from service.engine.errors import EngineError
from service.engine.records import DeadLetter, Pointer, Result, StreamPartition, Transaction
from tests.kafka.probe import committed_records, group_offsets

TIME_MS = 1_700_000_000_000
AGAIN_S = 5.0


class Owner:
    """One partition's owner, who commits record by record and keeps on after failures."""

    def __init__(self, log: KafkaLog, part: StreamPartition) -> None:
        self.log, self.part = log, part
        self.at = self.epoch = 0

    async def take_over(self) -> None:
        found = await self.log.assign(self.part)
        assert found.results_end in (None, found.committed), "results and offset do not meet"
        assert found.committed >= self.at, "what was committed is gone"
        self.at, self.epoch = found.committed, found.epoch

    async def commit(self, pointer: Pointer | None = None) -> None:
        """Commit one record, with an output in every topic."""
        dead = DeadLetter(self.at, TIME_MS, "k", b"?", "values", "no number")
        done = [Result(self.at, TIME_MS, "k", True, b'{"n":%d}' % self.at)]
        await self.log.commit(
            Transaction(self.part, self.epoch, self.at, self.at + 1, done, [dead], pointer)
        )
        self.at += 1

    async def recover(self) -> None:
        """Take over and commit, within a bound."""
        began_s = time.monotonic()
        while True:
            try:
                await self.take_over()
                await self.commit()
                break
            except EngineError:
                assert time.monotonic() - began_s < AGAIN_S, "the next transaction did not work"
        assert time.monotonic() - began_s < AGAIN_S


def check_outputs(kafka: Connection, there: Connection, part: StreamPartition, end: int) -> None:
    """Every offset below the end has its outputs once, in order, and the group stands there.

    Args:
        kafka: past any proxy.
        there: as the owners were connected.
    """
    stream, number = part
    wanted = [b'{"n":%d}' % n for n in range(end)]
    ids = [f"{stream}/{number}/{n}".encode() for n in range(end)]
    for topic in ("scores", "anomalies"):
        found = committed_records(kafka.bootstrap, f"{stream}.{topic}", number)
        assert [each.value() for each in found] == wanted, topic
        assert [dict(each.headers())["ce_id"] for each in found] == ids, topic
    assert len(committed_records(kafka.bootstrap, f"{stream}.dlq", number)) == end
    offsets = group_offsets(kafka.bootstrap, there.application, stream, number + 1)
    assert offsets[number] == (end or -1001)
