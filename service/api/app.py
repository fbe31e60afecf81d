"""The web application: every resource over one context, and a truthful OpenAPI document."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from importlib.metadata import version
from typing import Any

from fastapi import Depends, FastAPI

from service.api import (
    backfill,
    docs,
    errors,
    events,
    feedback,
    incidents,
    messages,
    operations,
    page,
    partitions,
    preview,
    records,
    results,
    series,
    streams,
)
from service.api.context import Context
from service.api.counting import Counting
from service.api.foreign import ForeignPages
from service.api.heads import Heads
from service.api.parameters import only_known
from service.api.schemas import COMPONENTS, SECURITY, SECURITY_SCHEMES
from service.api.token import TokenNeeded

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]

_DESCRIPTION = """
Records go in, each is scored against all that its series has shown before, then learnt. A `score`
above its `threshold` has a `grade` above 0: an anomaly. Errors are RFC 9457 problems.
"""


def create_app(context: Context, lifespan: Lifespan | None = None) -> FastAPI:
    """Make the application.

    Args:
        context: What the resources work on; may still wait for its engine.
        lifespan: What to run around serving.
    """
    app = FastAPI(
        title="rcf-stream",
        version=version("rcf-stream"),
        summary="Streaming anomaly detection with Random Cut Forests.",
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # `docs` serves it without a network
        redoc_url=None,
    )
    errors.install(app)
    if context.token is not None:
        app.add_middleware(TokenNeeded, token=context.token)
    app.add_middleware(ForeignPages, context=context)
    app.add_middleware(Counting, context=context)
    app.add_middleware(Heads)
    look = [Depends(only_known), Depends(context.look_for_stream)]
    for resource in (
        streams,
        records,
        backfill,
        results,
        events,
        series,
        feedback,
        incidents,
        partitions,
        preview,
    ):
        app.include_router(resource.router(context), dependencies=look)
    for resource in (messages, operations, page, docs):
        app.include_router(resource.router(context))
    _complete_openapi(app)
    return app


def _complete_openapi(app: FastAPI) -> None:
    """Add the schemas that the operations refer to, which no pydantic model declares; the token."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        components = document.setdefault("components", {})
        components.setdefault("schemas", {}).update(COMPONENTS)
        components["securitySchemes"] = SECURITY_SCHEMES
        document["security"] = SECURITY
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # the extension point FastAPI documents
