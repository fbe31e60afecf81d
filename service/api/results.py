"""GET …/results: committed results from the log, page by page."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from starlette.responses import Response

from service.api.context import Context
from service.api.parameters import StreamName, time_ms
from service.api.schemas import RESULTS

MAX_LIMIT = 100_000
_TIME = "ISO 8601, or seconds since 1970 (milliseconds from 1e11 on)"


def router(context: Context) -> APIRouter:
    """The resource over the engine of `context`."""
    routes = APIRouter(tags=["results"])

    @routes.get("/v1/streams/{stream}/results", **RESULTS)
    async def get_results(
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
    ) -> Response:
        """Results in order; `next` leads to the page after, null where the log ends so far."""
        page = await context.engine().results(
            stream,
            key=key,
            from_ms=time_ms("from", from_),
            to_ms=time_ms("to", to),
            anomalies=anomalies,
            limit=limit,
            cursor=cursor,
        )
        body = b'{"results":[%b],"next":%b}' % (
            b",".join(page.results),
            msgspec.json.encode(page.next),
        )
        return Response(body, media_type="application/json")

    return routes
