"""Where the state of a detector lies besides its forests: one array of words, known by its address.

In their order: the event, what was learnt of scores, which are usual, what has been still, the last
alerts, the last records and their times, what transforms them, what the forest saw of them, and
what was learnt of distances (`rcf.alert.Memory`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rcf import alert, flat, threshold, transform, usual
from rcf.alert import Memory
from rcf.jit import formula, kernel
from rcf.pointer import block_at, section
from rcf.state import F64, Int


class Size(NamedTuple):
    """What the sections' lengths follow from.

    Attributes:
        features: Values a record.
        budget: Alerts allowed in a window; 0 for any number.
        before: Records that are kept.
        coordinates: Of a record as the forest sees it.
        measured: 1 where distances have a threshold of their own, else 0.
    """

    features: Int
    budget: Int
    before: Int
    coordinates: Int
    measured: Int


@formula
def ends(size: Size) -> tuple[Int, Int, Int, Int, Int, Int, Int, Int, Int, Int]:
    """Where each section ends, in words."""
    scores = alert.WORDS + threshold.WORDS
    common = scores + usual.WORDS
    still = common + flat.WORDS * size.features
    alerts = still + size.budget
    rows = alerts + size.before * size.features
    clock = rows + size.before
    transformed = clock + transform.words(size.features)
    seen = transformed + size.before * size.coordinates
    distances = seen + threshold.WORDS * size.measured
    return alert.WORDS, scores, common, still, alerts, rows, clock, transformed, seen, distances


@kernel
def memory_at(address: Int, size: Size) -> Memory:
    """The sections of the words at an address, which somebody keeps alive."""
    event, scores, common, still, alerts, rows, clock, transformed, seen, distances = ends(size)
    words = block_at(address, 8 * distances)
    return Memory(
        section(words, 0, 8 * event, np.float64),
        section(words, 8 * event, 8 * scores, np.float64),
        section(words, 8 * scores, 8 * common, np.float64),
        section(words, 8 * common, 8 * still, np.float64),
        section(words, 8 * still, 8 * alerts, np.float64),
        section(words, 8 * alerts, 8 * rows, np.float64),
        section(words, 8 * rows, 8 * clock, np.float64),
        section(words, 8 * clock, 8 * transformed, np.float64),
        section(words, 8 * transformed, 8 * seen, np.float64),
        section(words, 8 * seen, 8 * distances, np.float64),
    )


def memory_of(words: F64, size: Size) -> Memory:
    """The sections of an array of words, for Python."""
    return Memory(*np.split(words, ends(size)[:-1]))


def fresh(size: Size, weights: F64) -> F64:
    """Words of a series without records; weights of its features, float64 (features,)."""
    words = np.zeros(ends(size)[-1])
    memory = memory_of(words, size)
    memory.event[[alert.BEGAN, alert.REACHED]] = -1.0
    memory.usual[:] = usual.fresh()
    memory.alerts[:] = -np.inf
    memory.transform[:] = transform.fresh(weights)
    return words


def with_budget(words: F64, size: Size, budget: int) -> F64:
    """The same words with room for the alerts of another budget, of which none has been given."""
    memory = memory_of(words.copy(), size)
    memory.event[alert.SAID] = 0.0
    return np.concatenate(memory._replace(alerts=np.full(budget, -np.inf)))


def with_measured(words: F64, size: Size, measured: int) -> F64:
    """The same words with room for what is learnt of distances, none of them seen; or without."""
    memory = memory_of(words, size)
    return np.concatenate(memory._replace(distances=np.zeros(threshold.WORDS * measured)))
