"""Eight trees at a time, from a box up to the first that contains the query."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from rcf.row import FixedRow
from rcf.state import RANGE
from rcf.vector.emit import (
    F32,
    F64,
    I8,
    I32,
    I64,
    LANES,
    constant,
    halves_added,
    load,
    load_lanes,
    named,
    over_groups,
    row_gap,
    select,
    splat,
    store,
    sums_of_eight,
    widened,
)


def gap_lanes(context: Any, builder: Any, kind: Any, row: Any, rows: list[Any], query: Any) -> Any:
    """Vector of the gaps between eight rows, given by their addresses, and the query's row."""
    zero = constant(F32, LANES, 0.0)
    if isinstance(kind, FixedRow) and kind.shape.width == 2:
        # One dimension: eight lows and eight highs make better vectors than eight pairs.
        gaps = []
        for i in range(2):
            side = ir.Constant(zero.type, ir.Undefined)
            for lane, place in enumerate(rows):
                value = builder.load(builder.gep(place, [ir.Constant(I64, i)]))
                side = builder.insert_element(side, value, ir.Constant(I32, lane))
            value = builder.load(builder.gep(query, [ir.Constant(I64, i)]))
            beyond = builder.fsub(side, splat(builder, value))
            gaps.append(select(builder, ">", beyond, zero))
        return builder.fadd(*gaps)

    gaps = [row_gap(context, builder, kind, row, place, query) for place in rows]
    return sums_of_eight(builder, gaps)


def side_lanes(context: Any, builder: Any, kind: Any, row: Any, rows: list[Any]) -> Any:
    """Vector of the sums of sides of eight rows, with the additions of `box_union`."""

    def sides(place: Any) -> Any:
        def step(start: Any, n: int, total: Any) -> Any:
            box = load(builder, place, start, 2 * n)
            return builder.fadd(total, widened(builder, halves_added(builder, box)))

        return over_groups(context, builder, kind, row, constant(F32, LANES, 0.0), step)

    return builder.fneg(sums_of_eight(builder, [sides(place) for place in rows]))


