"""What the commands ask a running service over HTTP; its problems in plain words."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

import msgspec

from service.cli.errors import USAGE, CommandError
from service.cli.looking import choose
from service.settings import SettingsError

TIMEOUT_S = 20.0
SILENCE_S = 330.0
"""An event stream is pinged more often than this, whatever RCF_HEARTBEAT_INTERVAL_S says."""

RETRY_S = 1.0
Say = Callable[[str], None]


class NewestPage(msgspec.Struct):
    """The newest results that a service holds, as they were published."""

    results: list[msgspec.Raw]
    next: str
    complete: bool


def ask(url: str, path: str, *, method: str = "GET") -> Any:
    """The JSON that a running service answers.

    Raises:
        CommandError: It does not answer, or refuses.
    """
    with _open(url, path, method=method, timeout_s=TIMEOUT_S) as answer:
        return json.load(answer)


def path_of(stream: str, what: str = "") -> str:
    """The address of a stream's resource."""
    return f"/v1/streams/{quote(stream, safe='')}{what}"


def newest(url: str, stream: str, count: int, *, anomalies: bool, key: str | None) -> NewestPage:
    """A stream's newest results, of one series or all.

    Raises:
        CommandError: The service does not answer, or knows no such stream.
    """
    wanted = {"last": str(count), "anomalies": str(anomalies).lower()}
    query = urlencode(wanted if key is None else {**wanted, "key": key})
    with _open(url, path_of(stream, f"/results?{query}"), timeout_s=TIMEOUT_S) as answer:
        return msgspec.json.decode(answer.read(), type=NewestPage)


def beginning(url: str, stream: str) -> str:
    """The cursor before everything that is kept.

    Raises:
        CommandError: The service does not answer, or knows no such stream.
    """
    return ",".join(["0"] * ask(url, path_of(stream))["partitions"])


def follow(url: str, stream: str, *, anomalies: bool, after: str, warn: Say) -> Iterator[bytes]:
    """A stream's results as they appear, for ever; connects again when the service went away.

    Args:
        url: where the service is.
        stream: its name.
        anomalies: those that are anomalies, and incidents, instead of all.
        after: cursor from which on they are wanted; "" for from here.
        warn: told when the service goes away.

    Raises:
        CommandError: The service does not answer the first time, or knows no such stream.
    """
    ask(url, path_of(stream))
    while True:
        query = urlencode({"anomalies": str(anomalies).lower(), "after": after})
        try:
            with _open(url, path_of(stream, f"/events?{query}"), timeout_s=SILENCE_S) as answer:
                for cursor, data in _events(answer):
                    after = cursor or after  # kept for the next try
                    yield data
        except (OSError, HTTPException) as error:
            warn(f"{url}: {error}")
        warn("the service went away; trying again until Ctrl-C")
        _wait_for(url, stream)


def _events(answer: HTTPResponse) -> Iterator[tuple[str, bytes]]:
    """Each event's id, "" for none, and data, on one line each."""
    identity, data = "", b""
    for line in answer:
        name, _, value = line.rstrip(b"\r\n").partition(b": ")
        if name == b"id":
            identity = value.decode()
        elif name == b"data":
            data = value
        elif not line.strip() and data:
            yield identity, data
            identity, data = "", b""


def _wait_for(url: str, stream: str) -> None:
    while True:
        time.sleep(RETRY_S)
        try:
            ask(url, path_of(stream))
        except CommandError as error:
            if error.code == USAGE:
                raise
        else:
            return


def _open(url: str, path: str, *, method: str = "GET", timeout_s: float) -> HTTPResponse:
    if not url.startswith(("http://", "https://")):
        raise CommandError(f"--url = {url!r}: must begin with http:// or https://", USAGE)
    request = Request(url.rstrip("/") + path, method=method, headers=_token())  # noqa: S310  (above)
    try:
        answer: HTTPResponse = urlopen(request, timeout=timeout_s)  # noqa: S310  (checked above)
    except HTTPError as error:
        with error:
            raise CommandError(_problem(error), USAGE if error.code in (401, 404) else 1) from error
    except (URLError, OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise CommandError(
            f"no service answers at {url}: {reason}; start `rcf dev` or `rcf serve`, name another "
            "with --url, or Kafka's brokers with --kafka-bootstrap"
        ) from error
    return answer


def _token() -> dict[str, str]:
    """The header that shows the token, where one is set."""
    try:
        token = choose().shown_token()
    except SettingsError as error:
        raise CommandError(str(error), USAGE) from error
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def _problem(error: HTTPError) -> str:
    try:
        said: dict[str, Any] = json.load(error)
        return f"{said['title']}: {said['detail']}"
    except (ValueError, KeyError, OSError):
        return f"{error.url}: {error.code} {error.reason}"
