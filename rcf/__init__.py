"""Streaming random cut forests: score each record of a stream, then learn it.

    forest = rcf.Forest(features=1, shingle_size=8, seed=7)
    scores = forest.process(values)          # NaN while warming

    detector = rcf.Detector(features=2)      # forests, a threshold, and what to say when
    judgements = detector.process(values)    # .score, .threshold, .grade, .confidence, …

    shares = forest.attribution(values)      # why: .high and .low sum to the score

    forests = rcf.Forests(1_000_000, shingle_size=8)      # small ones, 22 KB each
    scores = forests.process(series, values)              # records of series in any order

Needs numpy and numba alone.

A forest is one block of bytes (`rcf.state` draws it):

    header, reservoir words | nodes: pairs of siblings | boxes: a row each | keys, slots | store

One point's way through it; the file is where to change what it says:

    forest    checks the records and hands the block and them to one compiled entry
    run       opens the block of the forest that each segment of the records is for
    step      scores and learns the shingles of some records
    tile      takes these into the ring, as many as eight trees may learn before the next eight
    points    the ring of records, where a point is the place at which its shingle starts
    path      eight trees at a time, from the root to the leaf that the cuts lead to
    score     from the leaf up to the first box that holds the point: what its insertion would do
    box       the box of a branch, kept or recomputed from its points
    reservoir which trees' turn it is, whose place the point takes, and when the next turn comes
    tree      insertion beside the node that a random cut parts from it; deletion of the evicted
    cut       the draw of that cut, and the words that hold it
    pair      what is written in a pair of nodes, whichever its layout
    vector    the few loops of the above that are written for the machine, beside plain twins

What else it says of a record, by the same walk:

    ask          the border; nothing is learnt
    attribution  the score's shares per dimension, above and below
    density      how crowded it is around a point, and how far that is from it
    neighbours   the sampled points that its paths end at
    field        what each tree would put in the place of missing coordinates
    hotspots     where the last records crowd; no walk, DBSCAN
    faces        how far a point lies beyond each side of a box      shares   what comes back
    dialects     parameters of Amazon's services in our words

What is decided, and what is expected:

    smooth    trailing means, where changes began  usual      which scores are usual in a series
    threshold from which score on                  flat       series that do not move
    alert     what is said, and what held back     memory     where all this lies
    judge     records and scores of many series    detector   all of it, over two forests
    forecast  what a series will do next           regression a forecast that learns
    band      one that holds a stated share        forecaster all three for one series
    gaps      what stands for missing values       series     all that is learnt of one series
    measured  distances, before records are learnt

Around it:

    transform features of different units side by side         scale  where a value lies in its own
    snapshot  bytes, and back
    forests   many forests, a series each          archive   a million of them, and back
    fixed     kernels for one shape of rows        special   when they take over
    block     makes a forest's block, and larger ones
    merge     forests become one                   decay     how soon a forest forgets
    layout    wide and narrow pairs of nodes       constant  sizes that are part of the code
    jit       how all are compiled and kept        callee    … each once, linked as a whole
    compile   all of them before the first record
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rcf.errors import InvalidParameter, RcfError, SnapshotError

if TYPE_CHECKING:
    from rcf.compile import compile_kernels
    from rcf.detector import Detector
    from rcf.forecaster import Forecaster
    from rcf.forest import Forecast, Forest
    from rcf.forests import Forests
    from rcf.gaps import filled
    from rcf.hotspots import Hotspot
    from rcf.judge import Judgements
    from rcf.neighbours import Neighbour
    from rcf.series import Series, Told
    from rcf.shares import Shares
    from rcf.transform import Original, Transform

__all__ = [
    "Detector",
    "Forecast",
    "Forecaster",
    "Forest",
    "Forests",
    "Hotspot",
    "InvalidParameter",
    "Judgements",
    "Neighbour",
    "Original",
    "RcfError",
    "Series",
    "Shares",
    "SnapshotError",
    "Told",
    "Transform",
    "__version__",
    "compile_kernels",
    "filled",
]

__version__ = "0.1.0"

_HOMES = {
    "Forecast": "rcf.forest",
    "Forecaster": "rcf.forecaster",
    "Forest": "rcf.forest",
    "Forests": "rcf.forests",
    "Detector": "rcf.detector",
    "Hotspot": "rcf.hotspots",
    "Judgements": "rcf.judge",
    "compile_kernels": "rcf.compile",
    "filled": "rcf.gaps",
    "Series": "rcf.series",
    "Told": "rcf.series",
    "Neighbour": "rcf.neighbours",
    "Shares": "rcf.shares",
    "Original": "rcf.transform",
    "Transform": "rcf.transform",
}


def __getattr__(name: str) -> Any:
    """Load numba when the first class is asked for, not when the package is imported."""
    if name in _HOMES:
        from importlib import import_module

        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'rcf' has no attribute {name!r}")
