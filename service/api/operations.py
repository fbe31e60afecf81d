"""/healthz, /readyz, /metrics: for those who run the service."""

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from service.api.context import Context
from service.api.errors import not_ready
from service.api.schemas import HEALTH, METRICS, READY

JSON = "application/json"


def router(context: Context) -> APIRouter:
    """The resources over `context`."""
    routes = APIRouter(tags=["operations"])

    @routes.get("/healthz", **HEALTH)
    async def healthz() -> Response:
        """Whether the process answers at all; a failure means: restart it."""
        return Response(b'{"status":"ok"}', media_type=JSON)

    @routes.get("/readyz", **READY)
    async def readyz() -> Response:
        """Whether records are scored; a failure means: send them later. Names halted partitions."""
        reason = context.not_ready_reason()
        if reason is not None:
            raise not_ready(reason)
        halted = [str(error) for error in context.engine().halted]
        body = {"status": "ready", "halted": halted}
        return Response(msgspec.json.encode(body), media_type=JSON)

    @routes.get("/metrics", **METRICS)
    async def metrics(request: Request) -> Response:
        """Every metric, in Prometheus' text format, or as OpenMetrics where that is asked for."""
        content, kind = context.metrics_text(request.headers.get("accept", ""))
        return Response(content, headers={"Content-Type": kind})

    return routes
