"""Makes the block of a forest, and a larger one when a forest needs more room than most."""

from __future__ import annotations

import math

import numpy as np

from rcf import score as folds
from rcf import state
from rcf.arguments import real, whole
from rcf.decay import decay_in_force
from rcf.errors import InvalidParameter
from rcf.rng import seed_states
from rcf.state import U8, Shape

#: The ring of the store spans this many mean lifetimes of a sampled point (1 / decay records):
#: all but e^-4 = 1.8 % of them leave before the ring comes round; the others are kept beside it.
_RING_LIFETIMES = 4.0
_LONGEST_RING = 40  #: … and at most this many sample sizes, where the decay is small or 0
#: The least memory is taken where the ring and the points kept beside it take about as much.
_SMALL_RING_LIFETIMES = 3.0
#: Room for the points that outlive the ring: so many standard deviations above their mean number.
#: A forest that outgrows it gets a block of its own, twice the memory where many lie in one.
_KEPT_DEVIATIONS, _SMALL_KEPT_DEVIATIONS = 4.0, 5.0
_POINTS_A_ROW = 11  #: sampled points to each box of a small forest


def new_block(
    features: int,
    *,
    shingle_size: int,
    trees: int,
    sample_size: int,
    time_decay: float | None,
    score: str,
    output_after: int | None,
    initial_accept_fraction: float,
    box_mass: int,
    seed: int,
    small: bool = False,
) -> U8:
    """Block of a forest that has learnt nothing; arguments and errors of `rcf.Forest`.

    With `small`, it takes the least memory: a shorter ring, and the narrow layout if that fits.
    """
    features = whole("features", features, 1, state.MAX_DIMENSIONS)
    shingle_size = whole("shingle_size", shingle_size, 1, state.MAX_DIMENSIONS // features)
    trees = whole("trees", trees, 1, 10_000)
    sample_size = whole("sample_size", sample_size, 1, state.MAX_SAMPLE_SIZE)
    decay = default_decay(sample_size) if time_decay is None else time_decay
    decay = decay_in_force(real("time_decay", decay, 0.0, 1.0), sample_size)
    if not isinstance(score, str) or score not in folds.NAMES:
        raise InvalidParameter("score", score, ", ".join(folds.NAMES))
    warmup = max(1, min(64, sample_size // 4)) if output_after is None else output_after
    warmup = whole("output_after", warmup, 1, 2**31)
    box_mass = whole("box_mass", box_mass, 1, state.MAX_SAMPLE_SIZE)
    accepted = real("initial_accept_fraction", initial_accept_fraction, 0.0, 1.0)
    seed = whole("seed", seed, 0, 2**64 - 1)

    lifetimes = _SMALL_RING_LIFETIMES if small else _RING_LIFETIMES
    deviations = _SMALL_KEPT_DEVIATIONS if small else _KEPT_DEVIATIONS
    ring = _ring_records(shingle_size, sample_size, decay, lifetimes)
    shape = Shape(
        features,
        shingle_size,
        trees,
        sample_size,
        ring,
        _outliving(trees, sample_size, decay, ring, deviations),
        box_mass,
        _rows(trees, sample_size, box_mass),
        0,
    )
    if small:
        rows = 2 + max(trees, trees * sample_size // _POINTS_A_ROW)
        little = shape._replace(rows=rows, narrow=1)
        shape = little if state.fits_narrow(little) else shape
    most = trees * sample_size + shape.parked
    if shape.ring_floats + most * shape.dimensions >= 2**31:
        raise InvalidParameter(
            "sample_size",
            sample_size,
            "trees x sample_size x features x shingle_size below 2^31",
        )
    block = state.allocate(shape)
    forest = state.open_block(block)
    forest.rng[:] = seed_states(seed, trees)
    forest.header[state.OUTPUT_AFTER] = warmup
    forest.header[state.SCORE] = folds.NAMES[score]
    forest.reals[state.INITIAL_ACCEPT] = accepted
    forest.reals[state.DECAY] = decay
    forest.reals[state.SHRINKAGE] = -math.expm1(-decay)
    return block


def grown(block: U8) -> U8:
    """The block with room for more boxes, or for more points that outlive the ring."""
    old = state.open_block(block)
    shape = state.shape_of(old.header)
    if old.header[state.ROWS_FREE] < shape.trees and shape.layout.more_rows:
        most = 1 + shape.trees * shape.pairs
        shape = shape._replace(rows=min(shape.rows + shape.rows // 8 + shape.trees, most))
    else:
        most = shape.trees * shape.sample_size
        shape = shape._replace(kept=min(2 * shape.kept, most) + 1)
    return resized(old, shape)


def resized(old: state.Forest, shape: Shape) -> U8:
    """A block of `shape`, which differs in `kept` and `rows` alone, with the content of `old`."""
    block = state.allocate(shape)
    forest = state.open_block(block)
    header = forest.header.copy()
    for name in state.SECTIONS:
        source, target = getattr(old, name), getattr(forest, name)
        n = min(len(source), len(target))
        target[:n] = source[:n]
    places = slice(state.PLACES, None)
    forest.header[places] = header[places]
    forest.header[state.KEPT] = shape.kept
    forest.header[state.ROWS] = shape.rows
    added = np.arange(old.header[state.ROWS], shape.rows)
    free = int(old.header[state.ROWS_FREE])
    forest.free_rows[free : free + len(added)] = added
    forest.header[state.ROWS_FREE] = free + len(added)
    return block


def default_decay(sample_size: int) -> float:
    """1 / (10 sample_size), everyone's default."""
    return 1.0 / (10.0 * sample_size)


def _rows(trees: int, sample_size: int, box_mass: int) -> int:
    """Boxes to make room for at first: about as many as there are branches above `box_mass`."""
    if box_mass == 1:
        return trees * (sample_size + 1) + 1
    return 1 + trees * min(sample_size + 1, 2 + 5 * sample_size // (2 * (box_mass + 1)))


def _ring_records(shingle_size: int, sample_size: int, decay: float, lifetimes: float) -> int:
    longest = _LONGEST_RING * sample_size
    rate = _leaving(sample_size, decay)
    # The product first: 1 / rate overflows for the smallest decays.
    wanted = math.ceil(lifetimes / rate) if rate * longest > lifetimes else longest
    return max(min(wanted, longest), 2 * shingle_size, 64)


def _outliving(trees: int, sample_size: int, decay: float, ring: int, deviations: float) -> int:
    """Room for the points that are sampled longer than the ring holds them.

    A record is in a tree `age` records later with chance p = sample_size rate e^(-rate age). The
    mean number of those that any tree holds, the sum of 1 - (1 - p)^trees over all ages beyond the
    ring, is an integral in closed form: the sum of (1 - (1 - p)^k) / k over the trees, / rate.
    """
    most = trees * sample_size
    rate = _leaving(sample_size, decay)
    mean = float(most)
    if rate * ring > 1e-9:
        miss = math.log1p(-sample_size * rate * math.exp(-rate * ring))
        k = np.arange(1, trees + 1)
        mean = float(np.sum(-np.expm1(k * miss) / k)) / rate
    return min(1 + math.ceil(mean + deviations * math.sqrt(mean)), most + 1)


def _leaving(sample_size: int, decay: float) -> float:
    """Share of a tree's points that leave with each record; no more than one point can."""
    return min(decay, 1.0 / sample_size)
