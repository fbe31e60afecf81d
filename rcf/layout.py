"""How a pair of nodes lies in memory: wide for any forest, narrow for many small ones.

Kernels take a layout as a type (`FixedLayout`), so that its sizes are constants of the code; Python
and interpreted kernels take a `PairLayout`. `rcf.state` draws both. The bits of the scores are the
same.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import intrinsic

from rcf.constant import carry
from rcf.jit import INTERPRETED


class PairLayout(NamedTuple):
    """Sizes and places in a pair's words.

    For node number n of its tree plus the tree's first word, and a pair named by its left node,
    the mass of the node is at ``step * n + mass`` and the branch above the pair at ``step * pair +
    parent`` of the nodes seen as `number`; the row of that branch's box is at ``row_step * pair +
    row`` of the nodes seen as `box_row`.

    Attributes:
        words: int64 words a pair.
        bits: Bits of a node's number, a dimension and a mass.
        step: Numbers of that size in a word.
        mass: See above.
        parent: Likewise.
        row_step: Likewise.
        row: Likewise.
        others: Bits of a node's word that are not its cut, dimension and left child.
        keeps_range: Whether the sum of sides of a box is kept in the pair; else it is summed again.
        keeps_peaks: Whether the largest key of each block of slots is kept; else all are searched.
        more_rows: Whether a forest that runs out of rows for boxes gets more; else it keeps the
            boxes of larger branches alone.
        number: dtype of `bits` bits.
        origin: dtype of a place in the store, -1 for none, and of a count of kept points' uses.
        box_row: dtype of the number of a box's row.
    """

    words: int
    bits: int
    step: int
    mass: int
    parent: int
    row_step: int
    row: int
    others: int
    keeps_range: bool
    keeps_peaks: bool
    more_rows: bool
    number: Any
    origin: Any
    box_row: Any


WIDE = PairLayout(
    words=4,
    bits=16,
    step=4,
    mass=8,
    parent=9,
    row_step=2,
    row=5,
    others=0,
    keeps_range=True,
    keeps_peaks=True,
    more_rows=True,
    number=np.uint16,
    origin=np.int32,
    box_row=np.int32,
)
NARROW = PairLayout(
    words=2,
    bits=8,
    step=8,
    mass=2,
    parent=3,
    row_step=8,
    row=11,
    others=0xFFFF0000,
    keeps_range=False,
    keeps_peaks=False,
    more_rows=False,
    number=np.uint8,
    origin=np.int16,
    box_row=np.uint8,
)


class FixedLayout(types.Type):
    """Type of a layout that is part of the type; its values carry nothing."""

    def __init__(self, narrow: bool) -> None:
        self.layout = NARROW if narrow else WIDE
        super().__init__(name=f"FixedLayout({'narrow' if narrow else 'wide'})")


carry(FixedLayout, "layout", PairLayout._fields)


@intrinsic(prefer_literal=True)
def _fixed_layout(typingctx: Any, narrow: Any) -> Any:
    if not isinstance(narrow, types.BooleanLiteral):
        return None

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return context.get_dummy_value()

    return FixedLayout(narrow.literal_value)(narrow), emit


def layout_of(narrow: bool) -> PairLayout:
    """NARROW or WIDE."""
    return NARROW if narrow else WIDE


#: Layout given by a literal truth value.
fixed_layout: Any = layout_of if INTERPRETED else _fixed_layout
