"""`rcf resume`: the word to go on, to a stream that halted because of its dead letters."""

from __future__ import annotations

from collections.abc import Callable

from service.cli.http import ask, path_of
from service.cli.tail import service_at


def resume(stream: str, *, url: str | None, say: Callable[[str], None]) -> None:
    """Ask a running service to let a stream go on.

    Raises:
        CommandError: None answers, or it knows no such stream.
    """
    where = service_at(url)
    before = ask(where, path_of(stream, "/partitions"))["partitions"]
    ask(where, path_of(stream, "/resume"), method="POST")
    for each in before:
        if each["state"] == "halted":
            say(f"{stream}/{each['partition']} goes on; it stood at: {each['reason']}")
    say(f"stream {stream}: everything that is in the log at this moment passes")
