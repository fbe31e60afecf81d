"""Eight trees at a time, from their roots to the leaves."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from rcf.vector.emit import (
    F32,
    I8,
    I16,
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

        entry = builder.basic_block
        loop = builder.append_basic_block("descend")
        done = builder.append_basic_block("leaves")
        short = ir.VectorType(I16, LANES)
        zeros16 = ir.Constant(short, [0] * LANES)
        lanes_32 = ir.VectorType(I32, LANES)
        two = ir.Constant(I64, 2)  # a node's mass lies in the second next word

        def gather_masses(children: list[Any]) -> Any:
            vector = ir.Constant(short, ir.Undefined)
            for lane in range(LANES):
                mass_word = builder.add(builder.add(bases[lane], children[lane]), two)
                place = builder.bitcast(builder.gep(at["nodes"], [mass_word]), I16.as_pointer())
                vector = builder.insert_element(vector, builder.load(place), ir.Constant(I32, lane))
            return builder.uitofp(vector, ir.VectorType(F32, LANES))

        roots = [ir.Constant(I64, 0)] * LANES
        root_mass = gather_masses(roots)
        zeros = constant(F32, LANES, 0.0)
        root_value = value_of(root_mass, zeros, ir.Constant(I64, 0))
        store(builder, root_value, at["value"], ir.Constant(I64, 0))
        builder.store(zeros16, builder.bitcast(at["path"], short.as_pointer()), align=2)
        builder.branch(loop)

        builder.position_at_end(loop)
        step = builder.phi(I64)
        node = [builder.phi(I64) for _ in range(LANES)]
        mass = builder.phi(root_mass.type)
        ratio = builder.phi(zeros.type)
        depth = builder.phi(lanes_32)
        child = []
        for lane in range(LANES):
            word = builder.load(builder.gep(at["nodes"], [builder.add(bases[lane], node[lane])]))
            dimension = builder.and_(
                builder.lshr(word, ir.Constant(I64, 16)), ir.Constant(I64, 0xFFFF)
            )
            key = builder.load(builder.gep(at["keys"], [dimension]))
            # cut - key is negative exactly where the query goes right: -1 after the shift.
            right = builder.ashr(
                builder.sub(builder.ashr(word, ir.Constant(I64, 32)), key),
                ir.Constant(I64, 63),
            )
            child.append(builder.sub(builder.and_(word, ir.Constant(I64, 0xFFFF)), right))
        below = gather_masses(child)
        one = constant(F32, LANES, 1.0)
        sibling = builder.fdiv(builder.fsub(mass, below), builder.fadd(below, one))
        larger = select(builder, ">", ratio, sibling)
        step_below = builder.add(step, ir.Constant(I64, 1))
        index = builder.mul(step_below, ir.Constant(I64, LANES))
        store(builder, value_of(below, larger, step_below), at["value"], index)
        for lane in range(LANES):
            place = builder.gep(at["path"], [builder.add(index, ir.Constant(I64, lane))])
            builder.store(builder.trunc(child[lane], I16), place)
        # A child weighs less than its parent; a leaf is its own child.
        moved = builder.fcmp_ordered("!=", below, mass)
        deeper = builder.sub(depth, builder.sext(moved, lanes_32))
        for phi, start, following in (
            (step, ir.Constant(I64, 0), step_below),
            (mass, root_mass, below),
            (ratio, zeros, larger),
            (depth, ir.Constant(lanes_32, [0] * LANES), deeper),
            *((n, ir.Constant(I64, 0), c) for n, c in zip(node, child, strict=True)),
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