@intrinsic
def fold_paths(
    typingctx: Any,
    nodes: Any,
    box_rows: Any,
    boxes: Any,
    query: Any,
    path: Any,
    path_value: Any,
    starts: Any,
    chances: Any,
    values: Any,
    tops: Any,
    row: Any,
    layout: Any,
) -> Any:
    """See `rcf.vector.plain.fold_plain`."""
    signature = types.void(
        nodes,
        box_rows,
        boxes,
        query,
        path,
        path_value,
        starts,
        chances,
        values,
        tops,
        row,
        layout,
    )

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        names = (
            *("nodes", "box_rows", "boxes", "query"),
            *("path", "x", "starts", "chances", "values", "tops"),
        )
        at = named(context, builder, sig, args, names)
        row_kind, row, pairs = sig.args[-2], args[-2], sig.args[-1].layout
        width = (
            ir.Constant(I64, row_kind.shape.width)
            if isinstance(row_kind, FixedRow)
            else builder.extract_value(row, 2)
        )
        real = ir.VectorType(F64, LANES)
        lanes_32 = ir.VectorType(F32, LANES)
        zero, one = constant(F32, LANES, 0.0), constant(F64, LANES, 1.0)
        eight = ir.Constant(I64, LANES)
        depth = load_lanes(builder, at["starts"], ir.Constant(I64, 0), I64)
        first_value = load_lanes(builder, at["values"], ir.Constant(I64, 0), F64)
        first_top = load_lanes(builder, at["tops"], ir.Constant(I64, 0), I64)
        # Where a path's step lies: the leaf's parent first; paths that have ended stay at the root.
        floor = [ir.Constant(I64, lane) for lane in range(LANES)]

        def above(index: Any, lane: int) -> Any:
            higher = builder.sub(index, eight)
            ended = builder.icmp_signed("<", higher, floor[lane])
            return builder.select(ended, floor[lane], higher)

        leaves = []
        for lane in range(LANES):
            lane_depth = builder.extract_element(depth, ir.Constant(I32, lane))
            leaves.append(builder.add(builder.mul(lane_depth, eight), floor[lane]))
        finished_first = builder.icmp_signed(">", first_top, depth)

        entry = builder.basic_block
        loop = builder.append_basic_block("fold")
        body = builder.append_basic_block("level")
        done = builder.append_basic_block("folded")
        starts = [above(leaf, lane) for lane, leaf in enumerate(leaves)]
        builder.branch(loop)

        builder.position_at_end(loop)
        step = builder.phi(I64)
        level = builder.phi(depth.type)  # of the node below the one that is folded
        value = builder.phi(real)
        top = builder.phi(depth.type)
        finished = builder.phi(finished_first.type)
        indices = [builder.phi(I64) for _ in range(LANES)]
        initial = [
            ir.Constant(I64, 0),
            depth,
            first_value,
            first_top,
            finished_first,
            *starts,
        ]
        for phi, incoming in zip(
            [step, level, value, top, finished, *indices], initial, strict=True
        ):
            phi.add_incoming(incoming, entry)
        ended = builder.icmp_signed("<=", level, ir.Constant(level.type, [0] * LANES))
        bits = builder.bitcast(builder.or_(finished, ended), I8)
        builder.cbranch(builder.icmp_unsigned("!=", bits, ir.Constant(I8, 255)), body, done)

        builder.position_at_end(body)
        # Lanes that are finished go on reading: waiting for their gaps would make a chain of the
        # loop, and the boxes near the root are in the cache anyway.
        rows = []
        side_sums = x = ir.Constant(lanes_32, ir.Undefined)
        for lane in range(LANES):
            at_child = builder.add(indices[lane], eight)
            child = builder.load(builder.gep(at["path"], [at_child]))
            # Siblings share a pair, and a branch's box is filed under its children's.
            left = builder.zext(builder.and_(child, ir.Constant(I32, -2)), I64)
            row_place = builder.mul(left, ir.Constant(I64, pairs.row_step))
            row_place = builder.add(row_place, ir.Constant(I64, pairs.row))
            # Lanes that have ended may meet a branch without a box; they read row 0.
            box = builder.zext(builder.load(builder.gep(at["box_rows"], [row_place])), I64)
            rows.append(builder.gep(at["boxes"], [builder.mul(box, width)]))
            place = ir.Constant(I32, lane)
            if pairs.keeps_range:
                pair = builder.bitcast(builder.gep(at["nodes"], [left]), F32.as_pointer())
                sides = builder.load(builder.gep(pair, [ir.Constant(I64, RANGE)]))
                side_sums = builder.insert_element(side_sums, sides, place)
            x = builder.insert_element(
                x, builder.load(builder.gep(at["x"], [indices[lane]])), place
            )
        gap = gap_lanes(context, builder, row_kind, row, rows, at["query"])
        if not pairs.keeps_range:
            side_sums = side_lanes(context, builder, row_kind, row, rows)
        active = builder.not_(builder.or_(finished, ended))
        outside = builder.and_(active, builder.fcmp_ordered(">", gap, zero))
        chance = builder.fdiv(gap, builder.fadd(side_sums, gap))
        store(builder, chance, at["chances"], builder.mul(step, eight))
        chance_wide, x_wide = builder.fpext(chance, real), builder.fpext(x, real)
        folded = builder.fadd(
            builder.fmul(chance_wide, x_wide),
            builder.fmul(builder.fsub(one, chance_wide), value),
        )
        higher = builder.sub(level, ir.Constant(level.type, [1] * LANES))
        following = [
            builder.add(step, ir.Constant(I64, 1)),
            higher,
            builder.select(outside, folded, value),
            builder.select(outside, higher, top),
            builder.or_(finished, builder.and_(active, builder.not_(outside))),
            *(above(index, lane) for lane, index in enumerate(indices)),
        ]
        end = builder.basic_block
        for phi, incoming in zip(
            [step, level, value, top, finished, *indices], following, strict=True
        ):
            phi.add_incoming(incoming, end)
        builder.branch(loop)

        builder.position_at_end(done)
        for name, result in (("values", value), ("tops", top)):
            place = builder.bitcast(at[name], result.type.as_pointer())
            builder.store(result, place, align=8)
        return context.get_dummy_value()

    return signature, emit
