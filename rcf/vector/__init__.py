"""Vector kernels over box rows and over eight trees at a time, written as LLVM vector code.

Why not plain loops: numba turns short constant loops into scalar code, and LLVM compiles the
`value > cut` of a tree descent into a branch that is mispredicted every second time. Written as
vectors they are 3 to 6 times faster (`load/kernels.py` measures it). Each kernel has a plain twin
(`*_plain`) of the same bits; it documents the meaning, is what tests compare with, and is what runs
with NUMBA_DISABLE_JIT=1.

A **row** holds a box as ``low`` and ``-high``, so that one minimum unites boxes, one maximum gives
the gap to a point and a point is the box ``[x | -x]``. Dimensions stand in groups of eight,
``[8 lows | 8 minus highs]``; what is left over stands in a tail group of 1, 2 or 4 (5 to 7 left
over fill a whole group). Padding is 0 and adds 0. A group keeps a low beside its high, so that
``low + -high`` cancels exactly before sides are summed, however far the data lie from 0.

Sums run over groups in order, lane by lane, then fold 8 lanes to 4, 2, 1: one fixed order on every
processor, whatever its vector width, so the bits do not depend on the machine.

    plain     the twins         rows      union, contact, gap of a group
    descent   roots to leaves   fold      leaves to the first box that contains the query
    search    largest, equal    emit      words for LLVM vector code
"""

from __future__ import annotations

from typing import Any

from rcf.jit import INTERPRETED
from rcf.vector import descent, fold, rows, search
from rcf.vector.plain import (
    LANES,
    box_gap_plain,
    box_touches_plain,
    box_union_plain,
    descend_plain,
    find_equal_plain,
    float_bits_plain,
    fold_plain,
    group_gap_plain,
    largest_bits_plain,
    point_row_plain,
    point_union_plain,
)

if INTERPRETED:
    group_gap: Any = group_gap_plain
    box_gap: Any = box_gap_plain
    point_row: Any = point_row_plain
    point_union: Any = point_union_plain
    box_union: Any = box_union_plain
    box_touches: Any = box_touches_plain
    descend: Any = descend_plain
    fold_paths: Any = fold_plain
    find_equal: Any = find_equal_plain
    largest_bits: Any = largest_bits_plain
    float_bits: Any = float_bits_plain
else:
    group_gap, box_gap = rows.group_gap, rows.box_gap
    point_row, point_union = rows.point_row, rows.point_union
    box_union, box_touches = rows.box_union, rows.box_touches
    descend, fold_paths = descent.descend, fold.fold_paths
    find_equal, largest_bits = search.find_equal, search.largest_bits
    float_bits = search.float_bits

__all__ = [
    "LANES",
    "box_gap",
    "box_gap_plain",
    "box_touches",
    "box_touches_plain",
    "box_union",
    "box_union_plain",
    "descend",
    "descend_plain",
    "find_equal",
    "find_equal_plain",
    "float_bits",
    "float_bits_plain",
    "fold_paths",
    "fold_plain",
    "group_gap",
    "group_gap_plain",
    "largest_bits",
    "largest_bits_plain",
    "point_row",
    "point_row_plain",
    "point_union",
    "point_union_plain",
]
