"""Records of many series, some of them far more popular than others, all from one seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from load.streams import seasonal

POOL = 100_000
"""Records that are made beforehand; traffic that is longer repeats them."""


@dataclass(frozen=True)
class Traffic:
    """What is sent.

    Attributes:
        series: how many keys.
        zipf: exponent of their popularity: series k gets a share in proportion to k^-zipf; 0 gives
            each the same.
        seed: same seed, same records in the same order.
    """

    series: int = 10_000
    zipf: float = 1.1
    seed: int = 1

    def pool(self, records: int = POOL) -> list[tuple[int, bytes]]:
        """The series, from 0 on, and the value of each record: {"values":[…]}."""
        rng = np.random.default_rng(self.seed)
        weights = np.arange(1, self.series + 1, dtype=np.float64) ** -self.zipf
        chosen = rng.choice(self.series, records, p=weights / weights.sum())
        values = seasonal(records, 1, seed=self.seed).values[:, 0]
        return [
            (series, f'{{"values":[{value!r}]}}'.encode())
            for series, value in zip(chosen.tolist(), values.tolist(), strict=True)
        ]

    def warming(self, each: int) -> Iterator[tuple[int, bytes]]:
        """So many records of every series, in turns: all of them are made, and have learnt."""
        values = seasonal(max(each, 1), 1, seed=self.seed + 1).values[:, 0].tolist()
        for value in values[:each]:
            line = f'{{"values":[{value!r}]}}'.encode()
            yield from ((series, line) for series in range(self.series))


def key_of(series: int) -> str:
    """The key of a series."""
    return f"series-{series}"
