"""Web pages from elsewhere: what a browser sends on their behalf is refused.

Without a token nobody need show anything, and a browser carries posts of any page to this machine
without asking. Two laws. Only reading may come from a page of another origin: then browsers keep
the answer from it. On loopback the service answers to names of this machine alone: else a page
whose own name is made to lead here (DNS rebinding) would be of our origin, and might read too.

Programs say nothing of origins, and are not concerned.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_address
from typing import TYPE_CHECKING

from service.api.problems import Problem, shorten

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from service.api.context import Context

_READING = ("GET", "HEAD")
_OWN_SITE = (b"same-origin", b"none")
_DEFAULT_PORTS = {b"http": b":80", b"https": b":443"}
_PORT = re.compile(rb":[0-9]*$")


def names_on(address: str, others: Iterable[str] = ()) -> frozenset[str] | None:
    """Names by which a service that listens on an address is asked; None where any will do.

    Off loopback proxies, containers and name servers call it as they like.
    """
    if address != "localhost" and not _is_loopback(address):
        return None
    shown = f"[{address}]" if ":" in address else address
    return frozenset(name.lower() for name in ("localhost", "127.0.0.1", "[::1]", shown, *others))


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


class ForeignPages:
    """ASGI middleware: refuses what web pages from elsewhere send; see the module's laws."""

    def __init__(self, app: ASGIApp, context: Context) -> None:
        self._app = app
        self._names = context.names
        self._known = None if self._names is None else {name.encode() for name in self._names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "http" and (self._known is not None or scope["method"] not in _READING):
            refusal = self._refusal(scope)
            if refusal is not None:
                await refusal.response()(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> Problem | None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        host = headers.get(b"host", b"").lower()
        if self._known is not None and host and _PORT.sub(b"", host) not in self._known:
            return self._unknown_host(host)
        if scope["method"] in _READING:
            return None
        site = headers.get(b"sec-fetch-site")
        if site is not None:  # what the browser itself says holds, whatever a proxy makes of Host
            return None if site in _OWN_SITE else _foreign("Sec-Fetch-Site", site)
        origin = headers.get(b"origin")
        if origin is None or _is_at(origin.lower(), host):
            return None
        return _foreign("Origin", origin)

    def _unknown_host(self, host: bytes) -> Problem:
        shown = shorten(host.decode("latin-1"))
        allowed = ", ".join(sorted(self._names or ()))
        said = f"on loopback the service is not asked as {shown}; allowed: {allowed}"
        return Problem("unknown-host", said, field="Host", value=shown, allowed=allowed)


def _is_at(origin: bytes, host: bytes) -> bool:
    scheme, _, place = origin.partition(b"://")
    default = _DEFAULT_PORTS.get(scheme, b"")
    return place.removesuffix(default) == host.removesuffix(default)


def _foreign(header: str, value: bytes) -> Problem:
    shown = shorten(value.decode("latin-1"))
    said = f"{header} is {shown}: a web page from elsewhere may read, and send nothing"
    return Problem("foreign-page", said, field=header, value=shown)
