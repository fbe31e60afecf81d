"""Nothing undocumented: the README's tables are what the code says, word for word.

`rcf reference settings|endpoints|metrics|problems` prints each table as it must stand there. The
examples are run: Python, the command line, and every curl line against a server.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from service.adapters.forest import ForestFactory
from service.api.context import Context
from service.cli.app import Reference, app
from service.cli.reference import table
from tests.api.conftest import memory_engine, running
from tests.engine.fakes import NoMetrics
from tests.left_out import need_curl

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"


@pytest.mark.parametrize("what", list(Reference))
def test_the_readme_holds_the_table(what):
    text = README.read_text("utf-8")
    missing = [line for line in table(what).splitlines() if line not in text]
    assert not missing, f"paste the output of `rcf reference {what}` into README.md"


@pytest.mark.parametrize("what", list(Reference))
def test_the_readme_lists_nothing_that_is_gone(what):
    lines = table(what).splitlines()
    rows = README.read_text("utf-8").splitlines()
    assert lines[0] in rows, f"paste the output of `rcf reference {what}` into README.md"
    begin = rows.index(lines[0])
    shown = []
    for row in rows[begin:]:
        if not row.startswith("|"):
            break
        shown.append(row)
    assert shown == lines


@pytest.mark.parametrize("what", list(Reference))
def test_every_row_says_something(what):
    for line in table(what).splitlines()[2:]:
        assert all(cell.strip() for cell in line.strip("|").split(" | "))


def blocks(language):
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text("utf-8"), re.M | re.S)


def commands():
    """The shell commands of the transcripts, each with the answer shown below it."""
    for block in blocks("console"):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            lines = part.splitlines()
            end = 1
            if lines[0].count("'") % 2:  # a quoted body goes on until its quote ends
                end = next(n for n, line in enumerate(lines[1:], 2) if line.count("'") % 2)
            yield "\n".join(lines[:end]), "\n".join(lines[end:])


@pytest.mark.parametrize("code", blocks("python"))
def test_the_python_examples_run(code, tmp_path):
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=tmp_path)


def test_the_file_example_says_what_the_readme_shows(tmp_path):
    (script,), (shown,) = blocks("sh"), blocks("text")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-ec", script],
        cwd=tmp_path,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == shown
    assert (tmp_path / "judged.csv").read_text().count("\n") == 3_001


def test_the_curl_examples_are_answered():
    need_curl()
    curls = [(line, shown) for line, shown in commands() if line.startswith("curl")]
    assert len(curls) >= 4
    engine = memory_engine(NoMetrics(), ForestFactory())
    with running(Context(auto_create=True), engine) as server:
        for line, shown in curls:
            if " -N " in line:
                continue  # an event stream has no end
            local = line.replace("http://127.0.0.1:8080", server.url)
            assert local != line
            done = subprocess.run(
                ["sh", "-ec", local.replace("curl ", "curl -sS --fail-with-body ", 1)],
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            if shown:
                assert without_time(done.stdout) == without_time(shown)


def without_time(answer):
    return [result | {"timestamp": None} for result in json.loads(answer)["results"]]


def test_every_command_stands_in_the_readme():
    text = README.read_text("utf-8")
    command = typer.main.get_command(app)
    found = [f"rcf {name}" for name in command.commands if name != "dlq"]
    found += [f"rcf dlq {name}" for name in command.commands["dlq"].commands]
    assert len(found) > 10
    assert [name for name in found if name not in text] == []


def test_every_path_that_the_readme_names_exists():
    named = re.findall(r"`((?:rcf|service|tests|load|\.lock)/[\w./]+)`", README.read_text("utf-8"))
    links = re.findall(r"\]\(([^)#:]+)\)", README.read_text("utf-8"))
    assert len(named) > 10
    assert [path for path in (*named, *links) if not (ROOT / path).exists()] == []
