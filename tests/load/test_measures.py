"""What `make quality` measures with, on cases worked out by hand."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import numpy as np
import pytest

from load import nab, ranking
from load.labelled import Labelled, collection


def file(length: int, spans: tuple[tuple[int, int], ...], start: int = 0) -> Labelled:
    labels = np.zeros(length)
    for first, last in spans:
        labels[first : last + 1] = 1
    return Labelled("nab", "one", np.zeros((length, 1)), labels, start, spans)


def alone(stream: Labelled, *places: int) -> list[float]:
    """NAB's scores of the profiles for detections at these places."""
    scores = np.zeros(len(stream.values))
    scores[list(places)] = 1.0
    return nab.as_they_came([nab.judged(stream, scores)], len(stream.spans))


def test_a_detection_at_the_start_of_each_window_is_worth_all_and_none_is_worth_nothing() -> None:
    stream = file(1000, ((200, 240), (600, 700)), start=150)
    assert alone(stream) == [0.0, 0.0, 0.0]
    assert alone(stream, 200, 600) == pytest.approx([100.0] * 3, abs=1e-9)
    assert alone(stream, 200, 210, 600, 650) == pytest.approx([100.0] * 3, abs=1e-9)
    half = alone(stream, 200)
    assert half == pytest.approx([50.0, 50.0, 50.0])


def test_late_detections_earn_less_and_false_alarms_cost() -> None:
    stream = file(1000, ((200, 240),), start=150)
    late = (2 / (1 + math.exp(-5 / 41)) - 1) / (2 / (1 + math.exp(-5)) - 1)
    assert alone(stream, 240)[0] == pytest.approx(100 * (late + 1) / 2)
    # Before any window a false alarm costs its whole price, and the warm-up is not scored.
    assert alone(stream, 160, 200) == pytest.approx([94.5, 89.0, 100 - 11 / 3])
    assert alone(stream, 149, 200)[0] == pytest.approx(100.0)
    # Far behind a window too; right behind it less.
    assert alone(stream, 200, 900)[0] == pytest.approx(94.5)
    assert 94.5 < alone(stream, 200, 245)[0] < 100.0


def test_the_best_threshold_is_one_for_all_files_and_alerts_are_spaced() -> None:
    first, second = file(500, ((200, 240),)), file(500, ((300, 340),))
    scores = np.zeros(500), np.zeros(500)
    scores[0][[200, 201, 205]], scores[1][300], scores[1][50] = 3.0, 2.0, 1.0
    ranked = [nab.judged(*pair) for pair in zip((first, second), scores, strict=True)]
    assert nab.best_thresholds(ranked, 2) == pytest.approx([100.0] * 3, abs=1e-9)
    assert nab.spaced(np.array([10, 11, 51, 92, 140]), 40).tolist() == [10, 92, 140]


def test_ranking_of_a_few_records() -> None:
    labels, scores = np.array([0.0, 1, 0, 1]), np.array([1.0, 4, 2, 2])
    assert ranking.auc(scores, labels) == pytest.approx(3.5 / 4)
    assert ranking.average_precision(scores, labels) == pytest.approx((1 + 2 / 3) / 2)
    assert ranking.best_f1(scores, labels) == pytest.approx(0.8)
    assert ranking.trailing_mean(scores, 2).tolist() == [1.0, 2.5, 3.0, 2.0]


def test_the_surface_forgives_what_is_near() -> None:
    labels = np.zeros(400)
    labels[200:210] = 1
    exact, near, far = np.zeros(400), np.zeros(400), np.zeros(400)
    exact[200:210], near[212:222], far[20:30] = 1.0, 1.0, 1.0
    exact, near, far = (scores + 1e-6 * np.arange(400) for scores in (exact, near, far))
    found = [ranking.vus_pr(scores, labels) for scores in (exact, near, far)]
    assert found == sorted(found, reverse=True)
    assert ranking.vus_pr(exact, labels, window=0) == pytest.approx(1.0)
    assert found[1] > 4 * found[2]


def test_files_are_read_with_their_windows_and_labels(tmp_path: Path) -> None:
    folders = tmp_path / "nab", tmp_path / "asd"
    for folder in folders:
        folder.mkdir()
    times = [f"2014-04-01 00:0{minute}:00" for minute in (0, 1, 1, 2, 3)]
    lines = "".join(f"{time},{i}\n" for i, time in enumerate(times))
    with gzip.open(folders[0] / "a.csv.gz", "wt") as out:
        out.write("timestamp,value\n" + lines)
    windows = {"a.csv": [["2014-04-01 00:01:00.000000", "2014-04-01 00:02:00.000000"]]}
    (folders[0] / "windows.json").write_text(json.dumps(windows))
    with gzip.open(folders[1] / "b.csv.gz", "wt") as out:
        out.write("t,m0,m1,label\n0,1,2,-1\n1,3,4,0\n2,5,6,1\n")
    (first,), (second,) = (collection(folder) for folder in folders)
    assert first.spans == ((1, 3),) and first.labels.tolist() == [0, 1, 1, 1, 0]
    assert second.values.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert second.start == 1 and second.labels.tolist() == [0, 0, 1]
