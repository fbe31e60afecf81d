"""Kernels over box rows: union, contact, and the gap of one group."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from rcf.vector.emit import (
    F32,
    F64,
    I1,
    I32,
    I64,
    constant,
    data,
    folded_sum,
    halves_added,
    load,
    over_groups,
    row_gap,
    select,
    splat,
    store,
    widened,
)


@intrinsic
def group_gap(typingctx: Any, boxes: Any, at: Any, query: Any, begin: Any, dimensions: Any) -> Any:
    """See `rcf.vector.plain.group_gap_plain`."""
    signature = types.float64(boxes, types.intp, query, types.intp, types.intp)

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        rows = data(context, builder, sig.args[0], args[0])
        point = data(context, builder, sig.args[2], args[2])
        place = cgutils.alloca_once_value(builder, ir.Constant(F64, 0.0))
        for n in (8, 4, 2, 1):
            is_n = builder.icmp_signed("==", args[4], ir.Constant(I64, n))
            with builder.if_then(is_n, likely=n == 8):
                real = ir.VectorType(F64, 2 * n)
                box = load(builder, rows, builder.add(args[1], args[3]), 2 * n)
                beyond = builder.fsub(
                    builder.fpext(box, real),
                    builder.fpext(load(builder, point, args[3], 2 * n), real),
                )
                gap = select(builder, ">", beyond, constant(F64, 2 * n, 0.0))
                builder.store(folded_sum(builder, halves_added(builder, gap)), place)
        return builder.load(place)

    return signature, emit


@intrinsic
def box_gap(typingctx: Any, boxes: Any, at: Any, query: Any, row: Any) -> Any:
    """See `rcf.vector.plain.box_gap_plain`."""
    signature = types.float32(boxes, types.intp, query, row)

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        rows = data(context, builder, sig.args[0], args[0])
        point = data(context, builder, sig.args[2], args[2])

        place = builder.gep(rows, [args[1]])
        total = row_gap(context, builder, sig.args[3], args[3], place, point)
        return folded_sum(builder, total)

    return signature, emit


def point_group(builder: Any, values: Any, at: Any, dimensions: Any, start: Any, n: int) -> Any:
    """(vector ``[x | -x]`` of one group of a point, mask of the places that hold a dimension)."""
    first = builder.lshr(start, ir.Constant(I64, 1))
    x = load(builder, values, builder.add(at, first), n)
    rest = splat(builder, builder.trunc(builder.sub(dimensions, first), I32), n)
    lane = ir.Constant(ir.VectorType(I32, n), list(range(n)))
    held = builder.icmp_signed("<", lane, rest)
    twice = ir.Constant(ir.VectorType(I32, 2 * n), list(range(2 * n)))
    both = builder.shuffle_vector(x, builder.fneg(x), twice)
    return both, builder.shuffle_vector(held, held, twice)


@intrinsic
def point_row(
    typingctx: Any,
    out: Any,
    to: Any,
    values: Any,
    at: Any,
    dimensions: Any,
    padding: Any,
    row: Any,
) -> Any:
    """See `rcf.vector.plain.point_row_plain`."""
    whole = types.intp
    signature = types.void(out, whole, values, whole, whole, types.float32, row)

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        rows = data(context, builder, sig.args[0], args[0])
        points = data(context, builder, sig.args[2], args[2])

        def step(start: Any, n: int, total: Any) -> Any:
            point, held = point_group(builder, points, args[3], args[4], start, n)
            filled = builder.select(held, point, splat(builder, args[5], 2 * n))
            store(builder, filled, rows, builder.add(args[1], start))
            return total

        over_groups(context, builder, sig.args[6], args[6], ir.Constant(I1, 0), step)
        return context.get_dummy_value()

    return signature, emit


@intrinsic
def point_union(
    typingctx: Any, out: Any, to: Any, values: Any, at: Any, dimensions: Any, row: Any
) -> Any:
    """See `rcf.vector.plain.point_union_plain`."""
    whole = types.intp
    signature = types.void(out, whole, values, whole, whole, row)

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        rows = data(context, builder, sig.args[0], args[0])
        points = data(context, builder, sig.args[2], args[2])

        def step(start: Any, n: int, total: Any) -> Any:
            point, held = point_group(builder, points, args[3], args[4], start, n)
            filled = builder.select(held, point, constant(F32, 2 * n, 0.0))
            place = builder.add(args[1], start)
            store(
                builder,
                select(builder, "<", load(builder, rows, place, 2 * n), filled),
                rows,
                place,
            )
            return total

        over_groups(context, builder, sig.args[5], args[5], ir.Constant(I1, 0), step)
        return context.get_dummy_value()

    return signature, emit


@intrinsic
def box_union(
    typingctx: Any, out: Any, to: Any, a: Any, at_a: Any, b: Any, at_b: Any, row: Any
) -> Any:
    """See `rcf.vector.plain.box_union_plain`."""
    signature = types.float32(out, types.intp, a, types.intp, b, types.intp, row)

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        to_rows = data(context, builder, sig.args[0], args[0])
        rows_a = data(context, builder, sig.args[2], args[2])
        rows_b = data(context, builder, sig.args[4], args[4])

        def step(start: Any, n: int, total: Any) -> Any:
            row_a = load(builder, rows_a, builder.add(args[3], start), 2 * n)
            row_b = load(builder, rows_b, builder.add(args[5], start), 2 * n)
            union = select(builder, "<", row_a, row_b)
            store(builder, union, to_rows, builder.add(args[1], start))
            return builder.fadd(total, widened(builder, halves_added(builder, union)))

        total = over_groups(context, builder, sig.args[6], args[6], constant(F32, 8, 0.0), step)
        return builder.fneg(folded_sum(builder, total))

    return signature, emit


@intrinsic
def box_touches(typingctx: Any, boxes: Any, at: Any, point: Any, row: Any) -> Any:
    """See `rcf.vector.plain.box_touches_plain`."""
    signature = types.boolean(boxes, types.intp, point, row)

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        rows = data(context, builder, sig.args[0], args[0])
        other = data(context, builder, sig.args[2], args[2])

        def step(start: Any, n: int, total: Any) -> Any:
            box = load(builder, rows, builder.add(args[1], start), 2 * n)
            reached = builder.fcmp_ordered(">=", box, load(builder, other, start, 2 * n))
            bits = builder.bitcast(reached, ir.IntType(2 * n))
            any_reached = builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))
            return builder.or_(total, any_reached)

        return over_groups(context, builder, sig.args[3], args[3], ir.Constant(I1, 0), step)

    return signature, emit
