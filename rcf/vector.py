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
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from rcf.jit import INTERPRETED
from rcf.row import FixedRow, RowShape
from rcf.state import F32, I32, I64, U16

_F32 = ir.FloatType()
_I1, _I8, _I16, _I32, _I64 = (ir.IntType(n) for n in (1, 8, 16, 32, 64))

LANES = 8  #: trees that one descent follows at a time


# --- rows -----------------------------------------------------------------------------------------


def _parts(row: RowShape) -> list[tuple[int, int]]:
    """(start, dimensions) of each group of a row."""
    parts = [(16 * group, 8) for group in range(row.groups)]
    return [*parts, (16 * row.groups, row.tail)] if row.tail else parts


def _fold(lanes: F32) -> np.float32:
    """Sum of eight lanes as the processor adds them: halves onto halves."""
    while len(lanes) > 1:
        half = len(lanes) // 2
        lanes = lanes[:half] + lanes[half:]
    return np.float32(lanes[0])


def _sides(rows: F32, at: int, row: RowShape) -> F32:
    total = np.zeros(8, np.float32)
    for start, n in _parts(row):
        low = rows[at + start : at + start + n]
        total[:n] += low + rows[at + start + n : at + start + 2 * n]
    return total


def box_gap_plain(boxes: F32, at: int, query: F32, row: RowShape) -> np.float32:
    """Sum over dimensions of how far `query` lies outside the box at `boxes[at:]`.

    Args:
        boxes: float32, rows one after the other.
        at: Where the row starts.
        query: float32 row ``[x | -x]`` of the point.
        row: Shape of a row.

    Returns:
        Delta of Guha et al. 2016, Definition 1, in float32; 0 exactly if the point is inside.
    """
    total = np.zeros(8, np.float32)
    for start, n in _parts(row):
        gap = np.maximum(boxes[at + start : at + start + 2 * n] - query[start : start + 2 * n], 0)
        total[:n] += gap[:n] + gap[n:]
    return _fold(total)


def box_union_plain(
    out: F32, to: int, a: F32, at_a: int, b: F32, at_b: int, row: RowShape
) -> np.float32:
    """Write the union of rows `a[at_a:]` and `b[at_b:]` to `out[to:]`; return its sum of sides.

    `out` may be either of the two. float32; may overflow to infinity.
    """
    width = row.width
    out[to : to + width] = np.minimum(a[at_a : at_a + width], b[at_b : at_b + width])
    return np.float32(-_fold(_sides(out, to, row)))


def box_touches_plain(boxes: F32, at: int, point: F32, row: RowShape) -> bool:
    """Whether the row of `point` reaches a face of the box at `boxes[at:]`.

    The padding of `point` must be 1: padding of boxes is 0, and 0 >= 1 never holds.
    """
    return bool(np.any(boxes[at : at + row.width] >= point[: row.width]))


# --- emitting LLVM --------------------------------------------------------------------------------


def _data(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """First item's address, of an array or of what `pointer` made of one."""
    if isinstance(kind, types.CPointer):
        return value
    return cgutils.create_struct_proxy(kind)(context, builder, value=value).data


def _load(builder: Any, base: Any, index: Any, lanes: int) -> Any:
    """Unaligned load of `lanes` float32 at base[index]."""
    place = builder.bitcast(builder.gep(base, [index]), ir.VectorType(_F32, lanes).as_pointer())
    return builder.load(place, align=4)


def _store(builder: Any, value: Any, base: Any, index: Any) -> None:
    place = builder.bitcast(builder.gep(base, [index]), value.type.as_pointer())
    builder.store(value, place, align=4)


def _constant(kind: Any, lanes: int, value: float) -> Any:
    return ir.Constant(ir.VectorType(kind, lanes), [value] * lanes)


def _slice(builder: Any, vector: Any, start: int, lanes: int) -> Any:
    mask = ir.Constant(ir.VectorType(_I32, lanes), list(range(start, start + lanes)))
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), mask)


def _select(builder: Any, op: str, a: Any, b: Any) -> Any:
    """Lane by lane a where `a op b`, else b."""
    return builder.select(builder.fcmp_ordered(op, a, b), a, b)


def _folded(builder: Any, vector: Any) -> Any:
    """Sum of the lanes, halves onto halves."""
    lanes = vector.type.count
    while lanes > 1:
        lanes //= 2
        vector = builder.fadd(
            _slice(builder, vector, 0, lanes), _slice(builder, vector, lanes, lanes)
        )
    return builder.extract_element(vector, ir.Constant(_I32, 0))


