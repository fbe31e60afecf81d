"""PUT, GET, DELETE /v1/streams/{stream} and GET /v1/streams: what streams there are."""

import asyncio
from dataclasses import fields
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from service.api.bodies import media_type, read_body, unsupported
from service.api.context import Context
from service.api.errors import invalid_parameter
from service.api.names import refuse_repeated
from service.api.parameters import StreamName
from service.api.problems import Problem
from service.api.schemas import DELETE_STREAM, GET_STREAM, LIST_STREAMS, PUT_STREAM
from service.engine.config import StreamConfig, time_decay_of
from service.engine.errors import UnknownStream
from service.engine.feedback import Feedback, ThresholdFactor
from service.engine.rules import Rule

JSON = "application/json"

Optional = msgspec.UnsetType


class StreamBody(msgspec.Struct, forbid_unknown_fields=True):
    """What a client may say about a stream; a field left out keeps its value or default."""

    features: list[str] | int | Optional = msgspec.UNSET
    partitions: int | Optional = msgspec.UNSET
    transform: str | Optional = msgspec.UNSET
    weights: list[float] | Optional | None = msgspec.UNSET
    time_weight: float | Optional = msgspec.UNSET
    shingle_size: int | Optional = msgspec.UNSET
    smoothing: int | Optional = msgspec.UNSET
    trees: int | Optional = msgspec.UNSET
    sample_size: int | Optional = msgspec.UNSET
    time_decay: float | Optional | None = msgspec.UNSET
    half_life: float | Optional | None = msgspec.UNSET
    window: float | Optional | None = msgspec.UNSET
    score: str | Optional = msgspec.UNSET
    threshold: str | Optional = msgspec.UNSET
    threshold_level: float | Optional | None = msgspec.UNSET
    cool_down: int | Optional = msgspec.UNSET
    alert_budget: int | Optional | None = msgspec.UNSET
    alert_budget_s: int | Optional = msgspec.UNSET
    multi_mode: str | Optional = msgspec.UNSET
    seed: int | Optional = msgspec.UNSET
    output_after: int | Optional | None = msgspec.UNSET
    new_series: str | Optional = msgspec.UNSET
    max_series: int | Optional = msgspec.UNSET
    retention: int | Optional = msgspec.UNSET
    decoder: str | Optional = msgspec.UNSET
    explain: str | Optional = msgspec.UNSET
    dead_letter_share: float | Optional = msgspec.UNSET
    dead_letter_run: int | Optional = msgspec.UNSET
    forecast: bool | Optional = msgspec.UNSET
    missing: str | Optional = msgspec.UNSET
    fill: list[float] | Optional | None = msgspec.UNSET
    learning: bool | Optional = msgspec.UNSET
    counters: tuple[str, ...] | Optional = msgspec.UNSET
    late_after_s: float | Optional | None = msgspec.UNSET
    skip_duplicates: bool | Optional = msgspec.UNSET
    zone: str | Optional = msgspec.UNSET
    threshold_factors: tuple[ThresholdFactor, ...] | Optional = msgspec.UNSET
    feedback: tuple[Feedback, ...] | Optional = msgspec.UNSET
    told_from: str | Optional | None = msgspec.UNSET
    incident_gap: int | Optional = msgspec.UNSET
    incident_window_s: float | Optional = msgspec.UNSET
    incident_silence_s: float | Optional = msgspec.UNSET
    rules: tuple[Rule, ...] | Optional = msgspec.UNSET


_decode = msgspec.json.Decoder(StreamBody).decode


