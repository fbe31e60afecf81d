"""The time-decayed weighted reservoir behind each tree, skipping ahead to the next acceptance.

Item t with u ~ U(0, 1) gets key E_t exp(-decay t), E_t = -ln u, and the smallest keys stay
(Efraimidis and Spirakis 2006, A-Res, with weights exp(decay t); its logarithm is the key of AWS).
Once a reservoir is full with largest key L, item t is accepted exactly if E_t < h_t with
h_t = L exp(decay t), and no item of t + 1 … t + n is accepted with probability
exp(-(h_{t+1} + … + h_{t+n})), a geometric sum. So the next acceptance is drawn in closed form
when L changes, and a tree that accepts nothing costs one comparison of integers. At the acceptance,
E_t is an exponential variable given E_t < h_t.

Keys are kept relative to an epoch that follows the stream, so float32 holds them however long it
runs.
"""

from __future__ import annotations

import math

import numpy as np

from rcf.jit import kernel
from rcf.rng import uniform
from rcf.state import (
    BLOCK,
    DECAY,
    GROWTH,
    INITIAL_ACCEPT,
    KEY_EPOCH,
    POINTS,
    SHRINKAGE,
    U64,
    Forest,
    Int,
)
from rcf.vector import find_equal, largest_bits

#: Largest decay times age before keys are moved to a later epoch: e^16 leaves float32 ample room.
_EPOCH_SPAN = 16.0
_NEVER = 1 << 62


@kernel
def exponential(rng: U64, tree: Int) -> float:
    """-ln(1 - u), u uniform on [0, 1): standard exponential, finite, may be 0."""
    return -math.log1p(-uniform(rng, tree))


@kernel
def exponential_below(rng: U64, tree: Int, bound: float) -> float:
    """Standard exponential variable given that it is below `bound` > 0.

    Rejection from a uniform where that succeeds at least every third time; inversion above.
    """
    if bound > 2.0:
        return -math.log1p(-uniform(rng, tree) * -math.expm1(-bound))
    while True:
        value = uniform(rng, tree) * bound
        chance = uniform(rng, tree)
        # exp(-x) >= 1 - x, so most draws are accepted without the exponential.
        if chance < 1.0 - value or chance < math.exp(-value):
            return value


@kernel
def largest_slot(forest: Forest, tree: Int) -> Int:
    """Slot of the largest key of a tree."""
    if not forest.layout.keeps_peaks:
        start = tree * forest.slots
        largest = largest_bits(forest.keys, start, start + forest.slots)
        return find_equal(forest.keys, start, start + forest.slots, largest) - start
    peaks = tree * forest.peaks_stride
    best = largest_bits(forest.peaks, peaks, peaks + forest.peaks_stride)
    block = find_equal(forest.peaks, peaks, peaks + forest.peaks_stride, best) - peaks
    slots = tree * forest.slots
    at = slots + block * BLOCK
    return find_equal(forest.keys, at, at + BLOCK, best) - slots


