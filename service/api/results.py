"""GET …/results: committed results from the log, page by page, or the newest."""

from collections.abc import Sequence
from typing import Annotated
from zoneinfo import ZoneInfo

import msgspec
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from service.api.context import Context
from service.api.errors import invalid_parameter
from service.api.parameters import StreamName, time_ms
from service.api.schemas import RESULTS
from service.engine.newest import LOOKED_THROUGH

MAX_LIMIT = 100_000
_TIME = (
    "ISO 8601, in the stream's `zone` when no offset is given, or seconds since 1970 (milliseconds "
    "from 1e11 on)"
)


def router(context: Context) -> APIRouter:
    """The resource over the engine of `context`."""
    routes = APIRouter(tags=["results"])

    @routes.get("/v1/streams/{stream}/results", **RESULTS)
    async def get_results(
        request: Request,
        stream: StreamName,
        key: Annotated[str | None, Query(description="Only this series.")] = None,
        from_: Annotated[
            str | None, Query(alias="from", description=f"Not before this time: {_TIME}.")
        ] = None,
        to: Annotated[str | None, Query(description=f"Before this time: {_TIME}.")] = None,
        anomalies: Annotated[bool, Query(description="Only anomalies.")] = False,
        limit: Annotated[
            int, Query(ge=1, le=MAX_LIMIT, description="Results of one page at most.")
        ] = 1_000,
        cursor: Annotated[
            str | None, Query(description="`next` of the page before; all else unchanged.")
        ] = None,
        last: Annotated[
            int | None,
            Query(
                ge=1,
                le=MAX_LIMIT,
                description="Instead of a page the newest so many of what else is asked for, of "
                f"the last {LOOKED_THROUGH:,} offsets of each partition; neither `limit` nor "
                "`cursor` beside it. `next` is where later results begin, also as `after` of "
                "`…/events`.",
            ),
        ] = None,
    ) -> Response:
        """Results in order: a page, `next` leads to the one after; or with `last` the newest."""
        engine = context.engine()
        zone = ZoneInfo(engine.stream(stream).zone)
        from_ms, to_ms = time_ms("from", from_, zone), time_ms("to", to, zone)
        if last is None:
            page = await engine.results(
                stream,
                key=key,
                from_ms=from_ms,
                to_ms=to_ms,
                anomalies=anomalies,
                limit=limit,
                cursor=cursor,
            )
            return _answer(page.results, {"next": page.next})
        _refuse_beside_last(request)
        found = await engine.newest(
            stream, last, key=key, from_ms=from_ms, to_ms=to_ms, anomalies=anomalies
        )
        return _answer(found.results, {"next": found.next, "complete": found.complete})

    return routes


def _refuse_beside_last(request: Request) -> None:
    for name in ("limit", "cursor"):
        if name in request.query_params:
            raise invalid_parameter(name, request.query_params[name], "only without `last`")


def _answer(results: Sequence[bytes], said: dict[str, object]) -> Response:
    """The results, as the engine encoded them, and what is said beside them."""
    more = msgspec.json.encode(said)
    body = b'{"results":[%b],%b' % (b",".join(results), more[1:])
    return Response(body, media_type="application/json")
