"""POST …/records: records in, their results out.

The law: a body is taken whole or not at all. Rows are checked by the engine's own decoder before
anything is appended, or a stream is made for them; with `?invalid=dead_letter` bad rows are
appended as they came, and the engine gives each its `error` result and its dead letter.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from service.api.bodies import media_type, read_body, unsupported
from service.api.context import Context
from service.api.formats import JSON, MEDIA_TYPES, UNREADABLE, Row, split
from service.api.parameters import StreamName
from service.api.problems import Problem, shorten
from service.api.schemas import APPEND
from service.engine.config import StreamConfig
from service.engine.engine import Engine
from service.engine.errors import InvalidRecord, ResultTimeout, StreamExists, UnknownStream
from service.engine.ports import Decoder
from service.engine.records import NewRecord, Position

MAX_ROWS_SHOWN = 20
_THREAD_FROM_BYTES = 200_000  # decoding less than this holds up the event loop under a millisecond
_CURL_DEFAULT = "application/x-www-form-urlencoded"

Bad = dict[str, object]
Judge = Callable[[Sequence[NewRecord], Sequence[Bad]], None]


def router(context: Context) -> APIRouter:
    """The resource over the engine of `context`."""
    routes = APIRouter(tags=["records"])

    @routes.post("/v1/streams/{stream}/records", **APPEND)
    async def append_records(
        request: Request,
        stream: StreamName,
        wait: Annotated[
            Literal["results", "ack"],
            Query(description="What to wait for: the scores, or only durability."),
        ] = "results",
        invalid: Annotated[
            Literal["reject", "dead_letter"],
            Query(description="What invalid records do: refuse the body, or become dead letters."),
        ] = "reject",
    ) -> Response:
        """Append one record or many, and answer with their results.

        Scored, then learnt, in the order given per key. The records are durable when this answers.
        """
        engine = context.engine()
        rows = await read_rows(request, context, stream)

        def judge(_records: Sequence[NewRecord], bad: Sequence[Bad]) -> None:
            if bad and invalid == "reject":
                raise invalid_rows(bad, len(rows))

        records = await checked(context, stream, rows, judge)
        positions = await engine.append(stream, records)
        if wait == "ack":
            return _json({"positions": plain(positions)}, 202)
        return await _results(context, engine, stream, positions)

    return routes


async def read_rows(request: Request, context: Context, stream: str) -> list[Row]:
    """The records of a body for a stream, as their bytes; the stream need not be there.

    Raises:
        Problem: it is too long, or of a content type that nobody reads.
    """
    kind = media_type(request, JSON)
    if kind == _CURL_DEFAULT:  # what `curl -d` says when it was told nothing
        kind = JSON
    if kind not in MEDIA_TYPES:
        raise unsupported(kind, MEDIA_TYPES)
    body = await read_body(request, context.limits.body_bytes)
    features = _known_features(context.engine(), stream)
    if len(body) < _THREAD_FROM_BYTES:
        rows = split(kind, body, features)
    else:
        rows = await asyncio.to_thread(split, kind, body, features)
    if len(rows) > context.limits.body_records:
        raise Problem(
            "body-too-large",
            f"the body holds {len(rows):,} records",
            field="body",
            allowed=f"at most {context.limits.body_records} records",
        )
    return rows


def _known_features(engine: Engine, stream: str) -> tuple[str, ...]:
    try:
        return engine.stream(stream).features
    except UnknownStream:
        return ()


async def checked(
    context: Context, stream: str, rows: Sequence[Row], judge: Judge
) -> list[NewRecord]:
    """The records of rows, for a stream that is made after the first of them where that is wished.

    It is made last: a body that is refused leaves none behind.

    Args:
        context: Says whether an unknown stream is made.
        stream: Its name.
        rows: At least one.
        judge: Raises where the records, or what is wrong with some, refuse the body.

    Raises:
        UnknownStream: there is none, and it is not made.
        Problem: the first record cannot say what the stream would be like.
    """
    engine = context.engine()
    if not _known_features(engine, stream) and context.auto_create:
        features = _features_of(rows[0].value)
        config = StreamConfig(
            name=stream,
            features=features,
            partitions=context.partitions,
            max_series=context.max_series,
        )
        records, bad = await _read_all(context.reader_for(config), rows)
        judge(records, bad)
        if bad and bad[0]["row"] == 1:
            raise invalid_rows(bad, len(rows))
        try:
            await engine.create_stream(config)
        except StreamExists:
            pass  # another request was faster; its features hold
        else:
            return records
    engine.stream(stream)
    records, bad = await _read_all(partial(engine.decode, stream), rows)
    judge(records, bad)
    return records


def _features_of(value: bytes) -> tuple[str, ...]:
    """Features for a stream whose first record this is: its names, or v0, v1, ….

    Raises:
        Problem: `invalid-records`, when the record shows no values.
    """
    try:
        record = msgspec.json.decode(value)
    except UNREADABLE as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else f"not JSON: {error}"
        raise Problem(
            "invalid-records",
            f"the first record is {reason}",
            rows=[{"row": 1, "field": "", "value": _shown(value), "reason": reason}],
        ) from error
    values = record.get("values") if isinstance(record, dict) else record
    if isinstance(values, dict) and values:
        return tuple(values)
    if isinstance(values, list) and values:
        return tuple(f"v{index}" for index in range(len(values)))
    if isinstance(values, int | float) and not isinstance(values, bool):
        return ("v0",)
    reason = 'needs "values": a list of numbers, or numbers by feature name'
    raise Problem(
        "invalid-records",
        f"the first record {reason}",
        rows=[{"row": 1, "field": "values", "value": shorten(values), "reason": reason}],
    )


async def _read_all(read: Decoder, rows: Sequence[Row]) -> tuple[list[NewRecord], list[Bad]]:
    """The records of rows, and what is wrong with some; long bodies are read beside the loop."""
    if sum(len(row.value) for row in rows[:2_000]) < _THREAD_FROM_BYTES and len(rows) <= 2_000:
        return _read_each(read, rows)
    return await asyncio.to_thread(_read_each, read, rows)


def _read_each(read: Decoder, rows: Sequence[Row]) -> tuple[list[NewRecord], list[Bad]]:
    records: list[NewRecord] = []
    bad: list[Bad] = []
    for row in rows:
        try:
            decoded = read(row.value)
        except InvalidRecord as error:
            records.append(NewRecord(row.value))
            bad.append(bad_row(row, error))
            continue
        records.append(NewRecord(row.value, decoded.key, decoded.timestamp_ms))
    return records, bad


def bad_row(row: Row, error: InvalidRecord) -> Bad:
    """What is said of a row that cannot be read."""
    bad: Bad = {"row": row.number}
    if row.line is not None:
        bad["line"] = row.line
    shown = _shown(row.value) if error.value is None else shorten(error.value)
    return bad | {"field": error.field, "value": shown, "reason": error.reason}


def _shown(value: bytes) -> str:
    return shorten(value.decode("utf-8", "replace"))


def invalid_rows(bad: Sequence[Bad], total: int) -> Problem:
    """The problem that tells of rows that are wrong."""
    first = bad[0]
    place = f"row {first['row']}" + (f" (line {first['line']})" if "line" in first else "")
    field = f", {first['field']}" if first["field"] else ""
    return Problem(
        "invalid-records",
        f"{len(bad):,} of {total:,} records invalid; {place}{field}: {first['reason']}",
        invalid=len(bad),
        records=total,
        rows=list(bad[:MAX_ROWS_SHOWN]),
    )


async def _results(
    context: Context, engine: Engine, stream: str, positions: Sequence[Position]
) -> Response:
    try:
        results = await engine.results_at(stream, positions, context.limits.result_timeout_s)
    except ResultTimeout as error:
        raise Problem("result-timeout", str(error), positions=plain(positions)) from error
    return Response(b'{"results":[' + b",".join(results) + b"]}", media_type=JSON)


def plain(positions: Sequence[Position]) -> list[dict[str, int]]:
    """Positions as JSON holds them."""
    return [{"partition": position.partition, "offset": position.offset} for position in positions]


def _json(body: object, status: int) -> Response:
    return Response(msgspec.json.encode(body), status, media_type=JSON)
