"""MB a forest, in memory and on disk, of this forest and of krcf, each in a process of its own.

Resident memory is what a process grows by for each of many forests after a stream's warm-up. On
disk is `to_bytes` of ours, and MessagePack, the smaller of its two forms, of krcf. Ours is also
told with bounding boxes of large branches alone (`box_mass`), which changes no score.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache

from load.contender import Setup
from load.ours import warm_kernels
from load.peers import present
from load.report import README, Row, publish, told

SHAPES = ((1, 8), (1, 48), (5, 8))
SETUPS = tuple(Setup(f, s, trees, size) for trees, size in ((50, 256), (30, 64)) for f, s in SHAPES)
BOX_MASSES = (1, 24)
FORESTS = {256: 10, 64: 40}  # by sample size: enough that the rest of the process does not count
MB = 1e6


@cache
def measured(library: str, setup: Setup) -> dict[str, float]:
    """What `load.probe` finds in its process."""
    forests = FORESTS[setup.sample_size]
    numbers = (*setup[:4], setup.box_mass, forests)
    done = subprocess.run(
        [sys.executable, "-m", "load.probe", library, *map(str, numbers)],
        cwd=README.parent,
        stdout=subprocess.PIPE,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def compare(setup: Setup) -> Row:
    """One line of the table."""
    ours = measured("ours", setup)
    row: dict[str, str | float] = {
        "trees x sample": setup.size,
        "features x shingle": setup.shape,
        "box mass": setup.box_mass,
        "block MB": ours["nbytes"] / MB,
        "resident MB": ours["rss"] / MB,
        "on disk MB": ours["state"] / MB,
    }
    if present(["krcf"]):
        theirs = measured("krcf", setup._replace(box_mass=1))
        row |= {
            "krcf resident MB": theirs["rss"] / MB,
            "krcf on disk MB": theirs["state"] / MB,
            "resident / krcf": ours["rss"] / theirs["rss"],
            "on disk / krcf": ours["state"] / theirs["state"],
        }
    return row


def rows() -> Iterator[Row]:
    """The whole table."""
    return (compare(setup._replace(box_mass=mass)) for setup in SETUPS for mass in BOX_MASSES)


def main() -> None:
    """Measure and publish."""
    warm_kernels((setup.features, setup.shingle) for setup in SETUPS)
    publish("memory: a forest", told("memory", rows()))
