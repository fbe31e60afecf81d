"""Eight trees at a time, from their roots to the leaves."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from rcf.row import FixedRow
from rcf.vector.emit import (
    F32,
    I8,
    I32,
    I64,
    LANES,
    constant,
    lane_bases,
    named,
    select,
    splat,
    store,
)


@intrinsic
def descend(
    typingctx: Any,
    nodes: Any,
    first: Any,
    stride: Any,
    last: Any,
    keys: Any,
    kind: Any,
    path: Any,
    path_value: Any,
    ratios: Any,
    depths: Any,
    row: Any,
    layout: Any,
) -> Any:
    """See `rcf.vector.plain.descend_plain`."""
    whole = types.intp
    signature = whole(
        nodes,
        whole,
        whole,
        whole,
        keys,
        whole,
        path,
        path_value,
        ratios,
        depths,
        row,
        layout,
    )

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        names = (
            *("nodes", "first", "stride", "last", "keys", "kind"),
            *("path", "value", "ratios", "depths"),
        )
        at = named(context, builder, sig, args, names)
        is_codisp = splat(builder, builder.icmp_signed("==", at["kind"], ir.Constant(I64, 0)))
        is_depth = splat(builder, builder.icmp_signed("==", at["kind"], ir.Constant(I64, 2)))

        def value_of(mass: Any, ratio: Any, step: Any) -> Any:
            larger = select(builder, ">", mass, ratio)
            below = builder.sitofp(builder.add(step, ir.Constant(I64, 1)), F32)
            inverse = splat(builder, builder.fdiv(ir.Constant(F32, 1.0), below))
            return builder.select(is_codisp, larger, builder.select(is_depth, inverse, mass))

        bases = lane_bases(builder, at["first"], at["last"], at["stride"])
        row_kind, pairs = sig.args[-2], sig.args[-1].layout
        one_dimension = isinstance(row_kind, FixedRow) and row_kind.shape.width == 2
        number = ir.IntType(pairs.bits)
        size = pairs.bits // 8

        entry = builder.basic_block
        loop = builder.append_basic_block("descend")
        done = builder.append_basic_block("leaves")
        lanes_32 = ir.VectorType(I32, LANES)

        def part_of(word: Any, first: int, kind: Any) -> Any:
            """Part of the node's word, or of the words behind it, from byte `first` on."""
            start = builder.bitcast(builder.gep(at["nodes"], [word]), I8.as_pointer())
            place = builder.gep(start, [ir.Constant(I64, first)])
            return builder.load(builder.bitcast(place, kind.as_pointer()))

        def gather_masses(words: list[Any]) -> Any:
            vector = ir.Constant(ir.VectorType(number, LANES), ir.Undefined)
            for lane, word in enumerate(words):
                mass = part_of(word, size * pairs.mass, number)
                vector = builder.insert_element(vector, mass, ir.Constant(I32, lane))
            return builder.uitofp(vector, ir.VectorType(F32, LANES))

        def note_path(step: Any, words: list[Any]) -> None:
            for lane, word in enumerate(words):
                place = builder.gep(at["path"], [builder.add(step, ir.Constant(I64, lane))])
                builder.store(builder.trunc(word, I32), place)

        root_mass = gather_masses(bases)
        zeros = constant(F32, LANES, 0.0)
        root_value = value_of(root_mass, zeros, ir.Constant(I64, 0))
        store(builder, root_value, at["value"], ir.Constant(I64, 0))
        note_path(ir.Constant(I64, 0), bases)
        first_key = builder.load(at["keys"])
        builder.branch(loop)

        builder.position_at_end(loop)
        step = builder.phi(I64)
        node = [builder.phi(I64) for _ in range(LANES)]
        mass = builder.phi(root_mass.type)
        ratio = builder.phi(zeros.type)
        depth = builder.phi(lanes_32)
        child = []
        for lane in range(LANES):
            # Three small loads from one word take less than one load and shifts.
            cut = builder.sext(part_of(node[lane], 4, I32), I64)
            key = first_key
            if not one_dimension:
                dimension = builder.zext(part_of(node[lane], size, number), I64)
                key = builder.load(builder.gep(at["keys"], [dimension]))
            left = builder.zext(part_of(node[lane], 0, number), I64)
            # cut - key is negative exactly where the query goes right.
            right = builder.lshr(builder.sub(cut, key), ir.Constant(I64, 63))
            child.append(builder.add(builder.add(left, right), bases[lane]))
        below = gather_masses(child)
        one = constant(F32, LANES, 1.0)
        sibling = builder.fdiv(builder.fsub(mass, below), builder.fadd(below, one))
        larger = select(builder, ">", ratio, sibling)
        step_below = builder.add(step, ir.Constant(I64, 1))
        index = builder.mul(step_below, ir.Constant(I64, LANES))
        store(builder, value_of(below, larger, step_below), at["value"], index)
        note_path(index, child)
        # A child weighs less than its parent; a leaf is its own child.
        moved = builder.fcmp_ordered("!=", below, mass)
        deeper = builder.sub(depth, builder.sext(moved, lanes_32))
        for phi, start, following in (
            (step, ir.Constant(I64, 0), step_below),
            (mass, root_mass, below),
            (ratio, zeros, larger),
            (depth, ir.Constant(lanes_32, [0] * LANES), deeper),
            *zip(node, bases, child, strict=True),
        ):
            phi.add_incoming(start, entry)
            phi.add_incoming(following, loop)
        all_leaves = builder.icmp_unsigned("==", builder.bitcast(moved, I8), ir.Constant(I8, 0))
        builder.cbranch(all_leaves, done, loop)

        builder.position_at_end(done)
        wide = builder.zext(depth, ir.VectorType(I64, LANES))
        builder.store(wide, builder.bitcast(at["depths"], wide.type.as_pointer()), align=8)
        store(builder, larger, at["ratios"], ir.Constant(I64, 0))
        return step_below

    return signature, emit
