"""Health, readiness, backpressure, time-outs, unknown addresses and methods."""

import asyncio
import re

import httpx
import pytest

from service.api.app import create_app
from service.api.context import Context, Limits
from service.engine.errors import Backpressure, InvariantError, NotReady, ResultTimeout
from service.engine.records import Position
from tests.api.conftest import Running, memory_engine, running
from tests.api.test_records import make, post, problem
from tests.engine.fakes import NoMetrics


class Troubled:
    """A working engine with one method that fails."""

    def __init__(self, method, error):
        self._engine = memory_engine(NoMetrics())
        self._method, self._error = method, error

    def __getattr__(self, name):
        if name == self._method:
            return self._fail
        return getattr(self._engine, name)

    async def _fail(self, *_args, **_kwargs):
        raise self._error


def troubled(method, error):
    return running(Context(auto_create=True), Troubled(method, error))


def test_health_and_readiness(client):
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready", "halted": []}


def test_before_the_engine_is_there_everything_but_health_is_503():
    context = Context(starting="compiling kernels")
    transport = httpx.ASGITransport(create_app(context))

    async def ask():
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            assert (await client.get("/healthz")).status_code == 200
            for path in ("/readyz", "/v1/streams", "/v1/streams/s/results", "/v1/streams/s/events"):
                answer = await client.get(path)
                body = problem(answer, 503, "not-ready")
                assert "compiling kernels" in body["detail"]
                assert answer.headers["retry-after"] == "1"

    asyncio.run(ask())


def test_readiness_fails_as_soon_as_the_process_is_told_to_stop():
    context = Context()
    context.open(memory_engine(NoMetrics()))
    assert "not started" in (context.not_ready_reason() or "")
    context.closing.set()
    assert context.not_ready_reason() == "the service is stopping"


def test_backpressure_says_when_to_come_back():
    with troubled("append", Backpressure(3, "200,000 records wait")) as server:
        answer = post(server.client, "s", {"values": [1]})
        body = problem(answer, 429, "backpressure")
        assert answer.headers["retry-after"] == "3"
        assert "200,000" in body["detail"]


def test_a_timeout_keeps_the_receipt():
    with troubled("results_at", ResultTimeout("s", 0, 1, 10)) as server:
        body = problem(post(server.client, "s", {"values": [1]}), 504, "result-timeout")
        [position] = body["positions"]
        assert set(position) == set(Position._fields)


@pytest.mark.parametrize("error", [NotReady("s/0 is restoring"), InvariantError("s", 0, 7, "torn")])
def test_engine_errors_never_leave_as_bare_pages(error):
    with troubled("append", error) as server:
        answer = post(server.client, "s", {"values": [1]})
        slug = "not-ready" if isinstance(error, NotReady) else "internal-error"
        problem(answer, 503 if slug == "not-ready" else 500, slug)


def test_unexpected_errors_say_nothing_about_the_inside():
    with troubled("append", ZeroDivisionError("secret")) as server:
        answer = post(server.client, "s", {"values": [1]})
        problem(answer, 500, "internal-error")
        assert "secret" not in answer.text


def test_serve_refuses_unknown_streams():
    with running(Context(auto_create=False)) as server:
        body = problem(post(server.client, "s", {"values": [1]}), 404, "stream-not-found")
        assert body["value"] == "s"
        make(server.client, "s", features=1)
        assert post(server.client, "s", {"values": [1]}).status_code == 200


def test_unknown_addresses_and_methods(client):
    problem(client.get("/v2/streams"), 404, "not-found")
    for method in ("PATCH", "TRACE", "POST"):
        answer = client.request(method, "/v1/streams/s")
        body = problem(answer, 405, "method-not-allowed")
        assert "GET" in answer.headers["allow"] and "GET" in body["detail"]


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/page/live.js", "/docs", "/openapi.json", "/schemas"),
        *("/healthz", "/readyz", "/metrics", "/nowhere", "/v1/streams", "/v1/streams/nowhere"),
        *("/v1/streams/{}", "/v1/streams/{}/results", "/v1/streams/{}/partitions"),
    ],
)
def test_head_answers_as_get_without_a_body(client, stream, path):
    make(client, stream, features=1)
    there = path.format(stream)
    got, head = client.get(there), client.head(there)
    assert head.status_code == got.status_code and head.content == b""
    assert head.headers["content-type"] == got.headers["content-type"]
    if path != "/metrics":  # what was counted meanwhile is longer
        assert head.headers["content-length"] == got.headers["content-length"]


def test_head_is_not_known_where_get_is_not_or_has_no_end(client, stream):
    make(client, stream, features=1)
    for what, allowed in (("records", "POST"), ("events", "GET"), ("resume", "POST")):
        answer = client.head(f"/v1/streams/{stream}/{what}")
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    allowed = client.patch(f"/v1/streams/{stream}").headers["allow"]
    assert set(allowed.split(", ")) == {"PUT", "GET", "DELETE", "HEAD"}


def test_the_page_and_its_files_are_self_contained(client):
    page = client.get("/")
    assert page.status_code == 200 and page.headers["content-type"].startswith("text/html")
    named = re.findall(r'(?:src|href)="(/page/[^"]+)"', page.text)
    assert "/page/live.js" in named and "/page/style.css" in named
    for path in (*named, "/page/asking.js", "/page/chart.js"):
        assert client.get(path).status_code == 200, path
    for text in (page.text, client.get("/page/live.js").text, client.get("/page/style.css").text):
        assert "//cdn" not in text and "https://" not in text
    problem(client.get("/page/../settings.py"), 404, "not-found")
    problem(client.get("/page/__init__.py"), 404, "not-found")


def test_a_quiet_stop_is_quick():
    server = Running(Context(limits=Limits()))
    server.start()
    assert server.client.get("/healthz").status_code == 200
    assert server.stop() < 2
