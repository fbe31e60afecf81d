"""µs a record when Python hands over one a call, as an array or as a list, beside krcf's two calls.

The same forest with a block a call stands beside it: the difference is the price of the border.
"""

from __future__ import annotations

from load.contender import Setup, interleaved, micros, ratios
from load.kernels import RECORDS
from load.ours import OneByOne, warm_kernels
from load.peers import KINDS, Kind, lined_up, present
from load.report import Row, publish, told
from load.streams import seasonal

SETUPS = tuple(Setup(f, s, 50, 256) for f, s in ((1, 1), (1, 8), (5, 8), (10, 1)))
RATIOS = (("krcf", "array"), ("krcf", "list"), ("array", "block"))


def _one_by_one(*, lists: bool) -> Kind:
    return Kind(lambda setup: OneByOne(setup, lists=lists), KINDS["codisp"].warm, lambda: None)


def compare(setup: Setup, rounds: int) -> Row:
    """One line of the table."""
    values = seasonal(setup.warm + RECORDS, setup.features, seed=1).values
    kinds = {
        "array": _one_by_one(lists=False),
        "list": _one_by_one(lists=True),
        "block": KINDS["codisp"],
        **{name: KINDS[name] for name in present(["krcf"])},
    }
    with lined_up(setup, values, kinds) as entries:
        seconds = interleaved(entries, values, rounds)
    return {
        "trees x sample": setup.size,
        "features x shingle": setup.shape,
        **{f"{name} µs": micros(each) for name, each in seconds.items()},
        **ratios(seconds, RATIOS),
    }


def main(rounds: int = 7, setups: tuple[Setup, ...] = SETUPS) -> None:
    """Measure and publish."""
    warm_kernels((setup.features, setup.shingle) for setup in setups)
    rows = told("one record a call", (compare(setup, rounds) for setup in setups))
    publish("one record a call: score, then update", rows, rounds=rounds, threads=1)
