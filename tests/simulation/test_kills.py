"""kill -9 at random moments: results, dead letters and states as if nothing had happened."""

from __future__ import annotations

import pytest

from service.adapters.forest import ForestFactory
from tests.simulation.chaos import run_chaos
from tests.simulation.lives import announce


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1])
def test_a_hundred_kills_change_nothing(seed, tmp_path):
    """`make chaos ARGS=kills`: 500 kills, 200,000 records, more seeds."""
    outcome = run_chaos(tmp_path, seed, records=100_000, kills=100, factory=ForestFactory())
    announce(seed)
    assert sum(outcome.reference["statuses"].values()) > 100_000 - 3
    assert all(ordered for _, ordered in outcome.found["offsets"].values())
    assert outcome.found == outcome.reference
