"""POST …/backfill: history warms series up, and alerts nobody.

The law: history is appended and learnt like any other record, but what lies before its end is never
told of. Its records have times, and none of them lies in the future: live alerts would be lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from service.api.context import Context
from service.api.parameters import StreamName
from service.api.problems import Problem
from service.api.records import Bad, checked, invalid_rows, plain, read_rows
from service.api.schemas import BACKFILL
from service.engine.errors import ResultTimeout
from service.engine.records import NewRecord
from service.evaluation.period import period_of

MOST_LISTED = 100
"""Series of which the answer tells."""

LONGEST_WAIT_S = 60.0


class _Seen(msgspec.Struct):
    """What of a result is told."""

    key: str
    status: str
    values: list[float | None] | None


_seen = msgspec.json.Decoder(_Seen).decode


def router(context: Context) -> APIRouter:
    """The resource over the engine of `context`."""
    routes = APIRouter(tags=["records"])

    @routes.post("/v1/streams/{stream}/backfill", **BACKFILL)
    async def backfill(
        request: Request,
        stream: StreamName,
        scores: Annotated[bool, Query(description="Whether to answer with the results.")] = False,
        wait: Annotated[
            Literal["results", "ack"],
            Query(description="What to wait for: all of it learnt, or only durability."),
        ] = "results",
    ) -> Response:
        """Append history: scored and learnt, never told of; tells how warm each series is."""
        engine = context.engine()
        rows = await read_rows(request, context, stream)
        records = await checked(context, stream, rows, _judge)
        positions = await engine.backfill(stream, records)
        if wait == "ack":
            return _json({"positions": plain(positions)}, 202)
        wait_s = max(context.limits.result_timeout_s, LONGEST_WAIT_S)
        try:
            results = await engine.results_at(stream, positions, wait_s)
        except ResultTimeout as error:
            raise Problem("result-timeout", str(error), positions=plain(positions)) from error
        told = _told(results)
        if scores:
            told["results"] = [msgspec.Raw(result) for result in results]
        return _json(told, 200)

    return routes


def _judge(records: Sequence[NewRecord], bad: Sequence[Bad]) -> None:
    """Refuse history of which some cannot be read, or has no time."""
    if bad:
        raise invalid_rows(bad, len(records))
    for number, record in enumerate(records, 1):
        if record.timestamp_ms is None:
            raise Problem(
                "invalid-records",
                f"row {number}: history needs a timestamp",
                rows=[{"row": number, "field": "timestamp", "value": "", "reason": "missing"}],
            )


def _told(results: Sequence[bytes]) -> dict[str, Any]:
    """How warm the series are, and what their periods suggest."""
    series: dict[str, list[_Seen]] = {}
    for result in results:
        seen = _seen(result)
        series.setdefault(seen.key, []).append(seen)
    listed = list(series.items())[:MOST_LISTED]
    return {"records": len(results), "series": {key: _warmth(seen) for key, seen in listed}}


def _warmth(seen: Sequence[_Seen]) -> dict[str, Any]:
    known = [each.values for each in seen if each.values is not None]
    period = period_of(np.array(known, dtype=np.float64)) if known else None
    return {
        "records": len(seen),
        "warm": seen[-1].status != "warming",
        "period": None if period is None else period.rows,
        "suggested_shingle_size": None if period is None else period.shingle_size,
    }


def _json(body: object, status: int) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")
