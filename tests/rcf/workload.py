"""Everything the core does, in small: ``python -m tests.rcf.workload`` prints digests of the bits.

Run compiled, interpreted and with checked bounds, it must print the same.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np

from rcf import Detector, Forest, Forests

SIZES = [(1, 1), (2, 3), (5, 1), (1, 8), (11, 1)]


def digest(*parts: bytes) -> str:
    return hashlib.blake2b(b"".join(parts), digest_size=8).hexdigest()


def records(n: int, features: int) -> np.ndarray:
    """Quantised values with repeats, a wide value now and then; no randomness."""
    i = np.arange(n)[:, None] + 7 * np.arange(features)
    rows = np.round(3 * np.sin(i / 5)) + (i * i % 11) / 2
    return rows + np.where(i % 97 == 96, 1e4, 0.0)


def run_forest(features: int, shingle_size: int, score: str) -> str:
    """Fill, evict, meet duplicates, keep points beyond the ring, change the decay, restore."""
    forest = Forest(
        features,
        shingle_size=shingle_size,
        trees=10,
        sample_size=6,
        time_decay=0.25,
        output_after=2,
        score=score,
        seed=features,
    )
    rows = records(260, features)
    parts = [forest.process(rows[:100])]  # the epoch of the keys moves after 64
    forest.set_time_decay(0.001)
    parts.append(forest.process(rows[100:160]))
    forest = Forest.from_bytes(forest.to_bytes())
    parts.append(forest.score(rows[:20]))
    parts += [*forest.attribution(rows[:20]), *forest.distance(rows[:20])]
    near = forest.near_neighbours(rows[:20])
    parts.append(np.array([each.distance for found in near for each in found]))
    parts.append(forest.process(rows[160:]))
    return digest(*(part.tobytes() for part in parts), forest.to_bytes())


def run_detector(multi_mode: str) -> str:
    detector = Detector(2, shingle_size=2, trees=9, sample_size=16, multi_mode=multi_mode, seed=2)
    rows = records(120, 2)
    rows[30:60] = [5.0, 6.0]
    judged = [*detector.process(rows[:90])]
    detector = Detector.from_bytes(detector.to_bytes())
    judged += [*detector.score(rows[60:80])]
    judgements, why = detector.process_explained(rows[90:], every=True)
    judged += [*judgements, *(shares.high for shares in why.values())]
    return digest(*(part.tobytes() for part in judged), detector.to_bytes())


def run_extremes() -> str:
    """Constants, denormals and the largest floats."""
    parts = []
    for scale in (1.4e-45, 1.0, 3.4e38):
        forest = Forest(3, trees=3, sample_size=5, time_decay=0.5, output_after=1, seed=1)
        rows = np.sign(records(60, 3) - 2) * scale
        parts += [forest.process(rows).tobytes(), forest.to_bytes()]
    return digest(*parts)


def run_forests() -> str:
    """Many forests of the narrow layout, one of which needs more room than most."""
    forests = Forests(
        3,
        features=2,
        trees=3,
        sample_size=40,
        output_after=2,
        initial_accept_fraction=1.0,
        box_mass=12,
        seed=4,
    )
    rows = records(150, 2)
    parts = [forests.process(np.arange(150) % 3, rows)]
    parts.append(forests.process(np.ones(40, int), 4.0 ** (np.arange(80).reshape(40, 2) / 2 - 20)))
    parts.append(forests.score(np.arange(20) % 3, rows[:20]))
    assert forests.shape.narrow
    return digest(*(part.tobytes() for part in parts), forests.block(1).tobytes())


def run() -> dict[str, str]:
    scores = ["codisp", "disp", "depth", "codisp", "depth"]
    found = {
        f"{features}x{shingle_size} {score}": run_forest(features, shingle_size, score)
        for (features, shingle_size), score in zip(SIZES, scores, strict=True)
    }
    rest = {"many": run_forests(), "extremes": run_extremes()}
    rest |= {f"detector {mode}": run_detector(mode) for mode in ("none", "recall")}
    return {**found, **rest}


if __name__ == "__main__":
    print(json.dumps(run()))  # noqa: T201  (its output)
