"""Labelled streams as `make quality` reads them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np

from load.labelled import collection
from load.quality import trailing_mean


def test_the_mean_of_the_last_scores() -> None:
    assert trailing_mean(np.array([1.0, 4, 2, 2]), 2).tolist() == [1.0, 2.5, 3.0, 2.0]


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
