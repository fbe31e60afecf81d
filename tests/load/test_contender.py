"""Turns: who begins, how long a block is, what a ratio is."""

from itertools import pairwise

import numpy as np
import pytest

from load.contender import BLOCK_S, Do, Entry, interleaved, orders, ratios


class Clockwork:
    """Takes the same time for every record and keeps what it was given."""

    def __init__(self, name, each, log):
        self.name, self.each, self.log = name, each, log

    def run(self, rows, do=Do.BOTH):
        self.log.append((self.name, rows[:, 0].astype(int).tolist(), do))
        return self.each * len(rows)

    def close(self):
        pass


def race(each, rounds, *, start=0, records=5_000, do=Do.BOTH):
    """Seconds, and the blocks that counted."""
    log = []
    values = np.arange(float(records))[:, None]
    entries = {name: Entry(Clockwork(name, pace, log), start) for name, pace in each.items()}
    seconds = interleaved(entries, values, rounds, do)
    return seconds, log[-rounds * len(each) :]


def test_everyone_begins_in_turn():
    assert orders(["a", "b", "c"], 4) == [
        ["a", "b", "c"],
        ["b", "c", "a"],
        ["c", "a", "b"],
        ["a", "b", "c"],
    ]


def test_blocks_take_turns_in_that_order():
    _, log = race({"a": 0.001, "b": 0.002, "c": 0.004}, 3)
    assert [name for name, _, _ in log] == list("abcbcacab")


@pytest.mark.parametrize("each", [1e-4, 1e-3, 0.04])
def test_a_block_takes_about_as_long_whatever_the_pace(each):
    seconds, log = race({"a": each}, 5)
    assert seconds["a"] == pytest.approx([each] * 5)
    for _, rows, _ in log:
        assert len(rows) * each == pytest.approx(BLOCK_S, rel=0.2)


def test_a_contender_slower_than_a_block_gets_one_record():
    _, log = race({"a": 2.0}, 2)
    assert [len(rows) for _, rows, _ in log] == [1, 1]


def test_blocks_follow_one_another_and_begin_again_after_the_warm_up():
    _, log = race({"a": 0.001}, 40, start=100, records=1_000)
    rows = [rows for _, rows, _ in log]
    for before, after in pairwise(rows):
        assert after[0] in (before[-1] + 1, 100)
    assert min(map(min, rows)) == 100
    assert any(after[0] == 100 for after in rows[1:])


def test_a_stream_shorter_than_a_block_is_taken_whole():
    _, log = race({"a": 1e-6}, 3, start=10, records=200)
    assert [len(rows) for _, rows, _ in log] == [190] * 3


def test_what_is_done_is_handed_on():
    _, log = race({"a": 0.001}, 2, do=Do.SCORE)
    assert {do for _, _, do in log} == {Do.SCORE}


def test_ratios_are_medians_of_the_rounds_and_skip_who_is_absent():
    seconds = {"slow": [4.0, 6.0, 90.0], "fast": [1.0, 2.0, 3.0]}
    assert ratios(seconds, [("slow", "fast"), ("absent", "fast")]) == {"slow / fast": 4.0}
