"""The files of `service/deploy` and beside it, read as what they are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "service/deploy"
PROMETHEUS = DEPLOY / "prometheus"
RULES = (PROMETHEUS / "recording.yml", PROMETHEUS / "alerts.yml")
RULE_TESTS = Path(__file__).with_name("alerts.test.yml")
DASHBOARDS = sorted((DEPLOY / "grafana/dashboards").glob("*.json"))
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
DOCKERFILE = ROOT / "Dockerfile"

SELECTOR = re.compile(r"\b((?:rcf|process|job:rcf)_[\w:]+|up|ALERTS)\b(\{[^}]*\})?(\[[^\]]+\])?")
"""A metric in PromQL, with what stands behind it: matchers and range."""


def compose() -> dict[str, Any]:
    """The compose file, anchors and merges resolved."""
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))


def manifests() -> list[dict[str, Any]]:
    """Every Kubernetes object."""
    return [each for path in MANIFESTS for each in yaml.safe_load_all(path.read_text("utf-8"))]


def rules() -> Iterator[dict[str, Any]]:
    """Every recording rule and alert."""
    for path in RULES:
        for group in yaml.safe_load(path.read_text("utf-8"))["groups"]:
            yield from group["rules"]


def alerts() -> list[dict[str, Any]]:
    """Every alert."""
    return [rule for rule in rules() if "alert" in rule]


def dashboard(path: Path) -> dict[str, Any]:
    """A dashboard's JSON."""
    return json.loads(path.read_text("utf-8"))


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    """Every panel that shows something; rows do not."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def queries(board: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(where, PromQL) of every target of every panel."""
    for panel in panels(board):
        for target in panel["targets"]:
            yield f"{board['uid']}: {panel['title']} {target['refId']}", target["expr"]


def image_settings() -> dict[str, str]:
    """What the last stage of the Dockerfile sets in the environment."""
    stage = DOCKERFILE.read_text("utf-8").rpartition("\nFROM ")[2]
    (block,) = re.findall(r"^ENV ((?:.*\\\n)*.*)$", stage, re.M)
    return dict(re.findall(r"(\w+)=(\S*)", block.replace("\\\n", " ")))
