"""Work beside the event loop that neither the loop's end nor the process' end waits for.

Threads of executors are joined at both, and what cannot be interrupted, such as a compilation,
would keep a process alive that was told to stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable


def run_beside(work: Callable[[], object], name: str) -> asyncio.Future[None]:
    """Run `work` in a daemon thread of this name; return a future that ends as it does."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def settle(error: BaseException | None) -> None:
        if ended.done():
            return
        if error is None:
            ended.set_result(None)
        else:
            ended.set_exception(error)

    def run() -> None:
        error: BaseException | None = None
        try:
            work()
        except BaseException as raised:  # whatever it is, who waits must learn of it
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(settle, error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return ended
