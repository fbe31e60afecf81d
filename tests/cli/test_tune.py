"""`rcf tune`: settings by labels, measured on what the search did not see, or by a budget."""

from __future__ import annotations

import json
import math
import random
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from service.cli.app import app
from service.cli.errors import CommandError
from service.cli.tune import factor_for
from service.engine.feedback import fired
from service.evaluation.backtest import Judged

ROOT = Path(__file__).parents[2]
FIXED = ("--set", "trees=4", "--set", "sample_size=128", "--set", "shingle_size=2")


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A noisy wave, a row a minute, with a labelled spike every hundred rows."""
    rng = random.Random(6)
    lines = ["time,value,label"]
    for n in range(900):
        odd = n % 100 == 99
        value = math.sin(n / 10) + rng.gauss(0, 0.4) + 9 * odd
        lines.append(f"{1767225600 + 60 * n},{value:.4f},{int(odd)}")
    path = tmp_path_factory.mktemp("noisy") / "noisy.csv"
    path.write_text("\n".join(lines))
    return str(path)


def rcf(*arguments: str) -> dict:
    done = CliRunner().invoke(app, ["tune", *arguments, "--json"])
    assert done.exit_code == 0, (done.output, done.exception)
    return json.loads(done.stdout)


def test_labels_choose_settings_and_the_rest_is_measured(noisy):
    arguments = (noisy, "--labels", "label", "--late", "2", "--trials", "3", *FIXED)
    found = rcf(*arguments)
    assert found["settings"].keys() == {
        *("trees", "sample_size", "shingle_size", "incident_gap", "threshold_factors")
    }
    given, tuned = found["figures"]["as given"], found["figures"]["tuned"]
    assert given["events"] == tuned["events"] == 3  # of the last 270 rows
    assert tuned["f1"] >= given["f1"]
    assert rcf(*arguments) == found


def test_a_budget_is_kept(noisy):
    found = rcf(noisy, "--columns", "value", "--alerts-per-day", "4", *FIXED)
    given, tuned = found["figures"]["as given"], found["figures"]["tuned"]
    assert tuned["alerts_per_day"] <= 4 < given["alerts_per_day"]
    assert found["settings"]["threshold_factors"][0]["factor"] > 1


def test_the_factor_is_the_lowest_that_keeps_to_the_budget():
    rng = np.random.default_rng(2)
    score = rng.random(1440) * 10
    times_ms = np.arange(1440) * 60_000
    no = np.zeros(1440, dtype=bool)
    series = Judged(times_ms, score, np.full(1440, 5.0), np.maximum(score - 5, 0), no, no)
    ratios = (score / 5.0).tolist()
    for budget in (1, 5, 20):
        factor = factor_for([series], 3, budget)
        assert fired(ratios, factor, 3).alerts <= budget * 1439 / 1440
        assert fired(ratios, factor * 0.99, 3).alerts >= fired(ratios, factor, 3).alerts
    assert fired(ratios, factor_for([series], 3, 0), 3).alerts == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--alerts-per-day"),
        (("--labels", "label", "--metric", "luck"), "luck"),
        (("--labels", "colour"), "colour"),
        (("--labels", "label", "--set", "colour=1"), "no stream has a field"),
    ],
)
def test_what_is_not_allowed_is_said(noisy, arguments, said):
    done = CliRunner().invoke(app, ["tune", noisy, *arguments])
    assert isinstance(done.exception, CommandError) and said in str(done.exception)


def test_without_optuna_it_says_what_to_install(noisy, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    done = CliRunner().invoke(app, ["tune", noisy, "--labels", "label"])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    (needed,) = project["optional-dependencies"]["tune"]
    assert isinstance(done.exception, CommandError)
    assert str(done.exception) == f"needs Optuna: pip install '{needed}'"