@kernel
def set_key(forest: Forest, tree: Int, slot: Int, key: float) -> None:
    """Store a key, -1 for a free slot, and its block's largest.

    Bits of non-negative floats sort like the floats, and those of -1 below them.
    """
    forest.keys[tree * forest.slots + slot] = key
    if forest.layout.keeps_peaks:
        set_peak(forest, tree, slot // BLOCK)


@kernel
def set_peak(forest: Forest, tree: Int, block: Int) -> None:
    """Recompute the largest key of a block of slots."""
    at = tree * forest.slots + block * BLOCK
    forest.peaks[tree * forest.peaks_stride + block] = largest_bits(forest.keys, at, at + BLOCK)


@kernel
def set_peaks(forest: Forest) -> None:
    """Recompute the largest keys of all blocks, where they are kept."""
    if not forest.layout.keeps_peaks:
        return
    for tree in range(forest.trees):
        for block in range(forest.slots // BLOCK):
            set_peak(forest, tree, block)


@kernel
def set_growth(forest: Forest, sequence: Int) -> None:
    """Note exp(decay x age of the epoch): what turns a stored key into the key at `sequence`."""
    age = sequence - forest.header[KEY_EPOCH]
    forest.reals[GROWTH] = math.exp(forest.reals[DECAY] * age)


@kernel
def schedule(forest: Forest, tree: Int, sequence: Int) -> None:
    """Draw when a full reservoir accepts next, after `sequence`, for which the growth is set."""
    slot = largest_slot(forest, tree)
    bound = np.float64(forest.keys[tree * forest.slots + slot]) * forest.reals[GROWTH]
    decay = forest.reals[DECAY]
    total = exponential(forest.rng, tree)
    if decay > 0.0:
        # h_{t+1} + … + h_{t+n} = bound e^decay (e^(decay n) - 1) / (e^decay - 1).
        steps = math.ceil(math.log1p(total * forest.reals[SHRINKAGE] / bound) / decay)
    else:
        steps = math.ceil(total / bound)
    if not steps < _NEVER:
        forest.due[tree] = _NEVER
    else:
        forest.due[tree] = sequence + max(1, np.int64(steps))


@kernel
def offer_full(forest: Forest, tree: Int) -> tuple[float, Int]:
    """(key, slot to evict) of the item that a full reservoir accepts; the growth is set for it."""
    slot = largest_slot(forest, tree)
    scale = forest.reals[GROWTH]
    bound = np.float64(forest.keys[tree * forest.slots + slot]) * scale
    return exponential_below(forest.rng, tree, bound) / scale, slot


@kernel
def offer_filling(forest: Forest, tree: Int) -> tuple[float, Int]:
    """(key, slot to evict) for a reservoir that is not full.

    Up to the initial acceptance fraction every item is added; beyond it with a chance that falls to
    0 as the reservoir fills; where that fails, an item with a smaller key than the largest takes
    that one's place. Slot -1: nothing is evicted; key -1: the item is not accepted.
    """
    key = exponential(forest.rng, tree) / forest.reals[GROWTH]
    filled = forest.sizes[tree] / forest.sample_size
    fraction = forest.reals[INITIAL_ACCEPT]
    if filled < fraction:
        return key, -1
    if fraction < 1.0:
        chance = 1.0 - (filled - fraction) / (1.0 - fraction)
        if uniform(forest.rng, tree) < chance:
            return key, -1
    slot = largest_slot(forest, tree)
    if np.float32(key) < forest.keys[tree * forest.slots + slot]:
        return key, slot
    return -1.0, -1


@kernel
def move_epoch(forest: Forest, sequence: Int) -> None:
    """Express all keys relative to `sequence`."""
    header = forest.header
    set_growth(forest, sequence)
    scale = forest.reals[GROWTH]
    for i in range(forest.trees * forest.slots):
        if forest.keys[i] >= 0.0:
            forest.keys[i] = np.float64(forest.keys[i]) * scale
    set_peaks(forest)
    header[KEY_EPOCH] = sequence
    forest.reals[GROWTH] = 1.0


@kernel
def is_far(forest: Forest, sequence: Int) -> bool:
    """Whether keys have become small relative to the epoch by `sequence`, which moves it."""
    return bool(forest.reals[DECAY] * (sequence - forest.header[KEY_EPOCH]) > _EPOCH_SPAN)


@kernel
def keep_epoch(forest: Forest, sequence: Int) -> None:
    """Set the growth for `sequence`; move the epoch when keys have become small relative to it."""
    if is_far(forest, sequence):
        move_epoch(forest, sequence)
    else:
        set_growth(forest, sequence)


@kernel
def change_decay(forest: Forest, decay: float) -> None:
    """Give all items to come another decay; those sampled keep the weights they have earned.

    What is still to be drawn depends on the past only through the keys, so drawing the next
    acceptances anew is exact.
    """
    header = forest.header
    sequence = header[POINTS]
    move_epoch(forest, sequence)
    forest.reals[DECAY] = decay
    forest.reals[SHRINKAGE] = -math.expm1(-decay)
    for tree in range(forest.trees):
        if forest.sizes[tree] == forest.sample_size:
            schedule(forest, tree, sequence)
