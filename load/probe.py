"""`python -m load.probe LIBRARY FEATURES SHINGLE TREES SAMPLE BOX_MASS FORESTS`: bytes a forest.

They are told as JSON.

Runs in a process of its own, so that nothing else is in its memory. One forest more than is counted
is made and taught first: it loads the kernels and whatever else is loaded once.
"""

from __future__ import annotations

import gc
import json
import sys
from typing import Any

import psutil  # type: ignore[import-untyped]  # ships no annotations

from load import ours, peers
from load.contender import Setup
from load.streams import seasonal


def probe(library: str, setup: Setup, forests: int) -> dict[str, float]:
    """Bytes a forest that has learnt `setup.warm` records.

    Returns:
        rss: What the process grew by, a forest.
        state: What one forest takes on disk.
        nbytes: What the forest says that it takes, where it says so.
    """
    values = seasonal(setup.warm, setup.features, seed=1).values
    points = values.tolist()
    process = psutil.Process()

    def taught(number: int) -> Any:
        one = setup._replace(seed=number)
        if library == "ours":
            forest = ours.forest(one)
            forest.update(values)
            return forest
        theirs = peers.krcf_forest(one)
        for point in points:
            theirs.update(point)
        return theirs

    kept = [taught(0)]
    gc.collect()
    before = process.memory_info().rss
    kept += [taught(number) for number in range(1, forests + 1)]
    gc.collect()
    found = {"rss": (process.memory_info().rss - before) / forests}
    if library == "ours":
        found["nbytes"] = kept[-1].nbytes
        found["state"] = len(kept[-1].to_bytes())
    else:
        found["state"] = len(kept[-1].to_msgpack())
    return found


def main(library: str, *numbers: str) -> None:
    """Print what was found."""
    features, shingle, trees, sample_size, box_mass, forests = map(int, numbers)
    setup = Setup(features, shingle, trees, sample_size, box_mass=box_mass)
    print(json.dumps(probe(library, setup, forests)))


if __name__ == "__main__":
    main(*sys.argv[1:])
