"""The streams that this process knows, and changes of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from service.engine.config import StreamConfig, that_mean
from service.engine.errors import (
    InvalidParameter,
    NeedsNewModel,
    StreamExists,
    TransientError,
    UnknownStream,
)
from service.engine.held import HeldStream
from service.engine.owned import Owned
from service.engine.ports import Change, Ports
from service.engine.records import StreamEntry


class Streams:
    """Knows what the log's catalogue holds; whichever process changed it.

    Attributes:
        lock: held while a stream is made, changed, dropped, or a partition of one is taken on.
    """

    def __init__(self, ports: Ports, owned: Owned) -> None:
        self.lock = asyncio.Lock()
        self._ports, self._owned = ports, owned
        self._held: dict[str, HeldStream] = {}
        self._looking: asyncio.Task[None] | None = None

    def __iter__(self) -> Iterator[HeldStream]:
        """All, ordered by name."""
        return iter([self._held[name] for name in sorted(self._held)])

    def __contains__(self, name: str) -> bool:
        """Tell whether there is one of this name."""
        return name in self._held

    def get(self, name: str) -> HeldStream | None:
        """Return the stream of a name; None where there is none."""
        return self._held.get(name)

    def __getitem__(self, name: str) -> HeldStream:
        """Return the stream of a name.

        Raises:
            UnknownStream: there is none.
        """
        try:
            return self._held[name]
        except KeyError:
            raise UnknownStream(name) from None

    async def open(self) -> None:
        """Learn what there is; nothing runs yet."""
        for entry in await self._ports.log.streams():
            self._held[entry.config.name] = HeldStream(entry, self._ports)

    async def create(self, config: StreamConfig) -> tuple[StreamConfig, bool]:
        """Make a stream, unless one is there that is configured equally.

        Returns:
            Its configuration, and whether it was made here.

        Raises:
            StreamExists: one of this name is configured otherwise.
        """
        async with self.lock:
            held = self._held.get(config.name)
            if held is not None:
                changed = held.entry.config.changed(config)
                if changed:
                    raise StreamExists(config.name, changed)
                return held.entry.config, False
            entry = await self._create(config.with_generation(1))
            self._held[config.name] = HeldStream(entry, self._ports)
            return entry.config, True

    async def _create(self, config: StreamConfig) -> StreamEntry:
        try:
            return await self._ports.log.create_stream(config)
        except StreamExists as error:
            if error.changed:
                raise
            entries = await self._ports.log.streams()  # made by another process this moment
            return next(entry for entry in entries if entry.config.name == config.name)

    async def change(self, name: str, change: Change) -> StreamConfig:
        """Change what a stream is configured as at this moment, whichever process changed it.

        Raises:
            UnknownStream: there is none of this name.
        """
        async with self.lock:
            held = self[name]
            held.configure(await self._ports.log.update_stream(name, change))
            return held.entry.config

    async def update(self, name: str, change: Change, *, reset: bool) -> StreamConfig:
        """`change` as far as a stream may be changed; see `Engine.update_stream`."""

        def checked(former: StreamConfig) -> StreamConfig | None:
            config = change(former)
            changed = () if config is None else former.changed(config)
            if config is None or not (changed or reset):
                return None
            for field in that_mean("never", changed):
                kept = f"{getattr(former, field)}; delete the stream and create it again instead"
                raise InvalidParameter(field, getattr(config, field), kept)
            needing = that_mean("model", changed)
            if needing and not reset:
                raise NeedsNewModel(name, needing)
            return config.with_generation(former.generation + reset)

        return await self.change(name, checked)

    async def delete(self, name: str) -> StreamEntry | None:
        """Remove a stream with its records and results.

        Returns:
            What it was; None where only the log had something left of it.

        Raises:
            UnknownStream: there is none of this name.
        """
        async with self.lock:
            held = self._held.get(name)
            await self._ports.log.delete_stream(name)
            if held is None:
                return None
            await self._drop(held)
            return held.entry

    async def look(self) -> None:
        """Learn of streams that other processes made a moment ago; once for all who ask."""
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        with contextlib.suppress(TransientError):
            await asyncio.shield(self._looking)

    async def _look(self) -> None:
        try:
            for entry in await self._ports.log.streams():
                await self.learn(entry)
        finally:
            self._looking = None

    async def learn(self, entry: StreamEntry) -> None:
        """Take note of a stream that a process made or changed."""
        async with self.lock:
            held = self._held.get(entry.config.name)
            if held is not None and held.entry.incarnation < entry.incarnation:
                await self._drop(held)  # with all that runs for it, and shows its results
                held = None
            if held is None:
                self._held[entry.config.name] = HeldStream(entry, self._ports)
            elif held.entry.incarnation == entry.incarnation:
                held.configure(entry)

    async def forget(self, entry: StreamEntry) -> None:
        """Take note that a process deleted a stream."""
        async with self.lock:
            held = self._held.get(entry.config.name)
            if held is not None and held.entry.incarnation == entry.incarnation:
                await self._drop(held)

    async def _drop(self, held: HeldStream) -> None:
        name = held.entry.config.name
        del self._held[name]
        held.end_readers(UnknownStream(name))
        await self._owned.forget(held.partitions)
