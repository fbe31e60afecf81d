"""Engine errors and framework errors become problems; nothing leaves the service as a bare page."""

import logging
import re
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from service.api.heads import has_head
from service.api.problems import Problem, shorten
from service.engine.errors import (
    Backpressure,
    Elsewhere,
    EngineError,
    Halted,
    InvalidParameter,
    InvalidRecord,
    NeedsNewModel,
    StreamExists,
    TransientError,
    UnknownSeries,
    UnknownStream,
)

log = logging.getLogger(__name__)

RETRY_S = 1
"""Seconds that a client is asked to wait when nothing better is known."""

HALTED_RETRY_S = 30
"""The same where a person must act first."""


def install(app: FastAPI) -> None:
    """Let every failure of `app` answer as a problem."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(EngineError, _engine_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(Exception, _unexpected)


def as_problem(error: EngineError) -> Problem:  # noqa: PLR0911  (one line per error is the table)
    """The problem that tells a client of an engine error."""
    match error:
        case Backpressure():
            return Problem(
                "backpressure", str(error), headers={"Retry-After": str(error.retry_after_s)}
            )
        case Halted():
            return Problem(
                "partition-halted",
                str(error),
                headers={"Retry-After": str(HALTED_RETRY_S)},
                partition=error.partition,
                offset=error.offset,
            )
        case UnknownStream():
            return Problem("stream-not-found", str(error), field="stream", value=error.stream)
        case UnknownSeries():
            return Problem("series-not-found", str(error), field="key", value=error.key)
        case Elsewhere():
            return Problem("served-elsewhere", str(error), partition=error.partition)
        case NeedsNewModel():
            return Problem("needs-new-model", str(error), fields=list(error.changed))
        case StreamExists():
            return Problem("stream-changed", str(error), fields=list(error.changed))
        case InvalidParameter():
            return invalid_parameter(error.field, error.value, error.allowed)
        case InvalidRecord():
            row = {"field": error.field, "value": error.value, "reason": error.reason}
            return Problem("invalid-records", str(error), rows=[row])
        case TransientError():
            return not_ready(str(error))
    log.error("engine error: %s", error, exc_info=error)
    return Problem("internal-error", "the service's log says more")


def not_ready(reason: str) -> Problem:
    """The problem of a service that starts, stops or lost a partition."""
    return Problem("not-ready", reason, headers={"Retry-After": str(RETRY_S)})


def invalid_parameter(field: str, value: object, allowed: str) -> Problem:
    """The problem of one parameter or configuration field."""
    shown = shorten(value)
    return Problem(
        "invalid-parameter",
        f"{field} is {shown}; allowed: {allowed}",
        field=field,
        value=shown,
        allowed=allowed,
    )


async def _problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101  the registration says so
    return error.response()


async def _engine_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, EngineError)  # noqa: S101  the registration says so
    return as_problem(error).response()


async def _validation_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  the registration says so
    first: dict[str, Any] = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
    return invalid_parameter(field, first.get("input"), _allowed(first)).response()


def _allowed(detail: dict[str, Any]) -> str:
    context = detail.get("ctx", {})
    if detail["type"] == "string_pattern_mismatch":
        return f"text that matches {context['pattern']}"
    return str(detail["msg"]).removeprefix("Input should be ")


async def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  the registration says so
    headers = dict(error.headers or {})
    if error.status_code == 405:
        allowed = _methods(request, headers.get("Allow", ""))
        detail = f"{request.method} is not allowed here; allowed: {allowed}"
        return Problem("method-not-allowed", detail, headers={"Allow": allowed}).response()
    if error.status_code == 404:
        return Problem("not-found", f"nothing at {shorten(request.url.path)}").response()
    return Problem("malformed-body", str(error.detail), headers=headers).response()


def _methods(request: Request, otherwise: str) -> str:
    """Methods of every operation at this address: the framework names those of one route alone."""
    methods = otherwise.split(", ")
    for path, operations in request.app.openapi()["paths"].items():
        if re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", path), request.url.path):
            methods = [method.upper() for method in operations]
    if "GET" in methods and has_head(request.url.path):
        methods.append("HEAD")
    return ", ".join(methods)


async def _unexpected(request: Request, error: Exception) -> Response:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return Problem("internal-error", "the service's log says more").response()
