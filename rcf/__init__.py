"""Streaming random cut forests: score each record of a stream, then learn it.

    forest = rcf.Forest(features=1, shingle_size=8, seed=7)
    scores = forest.process(values)          # NaN while warming

    detector = rcf.Detector(features=2)      # a forest with a dynamic threshold
    judgements = detector.process(values)    # .score, .threshold, .grade

    forests = rcf.Forests(1_000_000, shingle_size=8)      # small ones, 22 KB each
    scores = forests.process(series, values)              # records of series in any order

Needs numpy and numba alone.

A forest is one block of bytes (`rcf.state` draws it):

    header, reservoir words | nodes: pairs of siblings | boxes: a row each | keys, slots | store

One point's way through it; the file is where to change what it says:

    forest    checks the records and hands the block and them to one compiled entry
    step      `run`: takes each record into the ring, and scores and learns its shingle
    points    the ring of records, where a point is the place at which its shingle starts
    path      eight trees at a time, from the root to the leaf that the cuts lead to
    score     from the leaf up to the first box that holds the point: what its insertion would do
    box       the box of a branch, kept or recomputed from its points
    reservoir which trees' turn it is, whose place the point takes, and when the next turn comes
    tree      insertion beside the node that a random cut parts from it; deletion of the evicted
    cut       the draw of that cut, and the words that hold it
    pair      what is written in a pair of nodes, whichever its layout
    vector    the few loops of the above that are written for the machine, beside plain twins

    threshold the score's threshold and grade      flat      series that do not move
    detector  both, over a forest                  snapshot  bytes, and back
    forests   many forests, a series each          archive   a million of them, and back
    many      their records, forest by forest      block     makes a forest's block, and larger ones
    fixed     kernels for one shape of rows        special   when they take over
    layout    wide and narrow pairs of nodes       constant  sizes that are part of the code
    jit       how all are compiled and kept        callee    … those that only kernels call
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rcf.errors import InvalidParameter, RcfError, SnapshotError

if TYPE_CHECKING:
    from rcf.detector import Detector, Judgements
    from rcf.forest import Forest
    from rcf.forests import Forests

__all__ = [
    "Detector",
    "Forest",
    "Forests",
    "InvalidParameter",
    "Judgements",
    "RcfError",
    "SnapshotError",
    "__version__",
]

__version__ = "0.1.0"

_HOMES = {
    "Forest": "rcf.forest",
    "Forests": "rcf.forests",
    "Detector": "rcf.detector",
    "Judgements": "rcf.detector",
}


def __getattr__(name: str) -> Any:
    """Load numba when the first class is asked for, not when the package is imported."""
    if name in _HOMES:
        from importlib import import_module

        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'rcf' has no attribute {name!r}")
