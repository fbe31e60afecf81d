"""Request bodies as bytes: bounded while they arrive, of a known type."""

from starlette.requests import ClientDisconnect, Request

from service.api.problems import Problem, shorten

_DRAIN_FACTOR = 4


async def read_body(request: Request, limit_bytes: int) -> bytes:
    """The whole body.

    Args:
        request: The request; its body was not read before.
        limit_bytes: The largest body to accept; nothing beyond it is kept in memory.

    Raises:
        Problem: `body-too-large`, `unsupported-media-type` (an encoded body), `malformed-body`
            (the client went away).
    """
    _refuse_encoded(request)
    announced = int(_digits(request.headers.get("content-length")))
    if announced > limit_bytes and _hopeless(request, announced, limit_bytes):
        raise _too_large(limit_bytes)
    chunks, size = [], 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size <= limit_bytes:
                chunks.append(chunk)
            elif _hopeless(request, size, limit_bytes):
                break
    except ClientDisconnect as error:
        raise Problem("malformed-body", "the body ended early") from error
    if size > limit_bytes:
        raise _too_large(limit_bytes)
    return b"".join(chunks)


def media_type(request: Request, default: str) -> str:
    """The content type without its parameters, in lower case."""
    given = request.headers.get("content-type", default)
    return given.partition(";")[0].strip().lower() or default


def unsupported(given: str, allowed: tuple[str, ...]) -> Problem:
    """The problem of a content type that nobody here reads."""
    listed = ", ".join(allowed)
    return Problem(
        "unsupported-media-type",
        f"content type {shorten(given)} is not supported; allowed: {listed}",
        field="Content-Type",
        value=shorten(given),
        allowed=listed,
    )


def _refuse_encoded(request: Request) -> None:
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise Problem(
            "unsupported-media-type",
            f"content encoding {shorten(encoding)} is not supported; allowed: identity",
            field="Content-Encoding",
            value=shorten(encoding),
            allowed="identity",
        )


def _hopeless(request: Request, size: int, limit_bytes: int) -> bool:
    """Whether to hang up rather than read on.

    Somewhat longer bodies are read to their end and thrown away: a client that is still sending
    when the connection closes sees a reset, and never the answer. One that asked first
    (`Expect: 100-continue`, as curl does) has sent nothing yet.
    """
    return "expect" in request.headers or size > _DRAIN_FACTOR * limit_bytes


def _digits(text: str | None) -> str:
    return text if text is not None and text.isascii() and text.isdigit() else "0"


def _too_large(limit_bytes: int) -> Problem:
    return Problem(
        "body-too-large",
        f"the body is longer than {limit_bytes:,} bytes",
        field="body",
        allowed=f"at most {limit_bytes} bytes",
        # The rest of the body is not read, so the connection cannot serve another request.
        headers={"Connection": "close"},
    )
