"""Questions to a series: POST …/explain, …/density, …/neighbours; GET …/hotspots, …/forecast."""

from math import isnan
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from service.api.bodies import media_type, read_body, unsupported
from service.api.context import Context
from service.api.names import refuse_repeated
from service.api.parameters import StreamName
from service.api.schemas import DENSITY, EXPLAIN_RECORD, FORECAST, HOTSPOTS, NEIGHBOURS
from service.engine.asking import (
    LARGEST_WINDOW,
    LONGEST_HORIZON,
    SMALLEST_WINDOW,
    how_crowded,
    what_comes,
    what_is_near,
    where_crowds_are,
    why,
)
from service.engine.engine import Engine
from service.engine.errors import InvalidParameter, InvalidRecord

JSON = "application/json"
_CURL_DEFAULT = "application/x-www-form-urlencoded"
_RATES = (
    "none, for a record to be asked about: questions take what the detector sees, rates in place "
    "of counters, and a record alone tells totals"
)


def router(context: Context) -> APIRouter:
    """The resources over the engine of `context`."""
    routes = APIRouter(tags=["series"])

    @routes.post("/v1/streams/{stream}/explain", **EXPLAIN_RECORD)
    async def explain(request: Request, stream: StreamName) -> Response:
        """Why a record would get its score, were it the next of its series; it is not taken in."""
        engine = context.engine()
        key, values = await _record(request, context, engine, stream)
        question = why(engine.stream(stream).coordinates, values)
        answer = await engine.ask(stream, key, question)
        return _json({"stream": stream, "key": key, "values": values}, answer)

    @routes.post("/v1/streams/{stream}/density", **DENSITY)
    async def density(request: Request, stream: StreamName) -> Response:
        """How crowded it is around a record, were it the next of its series; it is not taken in."""
        engine = context.engine()
        key, values = await _record(request, context, engine, stream)
        question = how_crowded(engine.stream(stream).coordinates, values)
        answer = await engine.ask(stream, key, question)
        return _json({"stream": stream, "key": key, "values": values}, answer)

    @routes.post("/v1/streams/{stream}/neighbours", **NEIGHBOURS)
    async def neighbours(
        request: Request,
        stream: StreamName,
        distance: Annotated[
            float | None,
            Query(gt=0, description="Only points nearer than this; without it, at any distance."),
        ] = None,
        limit: Annotated[int, Query(ge=1, le=1000, description="Points at most.")] = 10,
    ) -> Response:
        """What resembles a record, were it the next of its series; it is not taken in."""
        engine = context.engine()
        key, values = await _record(request, context, engine, stream)
        question = what_is_near(values, float("inf") if distance is None else distance, limit)
        found = await engine.ask(stream, key, question)
        return _json({"stream": stream, "key": key, "values": values, "neighbours": found})

    @routes.get("/v1/streams/{stream}/hotspots", **HOTSPOTS)
    async def hotspots(
        stream: StreamName,
        radius: Annotated[
            float, Query(gt=0, le=1e300, description="How far neighbours may lie apart.")
        ],
        least: Annotated[int, Query(ge=2, le=LARGEST_WINDOW, description="Records of a crowd.")],
        window: Annotated[
            int,
            Query(ge=SMALLEST_WINDOW, le=LARGEST_WINDOW, description="Last records looked at."),
        ] = LARGEST_WINDOW,
        key: Annotated[str, Query(description="The series.")] = "",
    ) -> Response:
        """Where the last records of a series crowd, the densest crowd first."""
        found = await context.engine().ask(stream, key, where_crowds_are(window, radius, least))
        return _json({"stream": stream, "key": key, "hotspots": found})

    @routes.get("/v1/streams/{stream}/forecast", **FORECAST)
    async def forecast(
        stream: StreamName,
        horizon: Annotated[
            int, Query(ge=1, le=LONGEST_HORIZON, description="Records to come.")
        ] = 16,
        key: Annotated[str, Query(description="The series.")] = "",
    ) -> Response:
        """What the next records of a series are expected to be, with bands."""
        engine = context.engine()
        found = await engine.ask(stream, key, what_comes(engine.stream(stream), horizon))
        return _json({"stream": stream, "key": key, "forecast": found})

    return routes


async def _record(
    request: Request, context: Context, engine: Engine, stream: str
) -> tuple[str, list[float]]:
    """Key and values of the record in a body, read as records to be scored are.

    Raises:
        InvalidParameter: the stream has counters: the detector learnt rates, and beside them any
            total would look enormous.
    """
    counters = engine.stream(stream).counters
    if counters:
        raise InvalidParameter("counters", counters, _RATES)
    kind = media_type(request, JSON)
    if kind not in (JSON, _CURL_DEFAULT):
        raise unsupported(kind, (JSON,))
    body = await read_body(request, context.limits.body_bytes)
    refuse_repeated(body)
    read = engine.decode(stream, body)
    for name, value in zip(engine.stream(stream).features, read.values, strict=True):
        if isnan(value):
            raise InvalidRecord(f"values.{name}", None, "missing; nothing stands in for it here")
    return read.key or "", read.values


def _json(said: dict[str, Any], answer: object = None) -> Response:
    more = {} if answer is None else msgspec.to_builtins(answer)
    return Response(msgspec.json.encode(said | more), media_type=JSON)
