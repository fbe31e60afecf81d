"""The partitions that this process runs, and those whose results it follows."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

from service.engine.errors import Halted
from service.engine.following import follow
from service.engine.options import EngineOptions
from service.engine.ports import Ports
from service.engine.records import StreamPartition
from service.engine.runner import PartitionRunner
from service.engine.tail import PartitionTail
from service.engine.workers import Workers

RELEASE_S = 5.0
"""Bound of finishing what is in flight when a partition is revoked."""


class Owned:
    """Runs partitions, lets go of them, and follows what others make of theirs.

    Attributes:
        runners: of the partitions that are this process'.
        tasks: what runs each of them; done where it was fenced, or broke.
        followed: what shows readers the results of partitions that another process runs.
    """

    def __init__(self, ports: Ports, options: EngineOptions, workers: Workers) -> None:
        self.runners: dict[StreamPartition, PartitionRunner] = {}
        self.tasks: dict[StreamPartition, asyncio.Task[None]] = {}
        self.followed: dict[StreamPartition, asyncio.Task[None]] = {}
        self._warm: dict[StreamPartition, PartitionRunner] = {}
        self._ports, self._options, self._workers = ports, options, workers

    def runner(self, stream: str, partition: int) -> PartitionRunner | None:
        """Return who runs a partition here; None where nobody does."""
        return self.runners.get(StreamPartition(stream, partition))

    def __len__(self) -> int:
        """Partitions that are run or followed."""
        return len(self.runners) + len(self.followed)

    @property
    def not_live(self) -> str | None:
        """Why not all that are run here serve, in a sentence; None where they do or halted."""
        for partition, runner in self.runners.items():
            if runner.state not in ("live", "halted"):
                why = "" if runner.error is None else f": {runner.error}"
                return f"{partition} is {runner.state}{why}"
        return None

    @property
    def halted(self) -> list[Halted]:
        """What stands still here because of its dead letters."""
        return [
            Halted(*partition, runner.halt.offset, runner.halt.reason)
            for partition, runner in sorted(self.runners.items())
            if runner.state == "halted" and runner.halt is not None
        ]

    def has_ended(self, partition: StreamPartition) -> bool:
        """Tell whether a partition is this process' and nothing runs it any more."""
        return partition in self.runners and self.tasks[partition].done()

    async def take_on(self, partition: StreamPartition, tail: PartitionTail) -> None:
        """Run a partition, unless that is done already; with what was learnt when it was here."""
        if partition in self.runners:
            return
        following = self.followed.pop(partition, None)
        if following is not None:
            await cancel([following])
        runner = self._warm.pop(partition, None)
        if runner is None:
            options, workers = self._options, self._workers
            runner = PartitionRunner(partition, self._ports, options, workers, tail)
        runner.renew()
        self.runners[partition] = runner
        self._ports.metrics.taken(partition)
        self.tasks[partition] = asyncio.create_task(runner.run(), name=str(partition))

    async def release(self, partitions: Collection[StreamPartition]) -> None:
        """Let go of partitions that may come back; what was learnt is kept until they do not.

        One that does not serve yet has nothing to finish: it would fence its next owner, and keep
        others waiting.
        """
        running = [partition for partition in partitions if partition in self.runners]
        for partition in running:
            runner = self.runners[partition]
            if runner.state in ("restoring", "retrying"):
                self.tasks[partition].cancel()
            else:
                runner.request_release()
                self._warm[partition] = runner
        tasks = [self.tasks[partition] for partition in running]
        if tasks:
            await asyncio.wait(tasks, timeout=RELEASE_S)
        await self._let_go(running)

    async def forget(self, partitions: Sequence[StreamPartition]) -> None:
        """Let go of partitions that are no more, and of what was learnt there."""
        await self._let_go(partitions)
        for partition in partitions:
            self._warm.pop(partition, None)

    async def _let_go(self, partitions: Sequence[StreamPartition]) -> None:
        tasks = [self.tasks.pop(partition, None) for partition in partitions]
        tasks += [self.followed.pop(partition, None) for partition in partitions]
        for partition in partitions:
            if self.runners.pop(partition, None) is not None:
                self._ports.metrics.released(partition)
        await cancel([task for task in tasks if task is not None])

    def follow_results(self, partition: StreamPartition, tail: PartitionTail | None) -> None:
        """Show readers what another process commits.

        Args:
            partition: another process'; what was learnt of it here is of no use any more.
            tail: where readers look; None for a partition of a stream that is not known here.
        """
        self._warm.pop(partition, None)
        foreign = self._ports.foreign
        if tail is None or foreign is None:
            return
        if partition in self.followed and not self.followed[partition].done():
            return
        following = follow(foreign, partition, tail, self._options.retry_s)
        self.followed[partition] = asyncio.create_task(following, name=f"results of {partition}")

    async def settle(self) -> None:
        """Let all that run here settle what waits and write a last snapshot, within a bound."""
        for runner in self.runners.values():
            runner.request_stop()
        if self.tasks:
            await asyncio.wait([*self.tasks.values()], timeout=self._options.stop_s)

    async def end(self) -> None:
        """Stop what still runs."""
        await cancel([*self.tasks.values(), *self.followed.values()])


async def cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel tasks, and wait until they have ended."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.gather(*tasks, return_exceptions=True)
