"""Many series in one call: records a second in random order, as series outgrow the caches.

`million` feeds 1,000,000 series, and saves and loads them; it needs 23 GB of memory and 18 GB of
disk, so it runs only when it is named.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from load.report import Row, publish, told
from rcf import Forests, fixed, special
from rcf.state import F64, I64

SHINGLE = 8
CACHED = 40  #: series whose forests fit the second-level cache
SIZES = (1_000, 10_000, 100_000)
ROUNDS = 7
RECORDS = 60_000  #: a measurement
WARM = 1_500  #: records of a series until its reservoirs are full and its ring has come round
PATTERNS = 500  #: series that are warmed; the others start as copies of them


def stream(records: int, series: int, seed: int) -> tuple[I64, F64]:
    """Records of series in random order: a season, noise, and one spike in a thousand."""
    random = np.random.default_rng(seed)
    numbers = random.integers(0, series, records)
    values = 10 * np.sin(np.arange(records) / 30 + numbers) + random.normal(size=records)
    return numbers, values + np.where(random.random(records) < 0.001, 30, 0)


def warmed(series: int, trees: int, sample_size: int) -> Forests:
    """Forests in their steady state: the first learn, the others are copies of their state."""
    forests = Forests(series, shingle_size=SHINGLE, trees=trees, sample_size=sample_size, seed=1)
    some = min(series, PATTERNS)
    numbers = np.tile(np.arange(some), WARM)
    forests.process(numbers, stream(some * WARM, some, 0)[1])
    patterns = [i for i in range(some) if i not in forests.grown]
    first = 0
    for slab in forests.slabs:
        for i in range(max(first, some), first + len(slab)):
            slab[i - first] = forests.block(patterns[i % len(patterns)])
        first += len(slab)
    return forests


def seconds(forests: Forests, records: int, seed: int) -> float:
    """Wall-clock seconds to score and learn records of random series."""
    numbers, values = stream(records, len(forests), seed)
    began = time.perf_counter()
    forests.process(numbers, values)
    return time.perf_counter() - began


def rows() -> Iterator[Row]:
    """Each number of series beside one that fits the cache, in turns."""
    for trees, sample_size in ((8, 64), (8, 126)):
        cached = warmed(CACHED, trees, sample_size)
        for series in SIZES:
            many = warmed(series, trees, sample_size)
            pairs = [
                (seconds(cached, RECORDS, turn), seconds(many, RECORDS, turn))
                for turn in range(ROUNDS)
            ]
            yield {
                "trees x sample": f"{trees} x {sample_size}",
                "series": series,
                "bytes a series": many.nbytes // series,
                "µs a record": statistics.median(far for _, far in pairs) / RECORDS * 1e6,
                "records/s": round(RECORDS / statistics.median(far for _, far in pairs)),
                f"of the rate at {CACHED}": statistics.median(near / far for near, far in pairs),
            }


def warm_kernels() -> None:
    """Compile what many series of this shape run, as a long stream would."""
    sys.stderr.write("compiling, or loading, the kernel for many series …\n")
    assert (1, 0, 1) in fixed.KERNELS
    special.warm([(1, 0, 1)])


def main() -> None:
    """Measure and publish."""
    warm_kernels()
    publish("many series in one call, 1 x 8", told("series", rows()))


def said(what: str) -> None:
    """One line of progress."""
    sys.stderr.write(f"\r{what:70}")
    sys.stderr.flush()


def million() -> None:
    """Create, feed, save and load 1,000,000 series of 8 x 64, and publish what each takes."""
    series, fed = 1_000_000, 3_000_000
    warm_kernels()
    began = time.perf_counter()
    forests = warmed(series, trees=8, sample_size=64)
    made = time.perf_counter() - began
    took = []
    for turn in range(10):
        said(f"fed {turn * fed // 10:,} of {fed:,} records")
        took.append(seconds(forests, fed // 10, turn))
    last = forests.process(*stream(1000, series, 99))
    size = forests.nbytes
    with tempfile.TemporaryDirectory(prefix="rcf-million-", dir=Path.cwd()) as folder:
        path = Path(folder) / "million.rcfa"
        began = time.perf_counter()
        forests.save(path, lambda done, total: said(f"saved {done:,} of {total:,}"))
        saved = time.perf_counter() - began
        stored = path.stat().st_size
        following = forests.process(*stream(1000, series, 100))
        del forests
        began = time.perf_counter()
        forests = Forests.load(path, lambda done, total: said(f"loaded {done:,} of {total:,}"))
        loaded = time.perf_counter() - began
    assert np.all(np.isfinite(last))
    same = np.array_equal(forests.process(*stream(1000, series, 100)), following)
    sys.stderr.write("\n")
    row: Row = {
        "series": series,
        "GB in memory": size / 1e9,
        "bytes a series": size // series,
        "s to make and warm": made,
        "records/s": round(fed / 10 / statistics.median(took)),
        "s to save": saved,
        "GB on disk": stored / 1e9,
        "s to load": loaded,
        "goes on alike": str(same),
    }
    publish("a million series, 8 x 64, 1 x 8", [row])
