"""GET …/partitions and POST …/resume: how a stream's partitions stand, and the word to go on."""

import msgspec
from fastapi import APIRouter
from starlette.responses import Response

from service.api.context import Context
from service.api.parameters import StreamName
from service.api.schemas import PARTITIONS, RESUME

JSON = "application/json"


def router(context: Context) -> APIRouter:
    """The resources over the engine of `context`."""
    routes = APIRouter(tags=["operations"])

    @routes.get("/v1/streams/{stream}/partitions", **PARTITIONS)
    async def get_partitions(stream: StreamName) -> Response:
        """How each partition of a stream stands, as this process sees it."""
        return _answer(context, stream, 200)

    @routes.post("/v1/streams/{stream}/resume", **RESUME)
    async def resume(stream: StreamName) -> Response:
        """Let halted partitions go on, through everything that is in the log at this moment."""
        await context.engine().resume_stream(stream)
        return _answer(context, stream, 202)

    return routes


def _answer(context: Context, stream: str, status: int) -> Response:
    partitions = context.engine().partitions(stream)
    return Response(msgspec.json.encode({"partitions": partitions}), status, media_type=JSON)
