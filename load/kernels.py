"""µs a record, score then update, of this forest and its peers, in turns.

Each round gives every contender a block of about 0.3 s on the same stream; rounds rotate the order.
A ratio is the median of the rounds' ratios. All learn a warm-up first, long enough that reservoirs
are full, sampled points have their steady ages, and Java has compiled its loop.
"""

from __future__ import annotations

from load.contender import Do, Setup, interleaved, micros, ratios
from load.ours import warm_kernels
from load.peers import KINDS, lined_up, present
from load.report import Row, publish, told
from load.streams import seasonal

SHAPES = ((1, 1), (1, 8), (1, 48), (5, 8), (10, 1), (32, 1))
SETUPS = (
    *(Setup(f, s, trees, 256) for trees in (30, 50, 100) for f, s in SHAPES),
    Setup(1, 8, 50, 1024),
)
CONTENDERS = ("codisp", "depth", "krcf", "Java", "river", "rrcf")
RATIOS = (
    ("krcf", "codisp"),
    ("Java", "codisp"),
    ("river", "codisp"),
    ("rrcf", "codisp"),
    ("krcf", "depth"),
    ("Java", "depth"),
    ("codisp", "depth"),
)
RECORDS = 60_000  # after the warm-up; whoever is through begins again


def compare(setup: Setup, names: list[str], rounds: int, do: Do = Do.BOTH) -> Row:
    """Medians and ratios of one configuration."""
    values = seasonal(setup.warm + RECORDS, setup.features, seed=1).values
    with lined_up(setup, values, {name: KINDS[name] for name in names}) as entries:
        seconds = interleaved(entries, values, rounds, do)
    return {
        "trees x sample": setup.size,
        "features x shingle": setup.shape,
        **{f"{name} µs": micros(each) for name, each in seconds.items()},
        **ratios(seconds, RATIOS),
    }


def main(rounds: int = 7, setups: tuple[Setup, ...] = SETUPS) -> None:
    """Measure and publish: one table of times, one of ratios."""
    warm_kernels((setup.features, setup.shingle) for setup in setups)
    names = present(CONTENDERS)
    rows = list(told("kernels", (compare(setup, names, rounds) for setup in setups)))
    settings = {"rounds": rounds, "threads": 1}
    publish("kernels: score, then update", [without(row, " / ") for row in rows], **settings)
    publish("kernels: how many times as long", [without(row, " µs") for row in rows], **settings)


def without(row: Row, mark: str) -> Row:
    """The columns whose names do not hold a mark."""
    return {name: value for name, value in row.items() if mark not in name}
