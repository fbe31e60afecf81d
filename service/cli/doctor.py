"""`rcf doctor`: one line a check, and what to do about it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from service import opening
from service.cli.errors import FAILED, OK
from service.cli.looking import choose, run
from service.engine.checks import Check
from service.settings import Settings

Say = Callable[[str], None]


def doctor(
    *,
    say: Say,
    as_json: bool,
    data_dir: Path | None,
    kafka_bootstrap: str | None,
    snapshots: str | None,
) -> int:
    """Print checks as they are made; return the exit code, FAILED when there is an error.

    Raises:
        CommandError: A setting is wrong.
    """
    chosen = choose(data_dir=data_dir, kafka_bootstrap=kafka_bootstrap, snapshots=snapshots)
    levels = run(_examine(chosen, lambda check: say(_shown(check, as_json=as_json))))
    if not as_json:
        say(f"errors: {levels['error']}, warnings: {levels['warning']}, ok: {levels['ok']}")
    return FAILED if levels["error"] else OK


async def _examine(chosen: Settings, show: Callable[[Check], None]) -> Counter[str]:
    levels: Counter[str] = Counter()
    async for check in opening.doctor(chosen).examine():
        levels[check.level] += 1
        show(check)
    return levels


def _shown(check: Check, *, as_json: bool) -> str:
    if as_json:
        return json.dumps(asdict(check))
    advice = f"\n         -> {check.advice}" if check.advice else ""
    return f"{check.level:7}  {check.name}: {check.said}{advice}"
