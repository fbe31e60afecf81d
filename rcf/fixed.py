"""Kernels compiled for one shape of box rows: the bits of those of any shape, in less time."""

from __future__ import annotations

from rcf.jit import entry
from rcf.layout import fixed_layout
from rcf.row import fixed_row
from rcf.run import Kernel, run
from rcf.state import F64, I64, Int


@entry
def wide_0_1(blocks: I64, starts: I64, values: F64, scores: F64, stop: float, learn: bool) -> Int:
    """`run_wide` for 1 dimension."""
    row, layout = fixed_row(0, 1), fixed_layout(False)
    return run(blocks, starts, values, scores, stop, learn, row, layout)


@entry
def wide_0_2(blocks: I64, starts: I64, values: F64, scores: F64, stop: float, learn: bool) -> Int:
    """`run_wide` for 2 dimensions."""
    row, layout = fixed_row(0, 2), fixed_layout(False)
    return run(blocks, starts, values, scores, stop, learn, row, layout)


@entry
def wide_0_4(blocks: I64, starts: I64, values: F64, scores: F64, stop: float, learn: bool) -> Int:
    """`run_wide` for 3 or 4 dimensions."""
    row, layout = fixed_row(0, 4), fixed_layout(False)
    return run(blocks, starts, values, scores, stop, learn, row, layout)


@entry
def wide_1_0(blocks: I64, starts: I64, values: F64, scores: F64, stop: float, learn: bool) -> Int:
    """`run_wide` for 5 to 8 dimensions."""
    row, layout = fixed_row(1, 0), fixed_layout(False)
    return run(blocks, starts, values, scores, stop, learn, row, layout)


@entry
def wide_1_1(blocks: I64, starts: I64, values: F64, scores: F64, stop: float, learn: bool) -> Int:
    """`run_wide` for 9 dimensions."""
    row, layout = fixed_row(1, 1), fixed_layout(False)
    return run(blocks, starts, values, scores, stop, learn, row, layout)


@entry
def wide_1_2(blocks: I64, starts: I64, values: F64, scores: F64, stop: float, learn: bool) -> Int:
    """`run_wide` for 10 dimensions."""
    row, layout = fixed_row(1, 2), fixed_layout(False)
    return run(blocks, starts, values, scores, stop, learn, row, layout)


@entry
def wide_1_4(blocks: I64, starts: I64, values: F64, scores: F64, stop: float, learn: bool) -> Int:
    """`run_wide` for 11 or 12 dimensions."""
    row, layout = fixed_row(1, 4), fixed_layout(False)
    return run(blocks, starts, values, scores, stop, learn, row, layout)


@entry
def wide_2_0(blocks: I64, starts: I64, values: F64, scores: F64, stop: float, learn: bool) -> Int:
    """`run_wide` for 13 to 16 dimensions."""
    row, layout = fixed_row(2, 0), fixed_layout(False)
    return run(blocks, starts, values, scores, stop, learn, row, layout)


@entry
def wide_3_0(blocks: I64, starts: I64, values: F64, scores: F64, stop: float, learn: bool) -> Int:
    """`run_wide` for 21 to 24 dimensions."""
    row, layout = fixed_row(3, 0), fixed_layout(False)
    return run(blocks, starts, values, scores, stop, learn, row, layout)


@entry
def wide_4_0(blocks: I64, starts: I64, values: F64, scores: F64, stop: float, learn: bool) -> Int:
    """`run_wide` for 29 to 32 dimensions."""
    row, layout = fixed_row(4, 0), fixed_layout(False)
    return run(blocks, starts, values, scores, stop, learn, row, layout)


@entry
def wide_5_0(blocks: I64, starts: I64, values: F64, scores: F64, stop: float, learn: bool) -> Int:
    """`run_wide` for 37 to 40 dimensions."""
    row, layout = fixed_row(5, 0), fixed_layout(False)
    return run(blocks, starts, values, scores, stop, learn, row, layout)


@entry
def wide_6_0(blocks: I64, starts: I64, values: F64, scores: F64, stop: float, learn: bool) -> Int:
    """`run_wide` for 45 to 48 dimensions."""
    row, layout = fixed_row(6, 0), fixed_layout(False)
    return run(blocks, starts, values, scores, stop, learn, row, layout)


@entry
def wide_8_0(blocks: I64, starts: I64, values: F64, scores: F64, stop: float, learn: bool) -> Int:
    """`run_wide` for 61 to 64 dimensions."""
    row, layout = fixed_row(8, 0), fixed_layout(False)
    return run(blocks, starts, values, scores, stop, learn, row, layout)


@entry
def wide_12_0(blocks: I64, starts: I64, values: F64, scores: F64, stop: float, learn: bool) -> Int:
    """`run_wide` for 93 to 96 dimensions."""
    row, layout = fixed_row(12, 0), fixed_layout(False)
    return run(blocks, starts, values, scores, stop, learn, row, layout)


@entry
def narrow_0_1(blocks: I64, starts: I64, values: F64, scores: F64, stop: float, learn: bool) -> Int:
    """`run_narrow` for 1 dimension."""
    row, layout = fixed_row(0, 1), fixed_layout(True)
    return run(blocks, starts, values, scores, stop, learn, row, layout)


@entry
def narrow_0_2(blocks: I64, starts: I64, values: F64, scores: F64, stop: float, learn: bool) -> Int:
    """`run_narrow` for 2 dimensions."""
    row, layout = fixed_row(0, 2), fixed_layout(True)
    return run(blocks, starts, values, scores, stop, learn, row, layout)


@entry
def narrow_0_4(blocks: I64, starts: I64, values: F64, scores: F64, stop: float, learn: bool) -> Int:
    """`run_narrow` for 3 or 4 dimensions."""
    row, layout = fixed_row(0, 4), fixed_layout(True)
    return run(blocks, starts, values, scores, stop, learn, row, layout)


@entry
def narrow_1_0(blocks: I64, starts: I64, values: F64, scores: F64, stop: float, learn: bool) -> Int:
    """`run_narrow` for 5 to 8 dimensions."""
    row, layout = fixed_row(1, 0), fixed_layout(True)
    return run(blocks, starts, values, scores, stop, learn, row, layout)


@entry
def narrow_2_0(blocks: I64, starts: I64, values: F64, scores: F64, stop: float, learn: bool) -> Int:
    """`run_narrow` for 13 to 16 dimensions."""
    row, layout = fixed_row(2, 0), fixed_layout(True)
    return run(blocks, starts, values, scores, stop, learn, row, layout)


#: (groups, tail, narrow) of a shape of rows and a layout -> their own kernel.
KERNELS: dict[tuple[int, int, int], Kernel] = {
    (0, 1, 0): wide_0_1,
    (0, 2, 0): wide_0_2,
    (0, 4, 0): wide_0_4,
    (1, 0, 0): wide_1_0,
    (1, 1, 0): wide_1_1,
    (1, 2, 0): wide_1_2,
    (1, 4, 0): wide_1_4,
    (2, 0, 0): wide_2_0,
    (3, 0, 0): wide_3_0,
    (4, 0, 0): wide_4_0,
    (5, 0, 0): wide_5_0,
    (6, 0, 0): wide_6_0,
    (8, 0, 0): wide_8_0,
    (12, 0, 0): wide_12_0,
    (0, 1, 1): narrow_0_1,
    (0, 2, 1): narrow_0_2,
    (0, 4, 1): narrow_0_4,
    (1, 0, 1): narrow_1_0,
    (2, 0, 1): narrow_2_0,
}
