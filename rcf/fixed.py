"""Kernels compiled for one shape of box rows: the bits of those of any shape, in less time."""

from __future__ import annotations

from collections.abc import Callable

from rcf.jit import entry
from rcf.layout import fixed_layout
from rcf.many import run_many
from rcf.row import fixed_row
from rcf.state import F64, I64, U8, Int
from rcf.step import run

Kernel = Callable[[U8, F64, F64, float, bool], int]
ManyKernel = Callable[[I64, I64, F64, F64, bool], int]


@entry
def run_0_1(block: U8, values: F64, scores: F64, stop: float, learn: bool) -> Int:
    """`run_rows` for 1 dimension."""
    return run(block, values, scores, stop, learn, fixed_row(0, 1), fixed_layout(False))


@entry
def run_0_2(block: U8, values: F64, scores: F64, stop: float, learn: bool) -> Int:
    """`run_rows` for 2 dimensions."""
    return run(block, values, scores, stop, learn, fixed_row(0, 2), fixed_layout(False))


@entry
def run_0_4(block: U8, values: F64, scores: F64, stop: float, learn: bool) -> Int:
    """`run_rows` for 3 or 4 dimensions."""
    return run(block, values, scores, stop, learn, fixed_row(0, 4), fixed_layout(False))


@entry
def run_1_0(block: U8, values: F64, scores: F64, stop: float, learn: bool) -> Int:
    """`run_rows` for 5 to 8 dimensions."""
    return run(block, values, scores, stop, learn, fixed_row(1, 0), fixed_layout(False))


@entry
def run_1_1(block: U8, values: F64, scores: F64, stop: float, learn: bool) -> Int:
    """`run_rows` for 9 dimensions."""
    return run(block, values, scores, stop, learn, fixed_row(1, 1), fixed_layout(False))


@entry
def run_1_2(block: U8, values: F64, scores: F64, stop: float, learn: bool) -> Int:
    """`run_rows` for 10 dimensions."""
    return run(block, values, scores, stop, learn, fixed_row(1, 2), fixed_layout(False))


@entry
def run_1_4(block: U8, values: F64, scores: F64, stop: float, learn: bool) -> Int:
    """`run_rows` for 11 or 12 dimensions."""
    return run(block, values, scores, stop, learn, fixed_row(1, 4), fixed_layout(False))


@entry
def run_2_0(block: U8, values: F64, scores: F64, stop: float, learn: bool) -> Int:
    """`run_rows` for 13 to 16 dimensions."""
    return run(block, values, scores, stop, learn, fixed_row(2, 0), fixed_layout(False))


@entry
def run_3_0(block: U8, values: F64, scores: F64, stop: float, learn: bool) -> Int:
    """`run_rows` for 21 to 24 dimensions."""
    return run(block, values, scores, stop, learn, fixed_row(3, 0), fixed_layout(False))


@entry
def run_4_0(block: U8, values: F64, scores: F64, stop: float, learn: bool) -> Int:
    """`run_rows` for 29 to 32 dimensions."""
    return run(block, values, scores, stop, learn, fixed_row(4, 0), fixed_layout(False))


@entry
def run_5_0(block: U8, values: F64, scores: F64, stop: float, learn: bool) -> Int:
    """`run_rows` for 37 to 40 dimensions."""
    return run(block, values, scores, stop, learn, fixed_row(5, 0), fixed_layout(False))


@entry
def run_6_0(block: U8, values: F64, scores: F64, stop: float, learn: bool) -> Int:
    """`run_rows` for 45 to 48 dimensions."""
    return run(block, values, scores, stop, learn, fixed_row(6, 0), fixed_layout(False))


@entry
def run_8_0(block: U8, values: F64, scores: F64, stop: float, learn: bool) -> Int:
    """`run_rows` for 61 to 64 dimensions."""
    return run(block, values, scores, stop, learn, fixed_row(8, 0), fixed_layout(False))


@entry
def run_12_0(block: U8, values: F64, scores: F64, stop: float, learn: bool) -> Int:
    """`run_rows` for 93 to 96 dimensions."""
    return run(block, values, scores, stop, learn, fixed_row(12, 0), fixed_layout(False))


#: Row (groups, tail) -> kernel of its own.
KERNELS: dict[tuple[int, int], Kernel] = {
    (0, 1): run_0_1,
    (0, 2): run_0_2,
    (0, 4): run_0_4,
    (1, 0): run_1_0,
    (1, 1): run_1_1,
    (1, 2): run_1_2,
    (1, 4): run_1_4,
    (2, 0): run_2_0,
    (3, 0): run_3_0,
    (4, 0): run_4_0,
    (5, 0): run_5_0,
    (6, 0): run_6_0,
    (8, 0): run_8_0,
    (12, 0): run_12_0,
}


@entry
def many_0_1(table: I64, series: I64, values: F64, scores: F64, learn: bool) -> Int:
    """`run_narrow` for 1 dimension."""
    return run_many(table, series, values, scores, learn, fixed_row(0, 1), fixed_layout(True))


@entry
def many_0_2(table: I64, series: I64, values: F64, scores: F64, learn: bool) -> Int:
    """`run_narrow` for 2 dimensions."""
    return run_many(table, series, values, scores, learn, fixed_row(0, 2), fixed_layout(True))


@entry
def many_0_4(table: I64, series: I64, values: F64, scores: F64, learn: bool) -> Int:
    """`run_narrow` for 3 or 4 dimensions."""
    return run_many(table, series, values, scores, learn, fixed_row(0, 4), fixed_layout(True))


@entry
def many_1_0(table: I64, series: I64, values: F64, scores: F64, learn: bool) -> Int:
    """`run_narrow` for 5 to 8 dimensions."""
    return run_many(table, series, values, scores, learn, fixed_row(1, 0), fixed_layout(True))


@entry
def many_2_0(table: I64, series: I64, values: F64, scores: F64, learn: bool) -> Int:
    """`run_narrow` for 13 to 16 dimensions."""
    return run_many(table, series, values, scores, learn, fixed_row(2, 0), fixed_layout(True))


#: The same for many forests of the narrow layout.
MANY: dict[tuple[int, int], ManyKernel] = {
    (0, 1): many_0_1,
    (0, 2): many_0_2,
    (0, 4): many_0_4,
    (1, 0): many_1_0,
    (2, 0): many_2_0,
}
