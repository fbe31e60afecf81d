"""The token: what is refused without it, what is open, and that nothing shows it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from service import settings, wiring
from service.api.context import Context
from service.api.schemas import _OPEN
from service.cli.app import app
from service.cli.errors import CommandError
from service.settings import SettingsError
from tests.api.conftest import Running, running
from tests.api.test_records import problem

TOKEN = "open-sesame_9+/="
SHOWN = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def guarded() -> Iterator[Running]:
    """A server with a token and a stream."""
    with running(Context(auto_create=True, token=TOKEN)) as started:
        answer = started.client.post("/v1/streams/s/records", json={"values": [1]}, headers=SHOWN)
        assert answer.status_code == 200
        yield started


NEEDED = [
    ("GET", "/v1/streams"),
    ("PUT", "/v1/streams/t"),
    ("POST", "/v1/streams/s/records"),
    ("GET", "/v1/streams/s/results"),
    ("GET", "/v1/streams/s/events"),
    ("DELETE", "/v1/streams/s"),
    ("GET", "/metrics"),
    ("GET", "/asyncapi.json"),
    ("GET", "/nowhere"),
    ("GET", "/healthz/"),
]


@pytest.mark.parametrize(("method", "path"), NEEDED)
@pytest.mark.parametrize(
    "shown",
    [None, "", TOKEN, "Bearer", "Bearer open", f"Bearer {TOKEN}x", f"Basic {TOKEN}"],
)
def test_without_the_token_nothing_is_told(guarded, method, path, shown):
    headers = {} if shown is None else {"Authorization": shown}
    answer = guarded.client.request(method, path, headers=headers)
    body = problem(answer, 401, "token-needed")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert body["field"] == "Authorization" and TOKEN not in answer.text


@pytest.mark.parametrize("shown", [f"Bearer {TOKEN}", f"bearer  {TOKEN}"])
def test_with_it_all_is_as_ever(guarded, shown):
    headers = {"Authorization": shown}
    for path in ("/v1/streams", "/v1/streams/s/results", "/metrics", "/asyncapi.json"):
        assert guarded.client.get(path, headers=headers).status_code == 200
    problem(guarded.client.get("/nowhere", headers=headers), 404, "not-found")


@pytest.mark.parametrize(
    "path",
    ["/", "/page/live.js", "/healthz", "/readyz", "/docs", "/docs/swagger-ui.css", "/openapi.json"],
)
def test_what_holds_no_data_is_open(guarded, path):
    assert guarded.client.get(path).status_code == 200


def test_the_document_says_where_it_is_needed(guarded):
    document = guarded.client.get("/openapi.json").json()
    scheme = document["components"]["securitySchemes"]["token"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    for path, methods in document["paths"].items():
        for operation in methods.values():
            is_open = path in ("/healthz", "/readyz")
            assert ("401" not in operation["responses"]) == is_open
            assert operation.get("security", "as all") == (_OPEN if is_open else "as all")


def test_it_is_in_no_representation():
    chosen = settings.load(token=TOKEN)
    service = wiring.Service(chosen)
    assert service.context.token == TOKEN
    assert TOKEN not in repr(chosen) + repr(service.context)


def test_it_may_stand_in_a_file(tmp_path):
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\nwhatever\n")
    assert settings.load(token_file=str(file)).shown_token() == TOKEN
    assert settings.load().shown_token() is None
    with pytest.raises(SettingsError, match=r"RCF_TOKEN_FILE = .*: No such file"):
        settings.load(token_file=str(tmp_path / "none")).shown_token()
    with pytest.raises(SettingsError, match="RCF_TOKEN and RCF_TOKEN_FILE are both set"):
        settings.load(token=TOKEN, token_file=str(file))


@pytest.mark.parametrize("token", ["", "two words", "käse", "line\nfeed"])
def test_a_token_that_no_header_holds_is_refused_and_not_repeated(token):
    with pytest.raises(SettingsError, match="RCF_TOKEN: must be letters") as caught:
        settings.load(token=token).shown_token()
    assert not token or token not in str(caught.value)


def test_the_commands_show_it(guarded, monkeypatch):
    arguments = ["tail", "s", "--from-beginning", "--limit", "1", "--url", guarded.url]
    monkeypatch.setenv("RCF_TOKEN", TOKEN)
    assert CliRunner().invoke(app, arguments).exit_code == 0
    monkeypatch.setenv("RCF_TOKEN", "another")
    refused = CliRunner().invoke(app, arguments).exception
    assert isinstance(refused, CommandError)
    assert (refused.code, "token" in str(refused)) == (2, True)


@pytest.mark.parametrize(
    ("chosen", "warned"),
    [
        ({"host": "0.0.0.0"}, True),
        ({"host": "0.0.0.0", "token": TOKEN}, False),
        ({"host": "127.0.0.1"}, False),
    ],
)
def test_a_port_that_is_open_to_all_is_warned_of(caplog, chosen, warned):
    with caplog.at_level(logging.WARNING):
        wiring.Service(settings.load(**chosen)).warn()
    assert any("RCF_TOKEN" in record.getMessage() for record in caplog.records) == warned
