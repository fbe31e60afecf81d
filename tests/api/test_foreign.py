"""Web pages from elsewhere: what browsers say of them, and the names by which we are asked."""

from collections.abc import Iterator

import pytest

from service.api.context import Context
from service.api.foreign import names_on
from service.settings import Settings
from service.wiring import Service
from tests.api.conftest import Running, running
from tests.api.test_records import RECORDS, problem


def send(client, stream, headers, method="POST"):
    return client.request(method, RECORDS.format(stream), json={"values": [1]}, headers=headers)


@pytest.fixture(scope="module")
def local() -> Iterator[Running]:
    """A server that knows itself to be on loopback, and a proxy's name."""
    names = names_on("127.0.0.1", ["Rcf.example"])
    with running(Context(auto_create=True, names=names)) as started:
        yield started


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
        ("Origin", "https://evil.example"),
        ("Origin", "http://127.0.0.1:1"),
        ("Origin", "http://127.0.0.1"),
        ("Origin", "null"),
        ("Origin", ""),
    ],
)
def test_a_page_from_elsewhere_may_read_and_not_write(client, stream, header, value):
    client.put(f"/v1/streams/{stream}", json={"features": 1})
    sent = {header: value}
    kinds = ({}, {"Content-Type": "text/plain"}, {"Content-Type": "application/json"})
    for kind in kinds:
        body = problem(send(client, stream, sent | kind), 403, "foreign-page")
        assert (body["field"], body["value"]) == (header, value)
    for method in ("PUT", "DELETE", "OPTIONS"):
        answer = client.request(method, f"/v1/streams/{stream}", headers=sent)
        problem(answer, 403, "foreign-page")
    assert client.get(f"/v1/streams/{stream}", headers=sent).status_code == 200
    assert client.get(f"/v1/streams/{stream}/results").json()["results"] == []


def test_our_own_pages_and_programs_write(server, client, stream):
    here = server.url.upper().replace("HTTP", "http")
    for headers in (
        {},
        {"Sec-Fetch-Site": "same-origin", "Origin": server.url},
        {"Sec-Fetch-Site": "none"},
        {"Origin": here},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://rcf.example", "Host": "upstream"},
        {"Origin": "https://rcf.example", "Host": "rcf.example:443"},
        {"Origin": "http://rcf.example:80", "Host": "rcf.example"},
    ):
        answer = send(client, stream, headers)
        assert answer.status_code == 200, headers


@pytest.mark.parametrize("path", ["/", "/v1/streams", "/metrics", "/docs"])
@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example"])
def test_on_loopback_nobody_gets_in_by_another_name(local, path, host):
    body = problem(local.client.get(path, headers={"Host": host}), 421, "unknown-host")
    assert body["value"] == host and "localhost" in body["allowed"]
    problem(send(local.client, "s", {"Host": host}), 421, "unknown-host")


@pytest.mark.parametrize(
    "host", ["localhost", "LocalHost:9", "127.0.0.1:80", "[::1]:8080", "rcf.example"]
)
def test_on_loopback_the_names_of_this_machine_and_of_the_proxy_are_known(local, host):
    assert local.client.get("/healthz", headers={"Host": host}).status_code == 200
    assert send(local.client, "s", {"Host": host}).status_code == 200


def test_off_loopback_any_name_will_do(client):
    assert client.get("/healthz", headers={"Host": "worker-1:8080"}).status_code == 200


@pytest.mark.parametrize(
    ("address", "known"),
    [
        ("127.0.0.1", True),
        ("127.8.0.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.7", False),
        ("worker-1", False),
    ],
)
def test_what_a_service_listens_on_decides(address, known):
    context = Service(Settings(host=address, allowed_hosts="a.example,b")).context
    if not known:
        assert context.names is None
        return
    wanted = {"localhost", "127.0.0.1", "[::1]", "a.example", "b"}
    assert context.names == wanted | {f"[{address}]" if ":" in address else address}
