"""The menu of `make chaos`, each for a moment."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.engine.fakes import FakeFactory
from tests.left_out import left_out
from tests.simulation import __main__ as menu
from tests.simulation.damage import NoOwnDiskError, Told
from tests.simulation.harms import HARMS, Setting, corrupt_snapshot, slow_consumer
from tests.simulation.lives import announce

SEED = 3


def setting(directory: Path, told: Told = lambda _share: None) -> Setting:
    announce(SEED)
    return Setting(directory, SEED, records=3_000, turns=3, factory=FakeFactory(), told=told)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({*HARMS} - {"kills"}))
def test_harm_changes_nothing(name, tmp_path):
    """`kills`: see `test_kills.py`."""
    shares = []
    try:
        assert HARMS[name](setting(tmp_path, shares.append))
    except NoOwnDiskError as error:
        left_out.leave_out("a full disk", f"{error}; run as root")
    assert shares == sorted(shares) and all(0 <= share <= 1 for share in shares)


def test_an_unchecked_checksum_would_be_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.simulation.harms.damage", lambda _rng, _path: None)
    with pytest.raises(AssertionError, match="no start met a damaged snapshot"):
        corrupt_snapshot(setting(tmp_path))


def test_an_endless_backlog_would_be_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.simulation.harms.BACKLOG", 10**9)
    with pytest.raises(AssertionError, match="nothing was refused"):
        slow_consumer(setting(tmp_path))


def test_the_menu_fails_when_something_does_not_hold(monkeypatch, capsys):
    def broken(_setting: Setting) -> str:
        raise AssertionError("two results of one offset")

    monkeypatch.setitem(HARMS, "poison-1", broken)
    monkeypatch.setattr(sys, "argv", ["chaos", "poison-1", "--seeds", "4"])
    assert menu.main() == 1
    assert "poison-1, seed 4: FAILED: AssertionError: two results" in capsys.readouterr().out
