"""Import arrows: the core knows nobody, adapters do not know each other, heavy names stay home."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import LONGEST

ROOT = Path(__file__).parent.parent

#: Package or module -> what it may import of this project, besides itself. Longest prefix counts.
ARROWS = {
    "rcf": set(),
    "service": set(),
    "service.engine": {"rcf", "service.evaluation"},
    "service.evaluation": set(),
    "service.messages": {"service.engine"},
    "service.adapters": {"rcf", "service.engine", "service.messages"},
    "service.api": {"service.engine", "service.evaluation", "service.messages"},
    "service.sources": {"service.engine"},
    "service.settings": set(),
    "service.interpreter": set(),
    "service.logs": set(),
    "service.beside": set(),
    "service.opening": {"service.adapters", "service.engine", "service.settings"},
    "service.wiring": {
        "rcf",
        "service.adapters",
        "service.api",
        "service.beside",
        "service.engine",
        "service.interpreter",
        "service.opening",
        "service.settings",
        "service.sources",
    },
    "service.cli": {
        "rcf",
        "service.adapters",
        "service.api",
        "service.engine.checks",
        "service.engine.config",
        "service.engine.errors",
        "service.engine.feedback",
        "service.engine.outcome",
        "service.engine.ports",
        "service.engine.reasons",
        "service.engine.records",
        "service.engine.rehearsal",
        "service.engine.replay",
        "service.engine.times",
        "service.evaluation",
        "service.logs",
        "service.messages",
        "service.opening",
        "service.settings",
        "service.sources",
        "service.wiring",
    },
    "service.__main__": {"service.cli"},
}

#: Inside the core, lowest first: a file (or package) imports only from rows above its own, or from
#: its own row. Every file of the core stands here, and nothing else does.
CORE = [
    "errors callee constant",
    "jit",
    "pointer row layout",
    "state",
    "rng vector flat smooth usual arguments gaps shares scale",
    "cut points reservoir pair faces dialects hotspots threshold decay transform",
    "path",
    "box",
    "score tile",
    "tree block attribution neighbours alert",
    "step density memory",
    "run ask field merge regression band",
    "forecast fixed judge",
    "special",
    "forest forests",
    "measured",
    "forecaster detector",
    "series",
    "snapshot",
    "archive compile",
]
RANKS = {name: rank for rank, row in enumerate(CORE) for name in row.split()}

#: `to_bytes` of these reach up to what writes them, when it is called.
REACH_UP = {
    ("forest", "snapshot"),
    ("detector", "snapshot"),
    ("forecaster", "snapshot"),
    ("series", "snapshot"),
    ("forests", "archive"),
}

#: A library from elsewhere -> the only places that may import it.
HOMES = {
    "numba": {"rcf"},
    "llvmlite": {"rcf"},
    "fastapi": {"service.api", "service.wiring"},
    "starlette": {"service.api"},
    "uvicorn": {"service.wiring"},
    "prometheus_client": {
        "service.adapters.prometheus",
        "service.wiring",
        "service.cli.reference",
    },
    "sqlite3": {"service.adapters"},
    "aiokafka": {"service.adapters.kafka"},
    "obstore": {"service.adapters.objects"},
    "psutil": {"service.sources.host"},
    "pydantic": {"service.settings"},
    "pydantic_settings": {"service.settings"},
    "optuna": {"service.cli.tune"},
    "typer": {"service.cli"},
    "rich": {"service.cli"},
}

#: What a module may not import at all.
BANNED = {
    "rcf": {"asyncio", "logging", "threading", "time", "datetime", "random", "socket", "sqlite3"},
}

#: Compiling in the background needs what the rest of the core does without.
EXEMPT = {("rcf.special", "logging"), ("rcf.special", "threading")}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source: str, module: str, *, package: bool = False) -> Iterator[str]:
    """Dotted names that a module imports, relative ones resolved, `from a import b` as a.b."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                parts = parts[: len(parts) - node.level + package]
                base = ".".join([*parts, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def within(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")


def owner(module: str) -> str:
    """The longest entry of `ARROWS` that holds a module."""
    return max((entry for entry in ARROWS if within(module, entry)), key=len)


def broken_arrows(module: str, source: str, *, package: bool = False) -> list[str]:
    """What a module imports against the arrows, one sentence each."""
    return [
        f"{module} imports {name}: {reason}"
        for name in imports(source, module, package=package)
        if (reason := _objection(module, name))
    ]


def _objection(module: str, name: str) -> str | None:
    top = name.partition(".")[0]
    if top in HOMES and not any(within(module, home) for home in HOMES[top]):
        return f"only {', '.join(sorted(HOMES[top]))} may"
    for place, banned in BANNED.items():
        if within(module, place) and top in banned and (module, top) not in EXEMPT:
            return "the core has no clock, thread, logger or input"
    if top not in ("rcf", "service", "load", "tests"):
        return None
    return _objection_within_project(module, name)


def _objection_within_project(module: str, name: str) -> str | None:
    mine = owner(module)
    if within(name, mine):
        return _objection_between_siblings(module, name)
    if any(within(name, allowed) for allowed in ARROWS[mine]):
        return None
    # `from service import logs` names the package first and the module after it.
    return f"{mine} may import {', '.join(sorted(ARROWS[mine])) or 'nothing of this project'}"


def _objection_between_siblings(module: str, name: str) -> str | None:
    parts, other = module.split("."), name.split(".")
    if owner(module) == "service.adapters" and len(parts) > 2 and len(other) > 2:
        return None if parts[2] == other[2] else "adapters do not know each other"
    if parts[0] == "rcf" and len(parts) > 1 and len(other) > 1:
        return _objection_in_core(parts[1], other[1])
    return None


def _objection_in_core(file: str, other: str) -> str | None:
    if (file, other) in REACH_UP:
        return None
    if file in RANKS and other in RANKS and RANKS[other] > RANKS[file]:
        return "the arrows of the core run the other way"
    return None


def sources() -> list[Path]:
    return sorted(path for top in ("rcf", "service") for path in (ROOT / top).rglob("*.py"))


@pytest.mark.parametrize("path", sources(), ids=module_name)
def test_arrows(path):
    package = path.name == "__init__.py"
    assert broken_arrows(module_name(path), path.read_text("utf-8"), package=package) == []


def test_the_order_of_the_core_names_every_file():
    there = {path.stem for path in (ROOT / "rcf").iterdir() if path.suffix == ".py"}
    there |= {path.parent.name for path in (ROOT / "rcf").glob("*/__init__.py")}
    there.discard("__init__")
    undeclared, gone = sorted(there - RANKS.keys()), sorted(RANKS.keys() - there)
    assert not undeclared, f"place {undeclared} in CORE above: after what they import"
    assert not gone, f"take {gone} out of CORE above: rcf/ has no such file"


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("rcf.forest", "import service.engine"),
        ("rcf.forest", "from service.engine import records"),
        ("rcf.forest", "import time"),
        ("rcf.rng", "from rcf.tree import insert_point"),
        ("rcf.path", "def f():\n    from rcf.forest import Forest"),
        ("service.engine.runner", "from service.adapters.memory import MemoryLog"),
        ("service.engine.runner", "from ..adapters import memory"),
        ("service.engine.runner", "import numba"),
        ("service.engine.runner", "import sqlite3"),
        ("service.adapters.codec", "from service.adapters.memory import MemoryLog"),
        ("service.adapters.codec", "from fastapi import FastAPI"),
        ("service.adapters.codec", "from service.api import app"),
        ("service.api.records", "from service.adapters import codec"),
        ("service.api.records", "import prometheus_client"),
        ("service.sources.feed", "from service.wiring import serve"),
        ("service.wiring", "from service.cli import app"),
        ("service.settings", "from service.engine import config"),
    ],
)
def test_a_broken_arrow_is_seen(module, source):
    assert len(broken_arrows(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("rcf.tree", "from rcf.path import descend"),
        ("service.engine.runner", "from rcf import Detector"),
        ("service.adapters.sqlite.log", "from service.adapters.sqlite import schema"),
        ("service.adapters.sqlite.log", "import sqlite3"),
        ("service.wiring", "from service.api.app import create_app"),
        ("service.cli.serve", "from service import logs"),
        ("service.api.app", "from . import records"),
    ],
)
def test_a_sound_arrow_is_left_alone(module, source):
    assert broken_arrows(module, source) == []


def test_the_start_of_the_command_line_is_light():
    """`rcf --help` imports nothing slow: see `tests/cli` for the time it takes."""
    source = (ROOT / "service/cli/app.py").read_text("utf-8")
    top = ast.Module(
        [node for node in ast.parse(source).body if "Import" in type(node).__name__], []
    )
    named = {name.partition(".")[0] for name in imports(ast.unparse(top), "service.cli.app")}
    assert named <= {
        "os",
        "sys",
        "collections",
        "contextlib",
        "enum",
        "pathlib",
        "typing",
        "typer",
        "service",
    }


def test_what_is_begun_first_is_there():
    assert [name for name in LONGEST if not (ROOT / name).is_file()] == []
