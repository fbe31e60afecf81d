"""The distance of each record before it is learnt, of forests that learn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from rcf.arguments import refuse_invalid
from rcf.ask import measure_rows
from rcf.forest import Forest
from rcf.shares import Shares
from rcf.state import F64, I64

#: Distances of records of which nobody asks for one.
NOT_MEASURED = Shares(np.empty(0), np.empty((0, 0, 0)), np.empty((0, 0, 0)))


def process_measured(
    forests: Sequence[Forest],
    starts: I64,
    rows: F64,
    at_least: float,
    *,
    learn: bool,
    shared: bool,
) -> tuple[tuple[F64, dict[int, Shares]], Shares]:
    """`Forest.process_together`, and the distance of each record before it was learnt.

    Forests that learn take their records in turns, the first of each, then the second of each that
    has one, and so on: a distance is asked of a forest that has learnt what came before its record
    and nothing else. Where each has few records that is a few calls; of one forest, two a record.

    Args:
        forests: As for `Forest.process_together`.
        starts: As there.
        rows: As there.
        at_least: As there.
        learn: As there.
        shared: Whether to say how much of the distance lies where; else shares have no items.

    Returns:
        What `Forest.process_together` does, and the distances of the records.

    Raises:
        InvalidParameter: A value is no finite float32; nothing is learnt.
    """
    refuse_invalid(rows)
    if not learn:
        distances = measured(forests, starts, rows, shared=shared)
        return Forest.process_together(forests, starts, rows, at_least, learn=False), distances
    scores, why = np.empty(len(rows)), dict[int, Shares]()
    distances = _room(forests[0], len(rows), shared)
    for taking, places in _turns(forests, starts):
        _measure(taking, places, places + 1, rows, distances)
        ones = np.arange(len(taking) + 1)
        found, told = Forest.process_together(taking, ones, rows[places], at_least, learn=True)
        scores[places] = found
        for row, shares in told.items():
            why[int(places[row])] = shares
    return (scores, why), distances


def measured(forests: Sequence[Forest], starts: I64, rows: F64, *, shared: bool = False) -> Shares:
    """Distances of records that nobody learns; arguments as above, values checked."""
    distances = _room(forests[0], len(rows), shared)
    _measure(forests, starts[:-1], starts[1:], rows, distances)
    return distances


def _turns(forests: Sequence[Forest], starts: I64) -> Iterator[tuple[Sequence[Forest], I64]]:
    """Forests that have a record in each turn, and which it is."""
    lengths = np.diff(starts)
    shortest = int(lengths.min())
    for turn in range(shortest):
        yield forests, starts[:-1] + turn
    for turn in range(shortest, int(lengths.max())):
        chosen = np.flatnonzero(turn < lengths)
        yield [forests[number] for number in chosen.tolist()], starts[chosen] + turn


def _measure(
    forests: Sequence[Forest], starts: I64, stops: I64, rows: F64, distances: Shares
) -> None:
    blocks = np.array([forest.address for forest in forests])
    measure_rows(blocks, starts, stops, rows, *distances)


def _room(forest: Forest, rows: int, shared: bool) -> Shares:
    shape = forest.shape
    high, low = np.empty((2, rows if shared else 0, shape.shingle_size, shape.features))
    return Shares(np.empty(rows), high, low)
