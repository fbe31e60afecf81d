"""POST …/feedback: what somebody says of a result, and what it asks of the threshold."""

from __future__ import annotations

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from service.api.context import Context
from service.api.parameters import StreamName
from service.api.problems import Problem
from service.api.schemas import FEEDBACK
from service.api.streams import JSON, json_body
from service.engine.feedback import Verdict
from service.engine.records import Position


class FeedbackBody(msgspec.Struct, forbid_unknown_fields=True):
    """A verdict on the record at a place of the log; `apply`: set the suggested factor at once."""

    partition: int
    offset: int
    verdict: Verdict
    apply: bool = False


_decode = msgspec.json.Decoder(FeedbackBody).decode


def router(context: Context) -> APIRouter:
    """The resource over the engine of `context`."""
    routes = APIRouter(tags=["results"])

    @routes.post("/v1/streams/{stream}/feedback", **FEEDBACK)
    async def give_feedback(request: Request, stream: StreamName) -> Response:
        """Say that a record is no anomaly, or one that was missed; get a threshold that agrees."""
        said = _read(await json_body(request, context))
        place = Position(said.partition, said.offset)
        advice = await context.engine().give_feedback(stream, place, said.verdict, apply=said.apply)
        return Response(msgspec.json.encode(advice), media_type=JSON)

    return routes


def _read(body: bytes) -> FeedbackBody:
    try:
        return _decode(body)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$.")
        field = path.strip("`") or "body"
        allowed = "partition, offset, verdict (false_alarm, missed, confirmed), apply"
        raise Problem("invalid-parameter", reason, field=field, allowed=allowed) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem("malformed-body", f"not JSON: {error}") from error
