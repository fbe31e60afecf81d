"""POST …/preview: what other settings would make of a stream's past, or of records sent along."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from fastapi import APIRouter, Request
from starlette.responses import Response

from service.api.context import Context
from service.api.errors import invalid_parameter
from service.api.formats import Row
from service.api.parameters import StreamName
from service.api.problems import Problem
from service.api.records import bad_row, invalid_rows
from service.api.schemas import PREVIEW
from service.api.streams import JSON, changed_by, json_body
from service.engine.errors import InvalidRecord
from service.engine.ports import Decoder
from service.engine.rehearsal import PastRecord, Rehearsed
from service.engine.times import parse_time
from service.evaluation.backtest import Judged, flat, labels_of_windows, measures

MOST_RECORDS = 20_000
_VUS_STEP = 5
"""Every fifth border width: the figure is close, and the answer comes within a second."""


class PreviewBody(msgspec.Struct, forbid_unknown_fields=True):
    """What a client wants to know.

    Attributes:
        settings, against: fields of a stream; those left out are as they are. Without `against`
            there is nothing beside.
        records: to judge, read as `settings` read them; without them the newest of the stream
            that have results.
        labels: [start, end] times of what should be found.
        limit: so many of the newest records, or of those sent along at most.
        late: rows behind a label in which an alert still tells of it.
    """

    settings: msgspec.Raw = msgspec.Raw(b"{}")
    against: msgspec.Raw = msgspec.Raw(b"")
    records: list[msgspec.Raw] | None = None
    labels: list[tuple[str | float, str | float]] | None = None
    limit: int = 5000
    late: int = 0


_decode = msgspec.json.Decoder(PreviewBody).decode


def router(context: Context) -> APIRouter:
    """The resource over the engine of `context`."""
    routes = APIRouter(tags=["streams"])

    @routes.post("/v1/streams/{stream}/preview", **PREVIEW)
    async def preview(request: Request, stream: StreamName) -> Response:
        """Judge a stream's newest records, or others, under one setting or two; change nothing."""
        asked = _read(await json_body(request, context))
        engine = context.engine()
        present = engine.stream(stream)
        configs = {"settings": changed_by(present, bytes(asked.settings))}
        beside = bytes(asked.against)
        if beside:
            configs["against"] = changed_by(present, beside)
        for config in configs.values():
            if len(config.features) != len(present.features):
                allowed = f"{len(present.features)}, as the records have"
                raise invalid_parameter("features", len(config.features), allowed)
        if asked.records is None:
            records = await engine.past(stream, asked.limit)
        else:
            records = _sent(context.reader_for(configs["settings"]), asked.records, asked.limit)
        answer: dict[str, Any] = {"records": len(records)}
        for name, config in configs.items():
            answer[name] = _told(await engine.rehearse(config, records), asked)
        return Response(msgspec.json.encode(answer), media_type=JSON)

    return routes


def _read(body: bytes) -> PreviewBody:
    try:
        asked = _decode(body or b"{}")
    except msgspec.ValidationError as error:
        raise Problem("invalid-parameter", str(error), field="body", allowed="see /docs") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem("malformed-body", f"not JSON: {error}") from error
    if not 1 <= asked.limit <= MOST_RECORDS:
        raise invalid_parameter("limit", asked.limit, f"1 to {MOST_RECORDS}")
    if asked.late < 0:
        raise invalid_parameter("late", asked.late, "at least 0")
    return asked


def _sent(read: Decoder, sent: Sequence[msgspec.Raw], limit: int) -> list[PastRecord]:
    """The records of a body, all of them, as the settings that are tried read them.

    Raises:
        Problem: there are more than may be judged, or some cannot be read.
    """
    if len(sent) > MOST_RECORDS:
        raise invalid_parameter("records", f"{len(sent):,} records", f"at most {MOST_RECORDS:,}")
    if len(sent) > limit:
        allowed = f"at least {len(sent)}, as many as the records sent along; up to {MOST_RECORDS}"
        raise invalid_parameter("limit", limit, allowed)
    found, bad = [], []
    for number, raw in enumerate(sent, 1):
        row = Row(number, None, bytes(raw))
        try:
            record = read(row.value)
        except InvalidRecord as error:
            bad.append(bad_row(row, error))
            continue
        moment = record.timestamp_ms if record.timestamp_ms is not None else (number - 1) * 1000
        found.append(PastRecord(record.key or "", moment, record.values))
    if bad:
        raise invalid_rows(bad, len(sent))
    return found


def _told(rehearsed: Rehearsed, asked: PreviewBody) -> dict[str, Any]:
    series = list(rehearsed.series.values())
    labels = None
    if asked.labels is not None:
        windows = [(_moment(start), _moment(end)) for start, end in asked.labels]
        labels = [labels_of_windows(each.times_ms, windows) for each in series]
    return {
        "measures": flat(measures(series, labels, late=asked.late, vus_step=_VUS_STEP)),
        "incidents": rehearsed.incidents,
        "series": {key: _columns(judged) for key, judged in rehearsed.series.items()},
    }


def _moment(value: str | float) -> int:
    try:
        return parse_time(value)
    except InvalidRecord as error:
        raise invalid_parameter("labels", value, error.reason) from error


def _columns(judged: Judged) -> dict[str, list[Any]]:
    """One series by columns, as charts take it."""
    return {
        "timestamp_ms": judged.times_ms.tolist(),
        "score": _numbers(judged.score),
        "threshold": _numbers(judged.threshold),
        "grade": _numbers(judged.grade),
        "anomaly": judged.anomaly.tolist(),
        "alert": judged.alert.tolist(),
    }


def _numbers(values: np.ndarray[Any, np.dtype[np.float64]]) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values.tolist()]
