"""µs a record when it is scored and not learnt: this forest, krcf and AWS's Java, in turns."""

from __future__ import annotations

from load.contender import Do, Setup
from load.kernels import compare
from load.ours import warm_kernels
from load.peers import present
from load.report import publish, told

SETUPS = tuple(Setup(f, s, 50, 256) for f, s in ((1, 1), (1, 8), (1, 48), (5, 8)))
CONTENDERS = ("codisp", "depth", "krcf", "Java")


def main(rounds: int = 7, setups: tuple[Setup, ...] = SETUPS) -> None:
    """Measure and publish."""
    warm_kernels((setup.features, setup.shingle) for setup in setups)
    names = present(CONTENDERS)
    rows = (compare(setup, names, rounds, Do.SCORE) for setup in setups)
    publish("score only", told("score only", rows), rounds=rounds, threads=1)