def _halves_added(builder: Any, vector: Any) -> Any:
    half = vector.type.count // 2
    return builder.fadd(_slice(builder, vector, 0, half), _slice(builder, vector, half, half))


def _widened(builder: Any, vector: Any) -> Any:
    """A vector of 1, 2, 4 or 8 lanes as one of 8, the rest 0."""
    lanes = vector.type.count
    if lanes == 8:
        return vector
    mask = ir.Constant(ir.VectorType(_I32, 8), [i if i < lanes else lanes for i in range(8)])
    return builder.shuffle_vector(vector, _constant(_F32, lanes, 0.0), mask)


def _over_groups(
    context: Any, builder: Any, kind: Any, row: Any, zero: Any, step: Callable[[Any, int, Any], Any]
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
        for start, n in _parts(kind.shape):
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


@intrinsic
def _box_gap(typingctx: Any, boxes: Any, at: Any, query: Any, row: Any) -> Any:
    signature = types.float32(boxes, types.intp, query, row)

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        rows = _data(context, builder, sig.args[0], args[0])
        point = _data(context, builder, sig.args[2], args[2])

        def step(start: Any, n: int, total: Any) -> Any:
            box = _load(builder, rows, builder.add(args[1], start), 2 * n)
            beyond = builder.fsub(box, _load(builder, point, start, 2 * n))
            gap = _select(builder, ">", beyond, _constant(_F32, 2 * n, 0.0))
            return builder.fadd(total, _widened(builder, _halves_added(builder, gap)))

        total = _over_groups(context, builder, sig.args[3], args[3], _constant(_F32, 8, 0.0), step)
        return _folded(builder, total)

    return signature, emit


@intrinsic
def _box_union(
    typingctx: Any, out: Any, to: Any, a: Any, at_a: Any, b: Any, at_b: Any, row: Any
) -> Any:
    signature = types.float32(out, types.intp, a, types.intp, b, types.intp, row)

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        to_rows = _data(context, builder, sig.args[0], args[0])
        rows_a = _data(context, builder, sig.args[2], args[2])
        rows_b = _data(context, builder, sig.args[4], args[4])

        def step(start: Any, n: int, total: Any) -> Any:
            row_a = _load(builder, rows_a, builder.add(args[3], start), 2 * n)
            row_b = _load(builder, rows_b, builder.add(args[5], start), 2 * n)
            union = _select(builder, "<", row_a, row_b)
            _store(builder, union, to_rows, builder.add(args[1], start))
            return builder.fadd(total, _widened(builder, _halves_added(builder, union)))

        total = _over_groups(context, builder, sig.args[6], args[6], _constant(_F32, 8, 0.0), step)
        return builder.fneg(_folded(builder, total))

    return signature, emit


@intrinsic
def _box_touches(typingctx: Any, boxes: Any, at: Any, point: Any, row: Any) -> Any:
    signature = types.boolean(boxes, types.intp, point, row)

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        rows = _data(context, builder, sig.args[0], args[0])
        other = _data(context, builder, sig.args[2], args[2])

        def step(start: Any, n: int, total: Any) -> Any:
            box = _load(builder, rows, builder.add(args[1], start), 2 * n)
            reached = builder.fcmp_ordered(">=", box, _load(builder, other, start, 2 * n))
            bits = builder.bitcast(reached, ir.IntType(2 * n))
            any_reached = builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))
            return builder.or_(total, any_reached)

        return _over_groups(context, builder, sig.args[3], args[3], ir.Constant(_I1, 0), step)

    return signature, emit


# --- eight trees at a time ------------------------------------------------------------------------


