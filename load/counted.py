"""`python -m load.counted FILE COMMAND …`: the command `rcf`, which also counts its loop's tasks.

A process tells its memory, descriptors and threads from outside, but not its tasks: their number
stands in the file, renewed each second.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from service import wiring
from service.__main__ import main

TICKS = 10  # a second


def count_into(file: Path) -> None:
    """Make every server write how many tasks its loop has."""

    class CountedServer(wiring.Server):
        async def on_tick(self, counter: int) -> bool:
            if counter % TICKS == 0:
                fresh = file.with_suffix(".fresh")
                fresh.write_text(str(len(asyncio.all_tasks())))
                fresh.rename(file)
            return await super().on_tick(counter)

    wiring.Server = CountedServer  # type: ignore[misc]  # the one that `rcf dev` starts


if __name__ == "__main__":
    count_into(Path(sys.argv[1]))
    sys.argv[1:] = sys.argv[2:]
    main()
