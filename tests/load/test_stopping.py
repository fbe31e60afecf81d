"""How many trees a score needs."""

import numpy as np

from load.contender import Setup
from load.stopping import LEAST, main, trees_needed


def test_trees_that_agree_are_enough_at_once():
    assert trees_needed(np.full((20, 3), 2.5), 0.01).tolist() == [LEAST] * 3


def test_the_interval_decides():
    """Scores 1 and 3 by turns: deviation 1, so 1.96 / sqrt(n - 1) of a mean of 2 after n trees."""
    scores = np.tile([[1.0], [3.0]], (50, 1))
    assert trees_needed(scores, 0.2).tolist() == [26]
    assert trees_needed(scores, 0.11).tolist() == [82]
    assert trees_needed(scores, 0.01).tolist() == [100], "never: all are asked"


def test_the_report_counts_whole_eights(capsys):
    main((Setup(1, 2, 16, 32),), 200)
    assert "trees within 5%" in capsys.readouterr().out