def descend_plain(
    nodes: I64,
    masses: U16,
    first: int,
    stride: int,
    last: int,
    keys: I64,
    path: U16,
    path_mass: F32,
    path_ratio: F32,
    depths: I64,
) -> int:
    """Follow the existing cuts of trees `first` … `first + 7` from the root to a leaf.

    Args:
        nodes: int64 node words (see `rcf.state`), trees one after the other.
        masses: uint16 mass of each node, laid out like `nodes`.
        first: First tree; a lane beyond tree `last` follows tree `last`.
        stride: Nodes a tree.
        last: Last tree of the forest.
        keys: int64 (dimensions,) order-preserving keys of the query's coordinates.
        path: uint16, out: node at step s of lane i at [8 s + i]; a leaf repeats.
        path_mass: float32, out: that node's mass.
        path_ratio: float32, out: the largest ratio of a sibling's mass to (mass + 1) met on the
            way down to that node; 0 at the root.
        depths: int64 (8,), out: depth of each lane's leaf.

    Returns:
        Steps written, one more than the deepest leaf's depth at least.
    """
    deepest = 0
    walks = []
    for lane in range(LANES):
        base = min(first + lane, last) * stride
        node, walk = 0, [0]
        while True:
            word = int(nodes[base + node])
            child = (word & 0xFFFF) + (int(keys[(word >> 16) & 0xFFFF]) > (word >> 32))
            if child == node:
                break
            node = child
            walk.append(node)
        depths[lane] = len(walk) - 1
        deepest = max(deepest, len(walk))
        walks.append((base, walk))
    for lane, (base, walk) in enumerate(walks):
        ratio, mass = np.float32(0), np.float32(masses[base])
        for step in range(deepest):
            node = walk[min(step, len(walk) - 1)]
            below = np.float32(masses[base + node])
            ratio = max(ratio, (mass - below) / (below + np.float32(1)))
            mass = below
            path[8 * step + lane] = node
            path_mass[8 * step + lane] = mass
            path_ratio[8 * step + lane] = ratio
    return deepest


@intrinsic
def _descend(
    typingctx: Any,
    nodes: Any,
    masses: Any,
    first: Any,
    stride: Any,
    last: Any,
    keys: Any,
    path: Any,
    path_mass: Any,
    path_ratio: Any,
    depths: Any,
) -> Any:
    signature = types.intp(
        nodes, masses, types.intp, types.intp, types.intp, keys, path, path_mass, path_ratio, depths
    )

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        at = {
            name: _data(context, builder, sig.args[i], args[i])
            for i, name in (
                (0, "nodes"),
                (1, "masses"),
                (5, "keys"),
                (6, "path"),
                (7, "mass"),
                (8, "ratio"),
                (9, "depths"),
            )
        }
        bases = []
        for lane in range(LANES):
            tree = builder.add(args[2], ir.Constant(_I64, lane))
            beyond = builder.icmp_signed(">", tree, args[4])
            bases.append(builder.mul(builder.select(beyond, args[4], tree), args[3]))

        entry = builder.basic_block
        loop = builder.append_basic_block("descend")
        done = builder.append_basic_block("leaves")
        short = ir.VectorType(_I16, LANES)
        zeros16 = ir.Constant(short, [0] * LANES)

        def gather_masses(children: list[Any]) -> Any:
            vector = ir.Constant(short, ir.Undefined)
            for lane in range(LANES):
                place = builder.gep(at["masses"], [builder.add(bases[lane], children[lane])])
                vector = builder.insert_element(
                    vector, builder.load(place), ir.Constant(_I32, lane)
                )
            return builder.uitofp(vector, ir.VectorType(_F32, LANES))

        roots = [ir.Constant(_I64, 0)] * LANES
        root_mass = gather_masses(roots)
        zeros = _constant(_F32, LANES, 0.0)
        _store(builder, root_mass, at["mass"], ir.Constant(_I64, 0))
        _store(builder, zeros, at["ratio"], ir.Constant(_I64, 0))
        builder.store(zeros16, builder.bitcast(at["path"], short.as_pointer()), align=2)
        builder.branch(loop)

        builder.position_at_end(loop)
        step = builder.phi(_I64)
        node = [builder.phi(_I64) for _ in range(LANES)]
        mass = builder.phi(root_mass.type)
        ratio = builder.phi(zeros.type)
        places = builder.phi(short)
        depth = builder.phi(short)
        child, moved = [], ir.Constant(_I64, 0)
        for lane in range(LANES):
            word = builder.load(builder.gep(at["nodes"], [builder.add(bases[lane], node[lane])]))
            dimension = builder.and_(
                builder.lshr(word, ir.Constant(_I64, 16)), ir.Constant(_I64, 0xFFFF)
            )
            key = builder.load(builder.gep(at["keys"], [dimension]))
            # cut - key is negative exactly where the query goes right: -1 after the shift.
            right = builder.ashr(
                builder.sub(builder.ashr(word, ir.Constant(_I64, 32)), key), ir.Constant(_I64, 63)
            )
            child.append(builder.sub(builder.and_(word, ir.Constant(_I64, 0xFFFF)), right))
            moved = builder.or_(moved, builder.xor(child[lane], node[lane]))
        below = gather_masses(child)
        here = ir.Constant(short, ir.Undefined)
        for lane in range(LANES):
            here = builder.insert_element(
                here, builder.trunc(child[lane], _I16), ir.Constant(_I32, lane)
            )
        one = _constant(_F32, LANES, 1.0)
        sibling = builder.fdiv(builder.fsub(mass, below), builder.fadd(below, one))
        larger = _select(builder, ">", ratio, sibling)
        step_below = builder.add(step, ir.Constant(_I64, 1))
        index = builder.mul(step_below, ir.Constant(_I64, LANES))
        _store(builder, below, at["mass"], index)
        _store(builder, larger, at["ratio"], index)
        place = builder.bitcast(builder.gep(at["path"], [index]), short.as_pointer())
        builder.store(here, place, align=2)
        deeper = builder.sub(depth, builder.sext(builder.icmp_unsigned("!=", here, places), short))
        for phi, start, following in (
            (step, ir.Constant(_I64, 0), step_below),
            (mass, root_mass, below),
            (ratio, zeros, larger),
            (places, zeros16, here),
            (depth, zeros16, deeper),
            *((n, ir.Constant(_I64, 0), c) for n, c in zip(node, child, strict=True)),
        ):
            phi.add_incoming(start, entry)
            phi.add_incoming(following, loop)
        all_leaves = builder.icmp_signed("==", moved, ir.Constant(_I64, 0))
        builder.cbranch(all_leaves, done, loop)

        builder.position_at_end(done)
        wide = builder.zext(depth, ir.VectorType(_I64, LANES))
        builder.store(wide, builder.bitcast(at["depths"], wide.type.as_pointer()), align=8)
        return step_below

    return signature, emit


