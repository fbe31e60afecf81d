"""One table for people on the terminal, one JSON line for machines on stdout."""

from __future__ import annotations

import functools
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.console import Console
from rich.table import Table

Row = Mapping[str, str | float | int]

README = Path(__file__).resolve().parent.parent / "README.md"
#: Whose versions the figures depend on; jrcf carries the jars of AWS's Java forest.
PACKAGES = ("numba", "numpy", "krcf", "jrcf", "river", "rrcf")
#: Whose versions matter to a service under load besides.
CLIENTS = ("aiohttp", "aiokafka", "confluent-kafka", "fastapi", "hdrhistogram", "uvicorn")

WIDTH = 160
BEGIN, END = "<!-- figures -->", "<!-- /figures -->"

_published: list[str] = []


@functools.cache
def machine() -> dict[str, str | int]:
    """What the figures depend on besides the code."""
    facts: dict[str, str | int] = {
        "python": platform.python_version(),
        "cpu": _cpu(),
        "cores": os.cpu_count() or 0,
    }
    for name in ("rcf-stream", *PACKAGES, *CLIENTS):
        try:
            facts[name] = version(name)
        except PackageNotFoundError:
            facts[name] = "absent"
    facts["java"] = _java()
    return facts


def _java() -> str:
    if shutil.which("java") is None:
        return "absent"
    said = subprocess.run(["java", "--version"], capture_output=True, text=True, check=True).stdout
    return said.split()[1]


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def publish(title: str, rows: Iterable[Row], **settings: object) -> None:
    """Show rows as a table on stderr and print them as one JSON line on stdout.

    Args:
        title: Name of the report.
        rows: One mapping a line; the first one names the columns.
        settings: What the figures were measured with.
    """
    rows = list(rows)
    table = Table(title=title)
    for name in rows[0]:
        table.add_column(name, justify="left" if isinstance(rows[0][name], str) else "right")
    for row in rows:
        table.add_row(*(_shown(value) for value in row.values()))
    # Without a terminal nobody's window is too narrow.
    Console(stderr=True, width=None if sys.stderr.isatty() else WIDTH).print(table)
    _published.append(markdown(title, rows, measured_on()))
    report = {"report": title, "machine": machine(), "settings": settings, "rows": rows}
    sys.stdout.write(json.dumps(report) + "\n")
    sys.stdout.flush()


def told(title: str, rows: Iterable[Row]) -> Iterator[Row]:
    """The rows, each said on stderr when it is measured, for whoever waits for the table."""
    began = time.monotonic()
    for row in rows:
        line = ", ".join(f"{name} {_shown(value)}" for name, value in row.items())
        sys.stderr.write(f"{title}, {time.monotonic() - began:.0f} s: {line}\n")
        yield row


def one_line(text: str) -> str:
    """A text as it fits into a cell of a table."""
    return " ".join(text.split()).replace("|", "/")


def measured_on() -> str:
    """The machine and the versions, as a table bears them: tables are made on different days."""
    names = ("cores", "python", *PACKAGES, "java")
    facts = machine()
    return ", ".join([str(facts["cpu"]), *(f"{name} {facts[name]}" for name in names)])


def markdown(title: str, rows: list[Row], where: str) -> str:
    """The rows as a Markdown table under their title and where they were measured."""
    lines = [f"**{title}**", "", f"<sub>{where}</sub>", "", "| " + " | ".join(rows[0]) + " |"]
    lines.append("|" + "|".join(" --- " for _ in rows[0]) + "|")
    lines += ["| " + " | ".join(_shown(value) for value in row.values()) + " |" for row in rows]
    return "\n".join(lines)


def write_readme() -> None:
    """Put the tables published by this process between the README's markers.

    A table takes the place of the one of its title; the others stay.
    """
    text = README.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    body, after = rest.split(END)
    tables = merged(body, _published)
    made_by = "Made by `make bench`, `make drive`, `make soak` and `make chaos`."
    body = "\n\n".join([made_by, *tables])
    README.write_text(f"{before}{BEGIN}\n{body}\n{END}{after}", encoding="utf-8")


def merged(body: str, published: list[str]) -> list[str]:
    """The tables of a text, those of the same title replaced and the others behind them."""
    found = re.split(r"^(?=\*\*)", body, flags=re.M)[1:]
    tables = {table.splitlines()[0]: table.strip() for table in (*found, *published)}
    return list(tables.values())


def _shown(value: str | float) -> str:
    if isinstance(value, str):
        return value
    places = 0 if isinstance(value, int) or abs(value) >= 1000 else 2
    return f"{value:,.{places}f}"
