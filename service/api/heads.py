"""HEAD: what GET would answer, without its body, which the server leaves out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_ENDLESS = re.compile(r"/v1/streams/[^/]+/events")


def has_head(path: str) -> bool:
    """Whether HEAD is known where GET is: an event stream has no end to leave out."""
    return _ENDLESS.fullmatch(path) is None


class Heads:
    """ASGI middleware: asks for what HEAD is about as GET would."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "http" and scope["method"] == "HEAD" and has_head(scope["path"]):
            scope = {**scope, "method": "GET"}  # the server's own still says HEAD
        await self._app(scope, receive, send)
