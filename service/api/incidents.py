"""GET …/incidents: what is wrong at the moment, and was lately."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from starlette.responses import Response

from service.api.context import Context
from service.api.parameters import StreamName
from service.api.schemas import INCIDENTS

MAX_LIMIT = 1_000


def router(context: Context) -> APIRouter:
    """The resource over the engine of `context`."""
    routes = APIRouter(tags=["results"])

    @routes.get("/v1/streams/{stream}/incidents", **INCIDENTS)
    async def get_incidents(
        stream: StreamName,
        open_: Annotated[
            bool, Query(alias="open", description="Only those that are not over.")
        ] = False,
        key: Annotated[str | None, Query(description="Only those that list this series.")] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="So many at most.")] = 100,
    ) -> Response:
        """Incidents that are open or were lately, the last to begin first."""
        standings = await context.engine().incidents(stream)
        wanted = [
            msgspec.to_builtins(each.event) | {"group": each.group}
            for each in standings
            if (not open_ or each.event.event != "close")
            and (key is None or any(series.key == key for series in each.event.series))
        ]
        body = msgspec.json.encode({"incidents": wanted[:limit]})
        return Response(body, media_type="application/json")

    return routes
