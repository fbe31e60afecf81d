"""Compiles what a service needs before its first record, in two processes where nothing is cached.

Compiling runs Python, of which a process runs one thread at a time. So the forest's kernels are
compiled here and those that judge and forecast beside it; each half reads from the cache what the
other one put there.
"""

from __future__ import annotations

import os
import warnings

import numpy as np

from rcf.detector import Detector, rehearse
from rcf.forecaster import Forecaster
from rcf.forest import Forest
from rcf.jit import CACHE_DIRECTORY, compile_beside, marker

JUDGING = "from rcf.compile import judging_kernels; judging_kernels()"
VALUES = np.sin(np.arange(64.0)).reshape(-1, 1)


def compile_kernels() -> None:
    """Compile the kernels that score, judge, forecast, explain, fill and restore, or load them.

    For images, and for services before their first record; without it each is compiled when it is
    used first. Those of one shape of rows (`rcf.special`) and of multi modes are left to that.

    Warns:
        RuntimeWarning: The second process failed; all is compiled in this one.
    """
    compiled = None if CACHE_DIRECTORY is None else marker("all", CACHE_DIRECTORY)
    is_cold = compiled is not None and not compiled.exists()
    beside = None
    try:
        if is_cold and (os.cpu_count() or 1) > 1:
            beside = compile_beside(JUDGING)
        forest_kernels()
        failed = beside is not None and beside.wait() != 0
    except OSError:  # no more processes, or none allowed
        failed = True
    if failed:
        text = "compiling in a second process failed: this one goes on alone"
        warnings.warn(text, RuntimeWarning, stacklevel=2)
    judging_kernels()
    if compiled is not None and is_cold:
        compiled.touch()


def forest_kernels() -> None:
    """Use each kernel of a forest once."""
    forest = Forest(shingle_size=2, trees=2, sample_size=16, seed=1)
    forest.process(VALUES)
    forest.process(VALUES, learn=False)
    forest.attribution(VALUES[-1:])
    forest.impute([[np.nan]])
    forest = Forest.from_bytes(forest.to_bytes())
    forest.set_time_decay(0.01)


def judging_kernels() -> None:
    """Use each kernel around the forests once."""
    forecaster = Forecaster()
    forecaster.process(VALUES)
    forecaster.forecast(1)
    rehearse(Detector(shingle_size=2, trees=2, sample_size=16, seed=1), VALUES)
