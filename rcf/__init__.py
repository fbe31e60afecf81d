"""Streaming random cut forests: score each record of a stream, then learn it.

    forest = rcf.Forest(features=1, shingle_size=8, seed=7)
    scores = forest.process(values)          # NaN while warming

    detector = rcf.Detector(features=2)      # a forest with a dynamic threshold
    judgements = detector.process(values)    # .score, .threshold, .grade

Needs numpy and numba alone. `rcf.state` draws the memory layout; `rcf.step` is where Python meets
the kernels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rcf.errors import InvalidParameter, RcfError, SnapshotError

if TYPE_CHECKING:
    from rcf.detector import Detector, Judgements
    from rcf.forest import Forest

__all__ = [
    "Detector",
    "Forest",
    "InvalidParameter",
    "Judgements",
    "RcfError",
    "SnapshotError",
    "__version__",
]

__version__ = "0.1.0"

_HOMES = {
    "Forest": "rcf.forest",
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