@intrinsic
def _float_bits(typingctx: Any, value: Any) -> Any:
    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.sext(builder.bitcast(args[0], _I32), _I64)

    return types.int64(types.float32), emit


def float_bits_plain(value: np.float32) -> int:
    """Bits of a float32 as a signed 32-bit integer."""
    return int(np.float32(value).view(np.int32))


@intrinsic
def _find_equal(typingctx: Any, values: Any, start: Any, stop: Any, wanted: Any) -> Any:
    signature = types.intp(values, types.intp, types.intp, types.int32)

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        base = _data(context, builder, sig.args[0], args[0])
        lanes = ir.VectorType(_I32, 16)
        one = builder.insert_element(
            ir.Constant(lanes, ir.Undefined), args[3], ir.Constant(_I32, 0)
        )
        wanted_lanes = builder.shuffle_vector(
            one, ir.Constant(lanes, ir.Undefined), ir.Constant(ir.VectorType(_I32, 16), [0] * 16)
        )
        entry = builder.basic_block
        check, compare, advance, found, done = (
            builder.append_basic_block(n) for n in ("check", "compare", "advance", "found", "done")
        )
        builder.branch(check)
        builder.position_at_end(check)
        at = builder.phi(_I64)
        at.add_incoming(args[1], entry)
        builder.cbranch(builder.icmp_signed("<", at, args[2]), compare, done)
        builder.position_at_end(compare)
        block = builder.load(builder.bitcast(builder.gep(base, [at]), lanes.as_pointer()), align=4)
        bits = builder.bitcast(builder.icmp_signed("==", block, wanted_lanes), _I16)
        builder.cbranch(builder.icmp_unsigned("!=", bits, ir.Constant(_I16, 0)), found, advance)
        builder.position_at_end(advance)
        following = builder.add(at, ir.Constant(_I64, 16))
        at.add_incoming(following, advance)
        builder.branch(check)
        builder.position_at_end(found)
        lane = builder.cttz(bits, ir.Constant(_I1, 1))
        hit = builder.add(at, builder.zext(lane, _I64))
        builder.branch(done)
        builder.position_at_end(done)
        answer = builder.phi(_I64)
        answer.add_incoming(ir.Constant(_I64, -1), check)
        answer.add_incoming(hit, found)
        return answer

    return signature, emit


def find_equal_plain(values: I32, start: int, stop: int, wanted: int) -> int:
    """First index in [start, stop) with `values[index] == wanted`, or -1; int32.

    `stop - start` is a multiple of 16.
    """
    hits = np.flatnonzero(values[start:stop] == wanted)
    return start + int(hits[0]) if len(hits) else -1


if INTERPRETED:
    box_gap: Any = box_gap_plain
    box_union: Any = box_union_plain
    box_touches: Any = box_touches_plain
    descend: Any = descend_plain
    find_equal: Any = find_equal_plain
    float_bits: Any = float_bits_plain
else:
    box_gap, box_union, box_touches = _box_gap, _box_union, _box_touches
    descend, find_equal, float_bits = _descend, _find_equal, _float_bits
