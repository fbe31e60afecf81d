"""GET …/events: results as they appear, by server-sent events.

The law: an event stream ends by itself as soon as the process is told to stop. The server waits for
open responses before it lets go of anything, and one that waits for an event may never end.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from starlette.responses import Response, StreamingResponse

from service.api.context import Context
from service.api.parameters import StreamName
from service.api.problems import Problem
from service.api.schemas import EVENTS
from service.engine.records import Event

Events = AsyncIterator[Event]

RECONNECT_MS = 2_000
"""How long a browser waits before it connects again."""


def router(context: Context) -> APIRouter:
    """The resource over the engine of `context`."""
    routes = APIRouter(tags=["results"])

    @routes.get("/v1/streams/{stream}/events", **EVENTS)
    async def follow_events(
        stream: StreamName,
        anomalies: Annotated[bool, Query(description="Only anomalies, and incidents.")] = False,
        after: Annotated[
            str | None, Query(description="Event id to go on after; without it, from here on.")
        ] = None,
        last_event_id: Annotated[
            str | None, Header(description="As `after`, and stronger: sent by browsers.")
        ] = None,
    ) -> Response:
        """Follow a stream's results, and incidents as events named `incident`; an id resumes."""
        engine = context.engine()
        engine.stream(stream)
        if context.subscribers >= context.limits.subscribers:
            raise Problem(
                "too-many-subscribers",
                f"{context.subscribers} event streams are open",
                headers={"Retry-After": "5"},
            )
        resumed = last_event_id or after or None
        events = engine.subscribe(stream, anomalies=anomalies, after=resumed)
        return StreamingResponse(
            _frames(context, events),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    return routes


async def _frames(context: Context, events: Events) -> AsyncIterator[bytes]:
    context.subscribers += 1
    closing = asyncio.ensure_future(context.closing.wait())
    try:
        yield format_sse_event(comment="connected", retry=RECONNECT_MS)
        async for frame in _until(events, closing, context.limits.heartbeat_interval_s):
            yield frame
    finally:
        context.subscribers -= 1
        closing.cancel()


async def _until(
    events: Events, closing: "asyncio.Future[Literal[True]]", heartbeat_s: float
) -> AsyncIterator[bytes]:
    """Frames of `events` until they end or `closing` is done; a ping after each silence."""
    upcoming: asyncio.Future[Event] | None = None
    try:
        while not closing.done():
            upcoming = upcoming or asyncio.ensure_future(anext(events))
            await asyncio.wait(
                (upcoming, closing), timeout=heartbeat_s, return_when=asyncio.FIRST_COMPLETED
            )
            if not upcoming.done():
                yield KEEPALIVE_COMMENT
                continue
            try:
                event = upcoming.result()
            except StopAsyncIteration:
                return
            upcoming = None
            # Results are plain messages, which every client listens to.
            name = None if event.kind == "result" else event.kind
            yield format_sse_event(data_str=event.data.decode(), id=event.cursor, event=name)
    finally:
        await _abandon(upcoming, events)


async def _abandon(upcoming: "asyncio.Future[Event] | None", events: Events) -> None:
    if upcoming is not None and not upcoming.done():
        upcoming.cancel()
        await asyncio.gather(upcoming, return_exceptions=True)
    close = getattr(events, "aclose", None)
    if close is not None:
        await close()
