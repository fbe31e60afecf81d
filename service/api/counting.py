"""Counts requests by route, method and status, when their answer begins.

The route is a template, and methods nobody knows are one: labels have few values, whatever is
asked. HEAD counts as the GET that answers it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from service.api.context import Context

OTHER = "other"
"""The route of what found none, or was refused before; a method that is not listed here."""

_METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH")


class Counting:
    """ASGI middleware: tells the context's `count_request` of each answer."""

    def __init__(self, app: ASGIApp, context: Context) -> None:
        self._app = app
        self._context = context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = False

        async def counted(message: Message) -> None:
            nonlocal began
            if message["type"] == "http.response.start":
                began = True
                self._count(scope, message["status"])
            await send(message)

        try:
            await self._app(scope, receive, counted)
        except Exception:
            if not began:
                self._count(scope, 500)  # what the framework answers to what nobody caught
            raise

    def _count(self, scope: Scope, status: int) -> None:
        route, method = scope.get("route"), scope["method"]
        path = route.path if isinstance(route, Route) else OTHER
        self._context.count_request(path, method if method in _METHODS else OTHER, status)
