"""Writes the snapshots that later releases must load: ``python -m tests.rcf.golden``.

Only for a new version of the format; files of older versions stay as they are.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from rcf import Detector, Forest, Forests, Judgements, archive
from rcf.snapshot import VERSION

DATA = Path(__file__).parents[1] / "data"


def stream(start: int, stop: int) -> np.ndarray:
    """Records of a seasonal series with level shifts and repeated values; no randomness."""
    i = np.arange(start, stop)
    first = np.round(8 * np.sin(i / 9)) + 40 * (i % 211 == 0)
    second = (i * i % 37) / 4 + 100 * (i // 700 % 2)
    return np.stack([first, second], axis=1)


def forest() -> Forest:
    """A forest with points kept beyond the ring and a decay that was changed."""
    made = Forest(2, shingle_size=3, trees=7, sample_size=20, time_decay=0.1, seed=20)
    made.update(stream(0, 400))
    made.set_time_decay(1 / 500)
    made.update(stream(400, 1500))
    return made


def detector(multi_mode: str = "none") -> Detector:
    made = Detector(2, trees=9, sample_size=64, seed=21, budget=5, multi_mode=multi_mode)
    made.process(stream(0, 1500))
    return made


def forests() -> Forests:
    """Three series, one of which has been given more room; none has filled its ring."""
    made = Forests(3, shingle_size=2, trees=3, sample_size=16, seed=22)
    made.process(*turns(0, 200))
    made.make_room(1)
    made.process(*turns(200, 300))
    return made


def turns(start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """Series 0, 1 and 2 in turns, and their records."""
    return np.arange(start, stop) % 3, stream(start, stop)[:, 0]


def hexed(judged: Judgements) -> list[list[str]]:
    """A detector's answers, as text that keeps every bit."""
    return [[float(value).hex() for value in part.tolist()] for part in judged]


def main() -> None:
    DATA.mkdir(exist_ok=True)
    model, judge, measuring = forest(), detector(), detector("recall")
    (DATA / f"forest-{VERSION}.rcfs").write_bytes(model.to_bytes())
    (DATA / f"detector-{VERSION}.rcfs").write_bytes(judge.to_bytes())
    (DATA / f"recall-{VERSION}.rcfs").write_bytes(measuring.to_bytes())
    following = {
        "forest": [score.hex() for score in model.process(stream(1500, 1800)).tolist()],
        "detector": hexed(judge.process(stream(1500, 1800))),
        "recall": hexed(measuring.process(stream(1500, 1800))),
    }
    (DATA / f"following-{VERSION}.json").write_text(json.dumps(following, indent=0) + "\n")
    many = forests()
    many.save(DATA / f"forests-{archive.VERSION}.rcfa")
    scores = [score.hex() for score in many.process(*turns(300, 400)).tolist()]
    path = DATA / f"following-forests-{archive.VERSION}.json"
    path.write_text(json.dumps(scores, indent=0) + "\n")


if __name__ == "__main__":
    main()
