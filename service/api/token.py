"""What requests must show where a token is set: `Authorization: Bearer …`.

Left open is what holds no data: whether the process lives and serves, and files that are the same
at every service, among them the page that asks its reader for the token.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from service.api.problems import Problem

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_OPEN = ("/", "/healthz", "/readyz", "/docs", "/openapi.json")
_OPEN_FOLDERS = ("/page/", "/docs/")


class TokenNeeded:
    """ASGI middleware: refuses requests that do not show the token."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "http" and not (_is_open(scope["path"]) or self._shown(scope)):
            await _refusal().response()(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _shown(self, scope: Scope) -> bool:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(), self._token)


def _is_open(path: str) -> bool:
    return path in _OPEN or path.startswith(_OPEN_FOLDERS)


def _refusal() -> Problem:
    return Problem(
        "token-needed",
        "the header Authorization does not show this service's token",
        headers={"WWW-Authenticate": "Bearer"},
        field="Authorization",
        allowed="Bearer, a blank and the token",
    )
