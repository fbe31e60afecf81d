"""What the commands that look into a log share: settings, an open view, errors in plain words."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from service import opening, settings
from service.cli.errors import USAGE, CommandError
from service.engine.errors import CallerError, DataDirectoryInUse, EngineError
from service.engine.ports import LogView
from service.engine.records import Position, StreamEntry
from service.settings import Settings, SettingsError

T = TypeVar("T")
AT_ALLOWED = "PARTITION:OFFSET, as in 0:1234"


def choose(**flags: object) -> Settings:
    """Read the settings.

    Raises:
        CommandError: One is wrong.
    """
    try:
        return settings.load(**flags)
    except SettingsError as error:
        raise CommandError(str(error), USAGE) from error


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work; what fails on purpose becomes one readable message.

    Raises:
        CommandError: The work failed.
    """
    try:
        with _client_library_silent():
            return asyncio.run(work)
    except CallerError as error:
        raise CommandError(str(error), USAGE) from error
    except DataDirectoryInUse as error:
        raise CommandError(f"{error} (--data-dir or RCF_DATA_DIR)") from error
    except EngineError as error:
        raise CommandError(str(error)) from error


@contextmanager
def _client_library_silent() -> Iterator[None]:
    """What it logs on its way to an error is said by the error."""
    library = logging.getLogger("aiokafka")
    former = library.level
    library.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        library.setLevel(former)


@asynccontextmanager
async def looking(chosen: Settings) -> AsyncIterator[LogView]:
    """Open the log that the settings name, to look at it."""
    view = opening.log_view(chosen)
    try:
        await opened(view, chosen)
        yield view
    finally:
        await view.close()


async def opened(view: LogView, chosen: Settings) -> None:
    """Open a view.

    Raises:
        CommandError: There is no log; says where it was looked for.
    """
    try:
        await view.open()
    except EngineError as error:
        where = f"--data-dir = {chosen.data_dir}"
        if chosen.kafka_bootstrap:
            where = f"--kafka-bootstrap = {chosen.kafka_bootstrap}"
        raise CommandError(f"{error} ({where})") from error


async def entry_of(view: LogView, stream: str) -> StreamEntry:
    """Find a stream.

    Raises:
        CommandError: There is none of this name; says which there are.
    """
    entries = {entry.config.name: entry for entry in await view.streams()}
    if stream not in entries:
        there = ", ".join(entries) or "none"
        raise CommandError(f"no stream is named {stream!r}; streams there are: {there}", USAGE)
    return entries[stream]


def position(text: str, entry: StreamEntry) -> Position:
    """Read PARTITION:OFFSET.

    Raises:
        CommandError: It is malformed, or the stream has no such partition.
    """
    found = re.fullmatch(r"([0-9]{1,9}):([0-9]{1,18})", text)
    if found is None:
        raise CommandError(f"{text!r} is not allowed; allowed: {AT_ALLOWED}", USAGE)
    partition, offset = map(int, found.groups())
    count = entry.config.partitions
    if partition >= count:
        raise CommandError(
            f"partition {partition} is not allowed; allowed: 0 to {count - 1}, as stream "
            f"{entry.config.name!r} has",
            USAGE,
        )
    return Position(partition, offset)
