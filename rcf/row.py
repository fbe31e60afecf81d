"""Shapes of box rows: known while compiling (`FixedRow`) or only while running (`RowShape`).

Kernels take either. With a fixed row the loops over a row unroll and its vectors stay in registers;
each fixed row is a compilation of its own (`rcf.special`). The bits are the same.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import types
from numba.extending import intrinsic

from rcf.constant import carry
from rcf.jit import INTERPRETED


class RowShape(NamedTuple):
    """A row as `rcf.vector` describes it.

    Attributes:
        groups: Groups of eight dimensions.
        tail: Dimensions of the tail group: 0, 1, 2 or 4.
        width: Floats: 16 groups + 2 tail.
    """

    groups: int
    tail: int
    width: int


def row_for(dimensions: int) -> RowShape:
    """Shape of the rows of points of so many dimensions."""
    groups, rest = divmod(dimensions, 8)
    groups, tail = (groups + 1, 0) if rest > 4 else (groups, 4 if rest == 3 else rest)
    return RowShape(groups, tail, 16 * groups + 2 * tail)


class FixedRow(types.Type):
    """Type of a row whose shape is part of the type; its values carry nothing."""

    def __init__(self, groups: int, tail: int) -> None:
        self.shape = RowShape(groups, tail, 16 * groups + 2 * tail)
        super().__init__(name=f"FixedRow({groups}, {tail})")


carry(FixedRow, "shape", RowShape._fields)


@intrinsic(prefer_literal=True)
def _fixed_row(typingctx: Any, groups: Any, tail: Any) -> Any:
    if not isinstance(groups, types.IntegerLiteral) or not isinstance(tail, types.IntegerLiteral):
        return None

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return context.get_dummy_value()

    return FixedRow(groups.literal_value, tail.literal_value)(groups, tail), emit


def _plain_row(groups: int, tail: int) -> RowShape:
    return RowShape(groups, tail, 16 * groups + 2 * tail)


#: Row of a shape given by two literal integers.
fixed_row: Any = _plain_row if INTERPRETED else _fixed_row
