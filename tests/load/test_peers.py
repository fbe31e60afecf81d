"""Every contender runs each way; the Java loop's scores are those of AWS's forest."""

import numpy as np
import pytest

from load import java_loop, peers
from load.contender import Do, Setup
from load.java_loop import JavaLoop
from load.ours import OneByOne, Several
from load.peers import KINDS, Kind, Shingles, lined_up
from load.streams import seasonal
from tests.left_out import left_out

SMALL = Setup(features=2, shingle=3, trees=4, sample_size=16)


@pytest.fixture
def java() -> None:
    """Leave the test out, loudly, where AWS's Java loop cannot be had."""
    reason = java_loop.missing()
    if reason is not None:
        left_out.leave_out("AWS's Java loop in the benchmarks", reason)


EVERYONE = {name: kind.make for name, kind in KINDS.items()} | {
    "array": lambda setup: OneByOne(setup, lists=False),
    "list": lambda setup: OneByOne(setup, lists=True),
    "threads": lambda setup: Several([setup, setup], threads=True),
}


@pytest.mark.parametrize("name", EVERYONE)
def test_each_runs_each_way(name, request):
    if name == "Java":
        request.getfixturevalue("java")
    values = seasonal(200, 2, seed=3).values
    contender = EVERYONE[name](SMALL)
    try:
        contender.run(values[:100], Do.UPDATE)
        assert contender.run(values[100:120], Do.SCORE) > 0
        assert contender.run(values[100:150]) > 0
        assert contender.run(values[150:151]) > 0
    finally:
        contender.close()


def test_points_are_the_last_records_end_to_end_across_blocks():
    shingles = Shingles(SMALL)
    rows = np.arange(1.0, 15.0).reshape(7, 2)
    found = np.concatenate([shingles.of(rows[:1]), shingles.of(rows[1:3]), shingles.of(rows[3:])])
    assert found[0].tolist() == [0, 0, 0, 0, 1, 2]
    assert found[1].tolist() == [0, 0, 1, 2, 3, 4]
    for i in range(2, 7):
        assert found[i].tolist() == rows[i - 2 : i + 1].ravel().tolist()


def test_one_record_is_a_point_without_shingle():
    rows = np.arange(6.0).reshape(3, 2)
    assert (Shingles(SMALL._replace(shingle=1)).of(rows) == rows).all()


def test_contenders_learn_their_warm_up_and_are_closed():
    told = []

    class Quiet:
        def __init__(self, setup):
            told.append(setup)

        def run(self, rows, do=Do.BOTH):
            told.append(len(rows))
            return 1.0

        def close(self):
            told.append("closed")

    kind = Kind(Quiet, lambda setup: 5, lambda: None)
    with lined_up(SMALL, np.zeros((9, 2)), {"quiet": kind}) as entries:
        assert entries["quiet"].start == 5
    assert told == [SMALL, 5, "closed"]


def test_who_is_absent_is_named_once_with_the_way_to_get_it(monkeypatch, capsys):
    kind = Kind(KINDS["krcf"].make, KINDS["krcf"].warm, lambda: "install it so")
    monkeypatch.setitem(KINDS, "absent", kind)
    assert peers.present(["codisp", "absent"]) == ["codisp"]
    assert peers.present(["absent"]) == []
    said = capsys.readouterr().err
    assert said.count("install it so") == 1
    assert "absent is LEFT OUT" in said


@pytest.mark.usefixtures("java")
def test_the_java_loop_scores_as_krcf_does():
    """30 trees, 64 samples, 3,000 records after as many: two implementations of one forest.

    Over eight seeds of each, the ratio of the means lay within 0.974 to 1.039 (krcf to krcf of
    another seed: 0.959 to 1.035) and the correlation within 0.84 to 0.94 (0.88 to 0.94).
    """
    setup = Setup(features=1, shingle=4, trees=30, sample_size=64)
    values = seasonal(6_000, 1, seed=5).values
    rust = peers.krcf_forest(setup)
    expected = []
    for point in values.tolist():
        expected.append(rust.score(point))
        rust.update(point)
    loop = JavaLoop(setup)
    try:
        blocks = [loop.ask(values[at : at + 700], Do.BOTH) for at in range(0, 6_000, 700)]
    finally:
        loop.close()
    assert all(took > 0 for took, _ in blocks)
    scores = np.concatenate([scores for _, scores in blocks])
    assert np.isfinite(scores).all()
    assert np.mean(scores[3_000:]) / np.mean(expected[3_000:]) == pytest.approx(1.0, abs=0.08)
    assert np.corrcoef(scores[3_000:], expected[3_000:])[0, 1] > 0.8


@pytest.mark.usefixtures("java")
def test_the_java_loop_learns_only_when_it_is_told_to():
    setup = Setup(features=1, shingle=1, trees=10, sample_size=32)
    values = seasonal(300, 1, seed=6).values
    loop = JavaLoop(setup)
    try:
        assert (loop.ask(values, Do.UPDATE)[1] == 0).all()
        once = loop.ask(values, Do.SCORE)[1]
        assert (once == loop.ask(values, Do.SCORE)[1]).all()
        assert (once > 0).all()
    finally:
        loop.close()


@pytest.mark.usefixtures("java")
def test_a_java_loop_that_ends_early_is_an_error():
    loop = JavaLoop(SMALL._replace(trees=-1))
    try:
        with pytest.raises((RuntimeError, BrokenPipeError)):
            loop.ask(np.zeros((1, 2)), Do.BOTH)
    finally:
        loop.close()
