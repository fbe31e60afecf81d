"""µs a record, score then update, against krcf (AWS's Rust behind Python), in turns.

Each round gives every contender a block of about 0.3 s on the same records; rounds rotate the
order. A ratio is the median of the rounds' ratios. Both learn the same warm-up first, long enough
that reservoirs are full and sampled points have their steady ages.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from statistics import median

import krcf

import rcf
from load.report import Row, publish
from load.streams import seasonal
from rcf import special
from rcf.row import row_for

TREES = (50, 100)
SHAPES = ((1, 1), (1, 8), (1, 48), (5, 8), (10, 1))
SAMPLE_SIZE = 256
BLOCK_S = 0.3

Contender = Callable[[int, int], None]  #: processes records [start, stop)


def interleaved(
    contenders: dict[str, Contender], start: int, stop: int, rounds: int
) -> dict[str, list[float]]:
    """Seconds a record of each contender in each round.

    Args:
        contenders: Name to a function that processes records [start, stop) of its stream.
        start: First record after the warm-up.
        stop: Length of the stream; contenders begin again at `start` where it ends.
        rounds: Blocks of each contender.
    """
    block, at = {}, dict.fromkeys(contenders, start)
    for name, run in contenders.items():
        began = time.perf_counter()
        run(start, start + 200)
        each = (time.perf_counter() - began) / 200
        block[name] = min(max(200, int(BLOCK_S / each)), stop - start)
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            if at[name] + block[name] > stop:
                at[name] = start
            begin, end = at[name], at[name] + block[name]
            began = time.perf_counter()
            contenders[name](begin, end)
            seconds[name].append((time.perf_counter() - began) / block[name])
            at[name] = end
    return seconds


def compare(features: int, shingle: int, trees: int, rounds: int, warm: int) -> Row:
    """One line of the table: our scores from one walk each, and krcf's, on one stream."""
    records = warm + 60_000
    values = seasonal(records, features, seed=1).values
    points = values.tolist()
    forests = {
        score: rcf.Forest(
            features,
            shingle_size=shingle,
            trees=trees,
            sample_size=SAMPLE_SIZE,
            score=score,
            seed=7,
        )
        for score in ("codisp", "depth")
    }
    theirs = krcf.RandomCutForest(
        {
            "dimensions": features,
            "shingle_size": shingle,
            "num_trees": trees,
            "sample_size": SAMPLE_SIZE,
            "random_seed": 7,
            "output_after": SAMPLE_SIZE,
        }
    )

    def ours(forest: rcf.Forest) -> Contender:
        def run(start: int, stop: int) -> None:
            forest.process(values[start:stop])

        return run

    def krcf_loop(start: int, stop: int) -> None:
        score, update = theirs.score, theirs.update
        for point in points[start:stop]:
            score(point)
            update(point)

    for forest in forests.values():
        forest.process(values[:warm])
    for point in points[:warm]:
        theirs.update(point)
    contenders = {name: ours(forest) for name, forest in forests.items()} | {"krcf": krcf_loop}
    seconds = interleaved(contenders, warm, records, rounds)
    ratio = {
        name: median(k / s for k, s in zip(seconds["krcf"], seconds[name], strict=True))
        for name in forests
    }
    return {
        "trees": trees,
        "features x shingle": f"{features} x {shingle}",
        "codisp µs": 1e6 * median(seconds["codisp"]),
        "depth µs": 1e6 * median(seconds["depth"]),
        "krcf µs": 1e6 * median(seconds["krcf"]),
        "krcf / codisp": ratio["codisp"],
        "krcf / depth": ratio["depth"],
    }


def rows(rounds: int, warm: int) -> Iterator[Row]:
    """The whole table."""
    for trees in TREES:
        for features, shingle in SHAPES:
            yield compare(features, shingle, trees, rounds, warm)


def warm_kernels() -> None:
    """Compile the kernels of the measured row shapes, as a long stream or `rcf warm` would."""
    shapes = {row_for(f * s) for f, s in SHAPES}
    wanted = sorted((row.groups, row.tail) for row in shapes)
    for row in wanted:
        sys.stderr.write(f"compiling, or loading, the kernel for rows {row} …\n")
        special.warm([row])


def main(rounds: int = 7, warm: int = 12_000) -> None:
    """Measure and publish."""
    warm_kernels()
    publish(
        "kernels: score, then update",
        rows(rounds, warm),
        sample_size=SAMPLE_SIZE,
        rounds=rounds,
        warm=warm,
        threads=1,
    )
