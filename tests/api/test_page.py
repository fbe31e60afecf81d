"""The live page, in Node, around a real server: what it shows of which stream."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from service.adapters.forest import ForestFactory
from service.api import page as files
from service.api.context import Context
from service.wiring import load_kernels
from tests.api.conftest import Running, memory_engine, running
from tests.api.test_records import make, post
from tests.engine.fakes import NoMetrics
from tests.left_out import need_node

BROWSER = Path(__file__).with_name("page.mjs")
MOST_CARDS = 12
MOST_ROWS = 600


class Page:
    """The page in a process of its own."""

    def __init__(self, folder: Path, server: Running, stream: str = "") -> None:
        node = need_node()
        for file in Path(files.__file__).parent.glob("*.js"):
            # Addresses on the server are files beside each other here.
            text = file.read_text("utf-8").replace('from "/page/', 'from "./')
            (folder / file.name).write_text(text, "utf-8")
        (folder / "package.json").write_text('{"type": "module"}')
        (folder / BROWSER.name).write_bytes(BROWSER.read_bytes())
        self._process = subprocess.Popen(
            [node, BROWSER.name, server.url, f"#{stream}" if stream else ""],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, expression: str = "shown()") -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(expression + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def until(self, holds: Callable[[dict[str, Any]], object], within_s: float = 20) -> Any:
        """What is shown as soon as that holds."""
        end = time.monotonic() + within_s
        while True:
            shown = self.ask()
            if holds(shown):
                return shown
            assert time.monotonic() < end, shown
            time.sleep(0.02)

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture
def empty() -> Iterator[Running]:
    """A server without streams."""
    with running(Context(auto_create=True, partitions=2)) as started:
        yield started


@pytest.fixture
def look(tmp_path) -> Iterator[Callable[..., Page]]:
    pages: list[Page] = []

    def opened(server: Running, stream: str = "") -> Page:
        pages.append(Page(tmp_path, server, stream))
        return pages[-1]

    yield opened
    for each in pages:
        each.close()


def records(count: int, *, key: str = "", begin_s: float = 1_500_000_000) -> dict[str, Any]:
    """One record every five minutes, some years ago."""
    return {
        "records": [
            {"key": key, "values": [n], "timestamp": begin_s + 300 * n} for n in range(count)
        ]
    }


def test_times_long_ago_are_shown_and_more_follows(server, client, stream, look):
    make(client, stream, features=1)
    post(client, stream, records(50))
    page = look(server, stream)
    shown = page.until(lambda shown: shown["values"] and len(shown["values"][0][0]) == 50)
    assert shown["values"][0][1] == list(range(50))
    page.until(lambda shown: shown["status"] == f"live: {stream}")
    post(client, stream, {"values": [7], "timestamp": 1_600_000_000})
    shown = page.until(lambda shown: len(shown["values"][0][0]) == 51)
    assert shown["values"][0][0][-1] == 1_600_000_000


def test_charts_keep_the_newest_records_alone(server, client, stream, look):
    make(client, stream, features=1)
    post(client, stream, records(3 * MOST_ROWS))
    page = look(server, stream)
    page.until(lambda shown: shown["status"] == f"live: {stream}")
    post(client, stream, {"values": [-1], "timestamp": 1_700_000_000})
    shown = page.until(lambda shown: shown["values"][0][1][-1:] == [-1])
    assert shown["values"][0][1] == [*range(2 * MOST_ROWS + 1, 3 * MOST_ROWS), -1]


def test_anomalies_of_series_that_are_not_drawn_are_told(server, client, stream, look):
    make(client, stream, features=1, output_after=1)
    for number in range(MOST_CARDS + 3):
        assert post(client, stream, records(3, key=f"k{number:02}")).status_code == 200
    page = look(server, stream)
    note = "· +3 series not drawn"
    shown = page.until(lambda shown: shown["status"] == f"live: {stream} {note}")
    assert len(shown["series"]) == len(shown["values"]) == MOST_CARDS
    left_out = {f"k{number:02}" for number in range(MOST_CARDS + 3)} - set(shown["series"])
    odd = min(left_out)
    results = post(client, stream, records(200, key=odd)).json()["results"]
    assert any(result["anomaly"] for result in results)
    last = page.until(lambda shown: shown["status"].startswith("last anomaly: "))["status"]
    assert odd in last and last.endswith(note)
    assert any(odd in line for line in page.ask()["feed"])


def test_streams_that_are_made_and_deleted_later_are_noticed(empty, look):
    client = empty.client
    page = look(empty)
    page.until(lambda shown: shown["status"] == "no streams yet: post a record")
    post(client, "b", {"values": [1]})
    page.until(lambda shown: shown["tabs"] == [["b", "true"]] and shown["series"] == ["(no key)"])
    post(client, "a", {"values": [1]})
    page.until(lambda shown: shown["tabs"] == [["a", "false"], ["b", "true"]])
    page.ask('document.getElementById("tabs").children[0].onclick()')
    page.until(lambda shown: shown["status"] == "live: a")
    client.delete("/v1/streams/a")
    page.until(lambda shown: shown["tabs"] == [["b", "true"]] and shown["status"] == "live: b")
    client.delete("/v1/streams/b")
    shown = page.until(lambda shown: shown["status"] == "no streams yet: post a record")
    assert shown["tabs"] == shown["series"] == []


def test_the_page_asks_for_the_token_once_and_shows_it(look):
    with running(Context(auto_create=True, token="sesame")) as server:
        server.client.headers["Authorization"] = "Bearer sesame"
        post(server.client, "s", {"values": [1]})
        page = look(server)
        for typed in ("", "wrong", "sesame"):
            page.until(lambda _: page.ask('document.getElementById("door").open'))
            page.ask(f'enter("{typed}")')
        page.until(lambda shown: shown["status"] == "live: s")
        post(server.client, "s", {"values": [2]})
        page.until(lambda shown: shown["values"][0][1] == [1, 2])
        assert page.ask('document.getElementById("door").asked') == 3


def test_one_feature_is_drawn_in_the_band_where_it_was_expected(look):
    load_kernels()  # may take longer than an answer
    with running(Context(auto_create=True), memory_engine(NoMetrics(), ForestFactory())) as server:
        results = post(server.client, "s", records(9)).json()["results"]
        page = look(server)
        shown = page.until(lambda shown: shown["values"] and len(shown["values"][0][0]) == 9)
    for column, name in ((2, "lower"), (3, "upper")):
        wanted = [result[name] and result[name][0] for result in results]
        assert shown["values"][0][column] == wanted and wanted[-1] is not None
    assert page.ask("plots[0].bands.map((band) => band.series)") == [[3, 2]]


@pytest.mark.parametrize(
    ("language", "taken"), [("en-US@posix", "en-US"), ("de-CH", "de-CH"), ("en", "en")]
)
def test_a_language_that_is_none_does_not_end_the_page(language: str, taken: str) -> None:
    """uPlot makes its number format of the browser's language as soon as it is loaded."""
    folder = Path(files.__file__).parent
    names = ("language.js", "vendor/uPlot.iife.min.js")
    page = (folder / "index.html").read_text("utf-8")
    assert page.index(names[0]) < page.index(names[1])
    text = "\n".join((folder / name).read_text("utf-8") for name in names)
    program = f"""
        const vm = require("node:vm");
        class Browser {{ get language() {{ return {json.dumps(language)}; }} }}
        const navigator = new Browser();
        const quiet = {{ addEventListener() {{}}, dispatchEvent() {{}} }};
        const window = {{ ...quiet, devicePixelRatio: 1, matchMedia: () => quiet }};
        const given = {{ navigator, document: quiet, Intl, CustomEvent: Browser }};
        const page = {{ ...window, window, ...given }};
        vm.runInNewContext({json.dumps(text)}, page);
        console.log(navigator.language);
    """
    ended = subprocess.run(
        [need_node(), "-e", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout.strip()) == (0, taken), ended.stderr