def router(context: Context) -> APIRouter:
    """The resource over the engine of `context`."""
    routes = APIRouter(tags=["streams"])

    @routes.put("/v1/streams/{stream}", **PUT_STREAM)
    async def put_stream(
        request: Request,
        stream: StreamName,
        reset: Annotated[
            bool,
            Query(description="Throw away what was learnt, when the change needs a fresh model."),
        ] = False,
    ) -> Response:
        """Create a stream, or change one. A field left out keeps its value, or its default."""
        engine = context.engine()
        given = _read(await json_body(request, context))

        def changed(present: StreamConfig) -> StreamConfig:
            return _configured(_plain(present) | given)

        try:
            return _answer(await engine.update_stream(stream, changed, reset=reset), 200)
        except UnknownStream:
            sizes = {"partitions": context.partitions, "max_series": context.max_series}
            config = _configured({"name": stream} | sizes | given)
            return _answer(await engine.create_stream(config), 201)

    @routes.get("/v1/streams/{stream}", **GET_STREAM)
    async def get_stream(stream: StreamName) -> Response:
        """The configuration of a stream."""
        return _answer(context.engine().stream(stream), 200)

    @routes.delete("/v1/streams/{stream}", **DELETE_STREAM)
    async def delete_stream(stream: StreamName) -> Response:
        """Remove a stream with its records, its results and what it has learnt."""
        await context.engine().delete_stream(stream)
        return Response(status_code=204)

    @routes.get("/v1/streams", **LIST_STREAMS)
    async def list_streams() -> Response:
        """All streams, ordered by name."""
        streams = [_public(config) for config in context.engine().streams()]
        return Response(msgspec.json.encode({"streams": streams}), media_type=JSON)

    return routes


def changed_by(present: StreamConfig, body: bytes) -> StreamConfig:
    """The configuration with the fields that a body gives.

    Raises:
        Problem: `malformed-body` or `invalid-parameter`.
        InvalidParameter: a field has a value that is not allowed.
    """
    return _configured(_plain(present) | _read(body))


async def json_body(request: Request, context: Context) -> bytes:
    """The body of a request whose content is JSON, or empty.

    Raises:
        Problem: it is not, it is too large, or it says a name twice.
    """
    kind = media_type(request, JSON)
    if kind not in (JSON, "application/x-www-form-urlencoded"):
        raise unsupported(kind, (JSON,))
    body = await read_body(request, context.limits.body_bytes)
    await asyncio.to_thread(refuse_repeated, body)  # that of a preview may be long
    return body


def _read(body: bytes) -> dict[str, Any]:
    try:
        said = _decode(body or b"{}")
    except msgspec.ValidationError as error:
        raise _invalid(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem("malformed-body", f"not JSON: {error}") from error
    pairs = ((name, getattr(said, name)) for name in StreamBody.__struct_fields__)
    given = {name: value for name, value in pairs if value is not msgspec.UNSET}
    memory = {name: given.pop(name, None) for name in ("half_life", "window")}
    if any(value is not None for value in memory.values()):
        given["time_decay"] = time_decay_of(given.get("time_decay"), **memory)
    if "features" in given:
        given["features"] = _names(given["features"])
    for name in ("fill", "weights"):
        if given.get(name) is not None:
            given[name] = tuple(given[name])
    return given


def _names(features: list[str] | int) -> tuple[str, ...]:
    if isinstance(features, list):
        return tuple(features)
    if not 1 <= features <= 1000:
        raise invalid_parameter("features", features, "1 to 1000, or a list of names")
    return tuple(f"v{index}" for index in range(features))


def _invalid(error: msgspec.ValidationError) -> Problem:
    reason, _, path = str(error).partition(" - at `$")
    field = path.strip("`.") or "body"
    allowed = f"fields {', '.join(StreamBody.__struct_fields__)}"
    return Problem("invalid-parameter", f"{field}: {reason}", field=field, allowed=allowed)


def _configured(values: dict[str, Any]) -> StreamConfig:
    return StreamConfig(**values)


def _plain(config: StreamConfig) -> dict[str, Any]:
    return {item.name: getattr(config, item.name) for item in fields(config)}


def _public(config: StreamConfig) -> dict[str, Any]:
    return _plain(config) | {"features": list(config.features)}


def _answer(config: StreamConfig, status: int) -> Response:
    return Response(msgspec.json.encode(_public(config)), status, media_type=JSON)
