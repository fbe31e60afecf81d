"""Words for writing LLVM vector code: loads, stores, shuffles, and the fixed order of sums."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from rcf.row import FixedRow
from rcf.vector.plain import parts

F32, F64 = ir.FloatType(), ir.DoubleType()
I1, I8, I16, I32, I64 = (ir.IntType(n) for n in (1, 8, 16, 32, 64))

LANES = 8  #: trees that one descent follows at a time


def data(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """First item's address, of an array or of what `pointer` made of one."""
    if isinstance(kind, types.CPointer):
        return value
    return cgutils.create_struct_proxy(kind)(context, builder, value=value).data


def named(context: Any, builder: Any, sig: Any, args: Any, names: tuple[str, ...]) -> Any:
    """Arguments by name, arrays and pointers as addresses; those without a name are left out."""
    return {
        name: data(context, builder, kind, value)
        if isinstance(kind, types.CPointer | types.Array)
        else value
        for name, kind, value in zip(names, sig.args, args, strict=False)
    }


def lane_bases(builder: Any, first: Any, last: Any, stride: Any) -> list[Any]:
    """Where each lane's tree starts: tree `first` + lane, none beyond `last`, times `stride`."""
    bases = []
    for lane in range(LANES):
        tree = builder.add(first, ir.Constant(I64, lane))
        beyond = builder.icmp_signed(">", tree, last)
        bases.append(builder.mul(builder.select(beyond, last, tree), stride))
    return bases


def load(builder: Any, base: Any, index: Any, lanes: int) -> Any:
    """Unaligned load of `lanes` float32 at base[index]."""
    place = builder.bitcast(builder.gep(base, [index]), ir.VectorType(F32, lanes).as_pointer())
    return builder.load(place, align=4)


def store(builder: Any, value: Any, base: Any, index: Any) -> None:
    """Unaligned store of a vector of float32 at base[index]."""
    place = builder.bitcast(builder.gep(base, [index]), value.type.as_pointer())
    builder.store(value, place, align=4)


def constant(kind: Any, lanes: int, value: float) -> Any:
    """A vector with a constant in every lane."""
    return ir.Constant(ir.VectorType(kind, lanes), [value] * lanes)


def part(builder: Any, vector: Any, start: int, lanes: int) -> Any:
    """`lanes` lanes of a vector from `start` on."""
    mask = ir.Constant(ir.VectorType(I32, lanes), list(range(start, start + lanes)))
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), mask)


def select(builder: Any, op: str, a: Any, b: Any) -> Any:
    """Lane by lane a where `a op b`, else b."""
    return builder.select(builder.fcmp_ordered(op, a, b), a, b)


def splat(builder: Any, value: Any, lanes: int = LANES) -> Any:
    """A vector with `value` in every lane."""
    kind = ir.VectorType(value.type, lanes)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(I32, 0))
    mask = ir.Constant(ir.VectorType(I32, lanes), [0] * lanes)
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), mask)


def load_lanes(builder: Any, base: Any, index: Any, kind: Any) -> Any:
    """Eight items at base[index], aligned to one item."""
    place = builder.bitcast(builder.gep(base, [index]), ir.VectorType(kind, LANES).as_pointer())
    return builder.load(place, align=2 if kind == I16 else 4 if kind == F32 else 8)


def folded_sum(builder: Any, vector: Any) -> Any:
    """Sum of the lanes, halves onto halves."""
    lanes = vector.type.count
    while lanes > 1:
        lanes //= 2
        vector = builder.fadd(part(builder, vector, 0, lanes), part(builder, vector, lanes, lanes))
    return builder.extract_element(vector, ir.Constant(I32, 0))


def halves_added(builder: Any, vector: Any) -> Any:
    """The upper half of a vector added to the lower."""
    half = vector.type.count // 2
    return builder.fadd(part(builder, vector, 0, half), part(builder, vector, half, half))


def widened(builder: Any, vector: Any) -> Any:
    """A vector of 1, 2, 4 or 8 lanes as one of 8, the rest 0."""
    lanes = vector.type.count
    if lanes == 8:
        return vector
    mask = ir.Constant(ir.VectorType(I32, 8), [i if i < lanes else lanes for i in range(8)])
    return builder.shuffle_vector(vector, constant(F32, lanes, 0.0), mask)


def sums_of_eight(builder: Any, vectors: list[Any]) -> Any:
    """Vector of the folded sums of eight vectors of eight lanes; the additions of `_fold`."""
    half = 4
    while len(vectors) > 1:
        pairs = zip(vectors[::2], vectors[1::2], strict=True)
        low = [i for i in range(16) if i % (2 * half) < half]
        high = [i + half for i in low]
        kind = ir.VectorType(I32, 8)
        vectors = [
            builder.fadd(
                builder.shuffle_vector(a, b, ir.Constant(kind, low)),
                builder.shuffle_vector(a, b, ir.Constant(kind, high)),
            )
            for a, b in pairs
        ]
        half //= 2
    return vectors[0]


def row_gap(context: Any, builder: Any, kind: Any, row: Any, place: Any, query: Any) -> Any:
    """Eight lanes whose folded sum is the gap between the row at `place` and the query's row."""

    def step(start: Any, n: int, total: Any) -> Any:
        beyond = builder.fsub(
            load(builder, place, start, 2 * n), load(builder, query, start, 2 * n)
        )
        gap = select(builder, ">", beyond, constant(F32, 2 * n, 0.0))
        return builder.fadd(total, widened(builder, halves_added(builder, gap)))

    return over_groups(context, builder, kind, row, constant(F32, LANES, 0.0), step)


def over_groups(
    context: Any,
    builder: Any,
    kind: Any,
    row: Any,
    zero: Any,
    step: Callable[[Any, int, Any], Any],
) -> Any:
    """Fold `step(start, dimensions, total)` over the groups of a row.

    Args:
        context: Numba's target.
        builder: Where code is emitted.
        kind: Numba type of the row's shape.
        row: Its value.
        zero: What the total starts from.
        step: Emits the code of one group and returns the total.

    Returns:
        The total: straight code for a fixed row, a loop otherwise.
    """
    if isinstance(kind, FixedRow):
        total = zero
        for start, n in parts(kind.shape):
            total = step(context.get_constant(types.intp, start), n, total)
        return total
    groups, tail = (builder.extract_value(row, i) for i in range(2))
    place = cgutils.alloca_once_value(builder, zero)
    with cgutils.for_range(builder, groups) as loop:
        start = builder.mul(loop.index, context.get_constant(types.intp, 16))
        builder.store(step(start, 8, builder.load(place)), place)
    start = builder.mul(groups, context.get_constant(types.intp, 16))
    for n in (4, 2, 1):
        is_n = builder.icmp_signed("==", tail, ir.Constant(tail.type, n))
        with builder.if_then(is_n):
            builder.store(step(start, n, builder.load(place)), place)
    return builder.load(place)
