"""Shows readers of this process the results that another process commits."""

from __future__ import annotations

import asyncio
import logging

from service.engine.errors import EngineError, UnknownStream
from service.engine.ports import ForeignResults
from service.engine.records import StreamPartition
from service.engine.tail import PartitionTail

logger = logging.getLogger(__name__)
AT_ONCE = 1000
"""Results taken over at once, at most."""


async def follow(
    foreign: ForeignResults, partition: StreamPartition, tail: PartitionTail, retry_s: float
) -> None:
    """Publish a partition's results as they are committed, until cancelled.

    Goes on where the tail stands, so that a reader who waits since the partition was run here
    misses nothing; a tail that was never live begins where results end at the moment.
    """
    offset = tail.committed if tail.started else None
    if offset is not None:
        tail.start(offset)
    while True:
        try:
            part = await foreign.await_results(partition, offset, AT_ONCE)
        except UnknownStream:
            return
        except EngineError as error:  # what is refused may be allowed, what is torn mended
            logger.warning("%s: results are not followed for the moment: %s", partition, error)
            await asyncio.sleep(retry_s)
            continue
        if offset is None:
            tail.start(part.next_offset)
        else:
            tail.publish(part.next_offset, part.results)
        offset = part.next_offset
