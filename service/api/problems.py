"""Problems (RFC 9457): every way in which a request can fail, in one table."""

from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of the table: what `type`, `status` and `title` of a problem say.

    Attributes:
        slug: ends the problem's `type`, `urn:rcf:problem:<slug>`.
        status: HTTP status code.
        title: the same for every occurrence.
        advice: what the client can do, for the documentation.
    """

    slug: str
    status: int
    title: str
    advice: str


KINDS = {
    kind.slug: kind
    for kind in (
        Kind(
            "malformed-body", 400, "The body cannot be read", "Mend the body; `detail` says where."
        ),
        Kind(
            "token-needed",
            401,
            "The service wants to see its token",
            "Send `Authorization: Bearer …` with what RCF_TOKEN or RCF_TOKEN_FILE holds.",
        ),
        Kind(
            "foreign-page",
            403,
            "A web page from elsewhere sent this",
            "Send it from the service's own pages, or from a program.",
        ),
        Kind("not-found", 404, "No such address", "See /docs for the addresses there are."),
        Kind("stream-not-found", 404, "No such stream", "Create it with PUT /v1/streams/{stream}."),
        Kind(
            "series-not-found",
            404,
            "No such series",
            "Its first record makes it; the `key` must be that of its records.",
        ),
        Kind(
            "method-not-allowed",
            405,
            "The address does not know this method",
            "The header `Allow` lists the methods.",
        ),
        Kind(
            "needs-new-model",
            409,
            "The change starts the stream's model afresh",
            "Repeat with `?reset=true` to throw away what was learnt, or leave `fields` alone.",
        ),
        Kind(
            "stream-changed",
            409,
            "The stream was created otherwise at the same moment",
            "Read the stream, then decide.",
        ),
        Kind("body-too-large", 413, "The body is too large", "Send smaller batches."),
        Kind(
            "unsupported-media-type",
            415,
            "The content type is not supported",
            "Send one of `allowed`.",
        ),
        Kind(
            "served-elsewhere",
            421,
            "Another process runs the series' partition",
            "Ask the one whose GET /v1/streams/{stream}/partitions says `live` of it.",
        ),
        Kind(
            "unknown-host",
            421,
            "The service is not called so",
            "Ask it as `localhost`, or list the name in RCF_ALLOWED_HOSTS.",
        ),
        Kind(
            "invalid-parameter",
            422,
            "A parameter has a value that is not allowed",
            "`field`, `value` and `allowed` say what to change.",
        ),
        Kind(
            "invalid-records",
            422,
            "Some records are invalid; none was taken",
            "Mend the `rows`, or send with `?invalid=dead_letter`.",
        ),
        Kind(
            "backpressure",
            429,
            "Too much waits to be scored; nothing was taken",
            "Repeat after `Retry-After` seconds.",
        ),
        Kind("internal-error", 500, "The service failed", "See its log; this is a defect."),
        Kind(
            "not-ready",
            503,
            "The service does not serve at the moment",
            "Repeat after `Retry-After` seconds; /readyz tells when.",
        ),
        Kind(
            "partition-halted",
            503,
            "A partition stands still because of its dead letters; nothing was taken",
            "Mend what sends them, then POST /v1/streams/{stream}/resume, or `rcf resume`.",
        ),
        Kind(
            "too-many-subscribers",
            503,
            "Too many event streams are open",
            "Close some, or raise RCF_MAX_SUBSCRIBERS.",
        ),
        Kind(
            "result-timeout",
            504,
            "The records were taken, but their results are not there yet",
            "Do not send again: look up `positions` in the stream's results later.",
        ),
    )
}


class Problem(Exception):  # noqa: N818  (RFC 9457 calls it a problem)
    """Ends a request with a problem.

    Attributes:
        kind: a row of `KINDS`.
        detail: a sentence about this occurrence.
        members: further members of the JSON object.
        headers: further headers of the response.
    """

    def __init__(
        self, slug: str, detail: str, *, headers: dict[str, str] | None = None, **members: Any
    ) -> None:
        super().__init__(detail)
        self.kind = KINDS[slug]
        self.detail = detail
        self.members = members
        self.headers = headers or {}

    def response(self) -> Response:
        """The problem as an HTTP response."""
        body = {
            "type": f"urn:rcf:problem:{self.kind.slug}",
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": self.detail,
            **self.members,
        }
        return Response(
            msgspec.json.encode(body),
            status_code=self.kind.status,
            headers=self.headers,
            media_type=MEDIA_TYPE,
        )


def shorten(value: object) -> str:
    """The value as text that fits into a message."""
    listed = list(value) if isinstance(value, tuple) else value
    text = listed if isinstance(listed, str) else repr(listed)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text):,} characters)"
