"""The threads that work for an engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Workers:
    """Who works for all partitions of an engine.

    Attributes:
        scorer: threads that score.
        saver: threads that write and read snapshots.
        saving: held while a snapshot is written because it was due. What it takes from scoring is
            the same for one after the other, but several at a time leave too little.
    """

    scorer: Executor
    saver: Executor
    saving: asyncio.Lock = field(default_factory=asyncio.Lock)


async def in_thread(executor: Executor, work: Callable[[], T]) -> T:
    """Let a thread work; the loop goes on."""
    return await asyncio.get_running_loop().run_in_executor(executor, work)
