"""One 64-bit state per tree: randomness that can be stored, restored and repeated.

Source: splitmix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators",
figure 17). Period 2^64 per tree; seeds of trees are outputs of one splitmix64 stream.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rcf.jit import kernel
from rcf.state import U64, Int

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_DOUBLE = 2.0**-53


@kernel
def next_u64(states: U64, tree: Int) -> Any:
    """Advance `states[tree]` and return 64 random bits.

    Args:
        states: uint64 (trees,), changed in place.
        tree: Index of the tree.
    """
    z = states[tree] + _GAMMA
    states[tree] = z
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    return z ^ (z >> np.uint64(31))


@kernel
def uniform(states: U64, tree: Int) -> float:
    """Uniform on [0, 1), 53 bits."""
    return np.float64(next_u64(states, tree) >> np.uint64(11)) * _DOUBLE


@kernel
def hashed(states: U64, tree: Int, salt: Int) -> float:
    """Uniform on [0, 1), a function of `states[tree]` and `salt`; no state changes."""
    z = states[tree] ^ (np.uint64(salt) * _GAMMA)
    for _ in range(2):
        z = (z ^ (z >> np.uint64(30))) * _MIX_1
        z = (z ^ (z >> np.uint64(27))) * _MIX_2
        z = z ^ (z >> np.uint64(31))
    return np.float64(z >> np.uint64(11)) * _DOUBLE


def seed_states(seed: int, count: int, first: int = 0) -> U64:
    """Independent states for trees `first` … from one seed in [0, 2^64). uint64 (count,)."""
    steps = np.arange(first + 1, first + count + 1, dtype=np.uint64)
    z = np.uint64(seed) + steps * _GAMMA
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    return z ^ (z >> np.uint64(31))
