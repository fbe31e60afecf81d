"""A proxy on loopback in front of a broker: it stalls, delays, drops, refuses and loses answers.

It speaks of itself as the broker: addresses in answers are rewritten, so that clients stay with it.
Requests and answers are read with the client library's own definitions of the protocol.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from io import BytesIO
from typing import Any

from aiokafka.protocol import coordination, metadata, produce, transaction
from aiokafka.protocol.api import RequestStruct

HOST = "127.0.0.1"
STEP_S = 0.005


class Api(Enum):
    """The requests that faults are made for, by their number in the protocol."""

    PRODUCE = 0
    METADATA = 3
    FIND_COORDINATOR = 10
    INIT_PRODUCER_ID = 22
    ADD_PARTITIONS = 24
    ADD_OFFSETS = 25
    END_TRANSACTION = 26
    COMMIT_OFFSETS = 28


class Kind(Enum):
    """What happens to a request."""

    REFUSE = "the broker never sees it, an error is answered"
    DENY = "the broker does it, an error is answered"
    DROP = "the broker never sees it, nothing is answered"
    LOSE = "the broker does it, nothing is answered"
    HOLD = "the broker sees it when `Fault.go` is set"


@dataclass
class Fault:
    """One fault, for the next `times` requests of a kind that fit."""

    api: Api
    kind: Kind
    code: int = 0
    times: int = 1
    fits: Callable[[Any], bool] = lambda _: True
    go: threading.Event = field(default_factory=threading.Event)
    met: threading.Event = field(default_factory=threading.Event)


STRUCTS: dict[tuple[int, int], type[RequestStruct]] = {
    (each.API_KEY, each.API_VERSION): each
    for module in (produce, metadata, coordination, transaction)
    for each in vars(module).values()
    if isinstance(each, type) and issubclass(each, RequestStruct) and each is not RequestStruct
}


@dataclass
class _Request:
    """A request as it came, and how to read it if we know how."""

    frame: bytes

    def __post_init__(self) -> None:
        self.api, version, self.correlation = struct.unpack_from(">hhi", self.frame)
        self.kind = STRUCTS.get((self.api, version))

    def body(self) -> Any:
        assert self.kind is not None
        (length,) = struct.unpack_from(">h", self.frame, 8)
        return self.kind.decode(BytesIO(self.frame[10 + max(length, 0) :]))

    def answered(self, response: Any) -> bytes:
        return struct.pack(">i", self.correlation) + response.encode()


class Proxy:
    """In a thread of its own; every method may be called from anywhere."""

    def __init__(self, broker: str) -> None:
        host, _, port = broker.rpartition(":")
        self._broker = (host, int(port))
        self.faults: list[Fault] = []
        self._flows = threading.Event()
        self._flows.set()
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(10)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join(10)

    def stall(self) -> None:
        """Let nothing through in either direction; connections stay open."""
        self._flows.clear()

    def flow(self) -> None:
        self._flows.set()

    @contextlib.contextmanager
    def fault(self, *arguments: Any, **named: Any) -> Iterator[Fault]:
        """Have a fault for a while."""
        found = Fault(*arguments, **named)
        self.faults.append(found)
        try:
            yield found
        finally:
            self.faults.remove(found)
            found.go.set()

    # -- in the thread --------------------------------------------------------------------

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._ending = asyncio.Event()
        server = await asyncio.start_server(self._connected, HOST, 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._ending.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        upstream = None
        try:
            up_reader, upstream = await asyncio.open_connection(*self._broker)
            answers: asyncio.Queue[tuple[_Request, Fault | None]] = asyncio.Queue()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._forward(reader, upstream, answers))
                group.create_task(self._answer(up_reader, writer, answers))
        except* (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            for each in (writer, upstream):
                if each is not None:
                    each.close()

    async def _forward(self, reader: Any, upstream: Any, answers: Any) -> None:
        while True:
            request = _Request(await _read(reader))
            await self._until(self._flows)
            fault = self._fault_for(request)
            if fault is not None and fault.kind is Kind.HOLD:
                await self._until(fault.go)
            await answers.put((request, fault))
            if fault is None or fault.kind not in (Kind.REFUSE, Kind.DROP):
                _write(upstream, request.frame)
                await upstream.drain()

    async def _answer(self, up_reader: Any, writer: Any, answers: Any) -> None:
        """Answers go in the order of requests, whoever makes them."""
        while True:
            request, fault = await answers.get()
            kind = None if fault is None else fault.kind
            if kind is Kind.REFUSE:
                frame = request.answered(error_for(request.body(), fault.code))
            elif kind is Kind.DROP:
                continue
            else:
                frame = self._ours(request, await _read(up_reader))
            if kind is Kind.LOSE:
                continue
            if kind is Kind.DENY:
                frame = request.answered(error_for(request.body(), fault.code))
            await self._until(self._flows)
            _write(writer, frame)
            await writer.drain()

    def _fault_for(self, request: _Request) -> Fault | None:
        for fault in self.faults:
            if fault.times and fault.api.value == request.api and fault.fits(request.body()):
                fault.times -= 1
                fault.met.set()
                return fault
        return None

    def _ours(self, request: _Request, frame: bytes) -> bytes:
        """Put our address into an answer that names brokers."""
        if request.api not in (Api.METADATA.value, Api.FIND_COORDINATOR.value):
            return frame
        response = request.kind.RESPONSE_TYPE.decode(frame[4:])
        if request.api == Api.METADATA.value:
            response.brokers = [(each[0], HOST, self.port, *each[3:]) for each in response.brokers]
        else:
            response.host, response.port = HOST, self.port
        return request.answered(response)

    async def _until(self, event: threading.Event) -> None:
        while not event.is_set():  # noqa: ASYNC110  (set by another thread)
            await asyncio.sleep(STEP_S)


async def _read(reader: Any) -> bytes:
    (size,) = struct.unpack(">i", await reader.readexactly(4))
    frame: bytes = await reader.readexactly(size)
    return frame


def _write(writer: Any, frame: bytes) -> None:
    writer.write(struct.pack(">i", len(frame)) + frame)


def error_for(request: Any, code: int) -> Any:
    """Return the answer that refuses a request with an error code."""
    kind = request.RESPONSE_TYPE
    names = kind.SCHEMA.names
    found = dict.fromkeys(names, 0)
    found |= {name: "" for name in names if name in ("error_message", "host")}
    if "error_code" in names:
        found["error_code"] = code
    for name in ("errors", "topics"):
        if name in names:
            found[name] = [
                (topic, [_partition_error(kind, part, code) for part in parts])
                for topic, parts in request.topics
            ]
    return kind(**found)


def _partition_error(kind: type, part: Any, code: int) -> tuple[Any, ...]:
    number = part[0] if isinstance(part, tuple) else part
    if Api(kind.API_KEY) is not Api.PRODUCE:
        return (number, code)
    nothing = {5: (-1, -1, -1), 6: (-1, -1, -1), 7: (-1, -1, -1)}
    return (number, code, *nothing.get(kind.API_VERSION, (-1, -1, -1, [], "")))
