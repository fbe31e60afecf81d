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
from rcf.state import F32, F64, I32, I64, U16

_F32, _F64 = ir.FloatType(), ir.DoubleType()
_I1, _I8, _I16, _I32, _I64 = (ir.IntType(n) for n in (1, 8, 16, 32, 64))

LANES = 8  #: trees that one descent follows at a time


# --- rows -----------------------------------------------------------------------------------------


def _parts(row: RowShape) -> list[tuple[int, int]]:
    """(start, dimensions) of each group of a row."""
    parts = [(16 * group, 8) for group in range(row.groups)]
    return [*parts, (16 * row.groups, row.tail)] if row.tail else parts


def _fold(lanes: Any) -> Any:
    """Sum of the lanes as the processor adds them: halves onto halves."""
    while len(lanes) > 1:
        half = len(lanes) // 2
        lanes = lanes[:half] + lanes[half:]
    return lanes[0]


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
    return np.float32(_fold(total))


def group_gap_plain(boxes: F32, at: int, query: F32, begin: int, dimensions: int) -> float:
    """Sum over one group of how far `query[begin:]` lies outside the box at `boxes[at + begin:]`.

    Args:
        boxes: float32, rows one after the other.
        at: Where the row starts.
        query: float32 row of the point.
        begin: Where the group starts in both rows.
        dimensions: Dimensions of the group: 1, 2, 4 or 8.

    Returns:
        The sum in float64, which no float32 can make overflow.
    """
    n = dimensions
    box = boxes[at + begin : at + begin + 2 * n].astype(np.float64)
    gap = np.maximum(box - query[begin : begin + 2 * n], 0)
    return float(_fold(gap[:n] + gap[n:]))


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
def _group_gap(typingctx: Any, boxes: Any, at: Any, query: Any, begin: Any, dimensions: Any) -> Any:
    signature = types.float64(boxes, types.intp, query, types.intp, types.intp)

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        rows = _data(context, builder, sig.args[0], args[0])
        point = _data(context, builder, sig.args[2], args[2])
        place = cgutils.alloca_once_value(builder, ir.Constant(_F64, 0.0))
        for n in (8, 4, 2, 1):
            is_n = builder.icmp_signed("==", args[4], ir.Constant(_I64, n))
            with builder.if_then(is_n, likely=n == 8):
                real = ir.VectorType(_F64, 2 * n)
                box = _load(builder, rows, builder.add(args[1], args[3]), 2 * n)
                beyond = builder.fsub(
                    builder.fpext(box, real),
                    builder.fpext(_load(builder, point, args[3], 2 * n), real),
                )
                gap = _select(builder, ">", beyond, _constant(_F64, 2 * n, 0.0))
                builder.store(_folded(builder, _halves_added(builder, gap)), place)
        return builder.load(place)

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
    kind: int,
    path: U16,
    path_mass: F32,
    path_ratio: F32,
    path_value: F32,
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
        kind: Score, a number of `rcf.score`.
        path: uint16, out: node at step s of lane i at [8 s + i]; a leaf repeats.
        path_mass: float32, out: that node's mass.
        path_ratio: float32, out: the largest ratio of a sibling's mass to (mass + 1) met on the
            way down to that node; 0 at the root.
        path_value: float32, out: score of a query that becomes that node's sibling: max(mass,
            ratio), mass, or 1 / (step + 1).
        depths: int64 (8,), out: depth of each lane's leaf.

    Returns:
        Steps written, one more than the deepest leaf's depth at least.
    """
    deepest, one = 0, np.float32(1)
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
            ratio = max(ratio, (mass - below) / (below + one))
            mass = below
            path[8 * step + lane] = node
            path_mass[8 * step + lane] = mass
            path_ratio[8 * step + lane] = ratio
            path_value[8 * step + lane] = (
                max(mass, ratio),
                mass,
                one / np.float32(step + 1),
            )[kind]
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
    kind: Any,
    path: Any,
    path_mass: Any,
    path_ratio: Any,
    path_value: Any,
    depths: Any,
) -> Any:
    whole = types.intp
    signature = whole(
        nodes,
        masses,
        whole,
        whole,
        whole,
        keys,
        whole,
        path,
        path_mass,
        path_ratio,
        path_value,
        depths,
    )

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        names = (
            *("nodes", "masses", "first", "stride", "last", "keys", "kind"),
            *("path", "mass", "ratio", "value", "depths"),
        )
        at = {
            name: _data(context, builder, kind, value)
            if isinstance(kind, types.CPointer | types.Array)
            else value
            for name, kind, value in zip(names, sig.args, args, strict=True)
        }
        is_codisp = _splat(builder, builder.icmp_signed("==", at["kind"], ir.Constant(_I64, 0)))
        is_depth = _splat(builder, builder.icmp_signed("==", at["kind"], ir.Constant(_I64, 2)))

        def value_of(mass: Any, ratio: Any, step: Any) -> Any:
            larger = _select(builder, ">", mass, ratio)
            below = builder.sitofp(builder.add(step, ir.Constant(_I64, 1)), _F32)
            inverse = _splat(builder, builder.fdiv(ir.Constant(_F32, 1.0), below))
            return builder.select(is_codisp, larger, builder.select(is_depth, inverse, mass))

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
        root_value = value_of(root_mass, zeros, ir.Constant(_I64, 0))
        _store(builder, root_value, at["value"], ir.Constant(_I64, 0))
        builder.store(zeros16, builder.bitcast(at["path"], short.as_pointer()), align=2)
        builder.branch(loop)

        builder.position_at_end(loop)
        step = builder.phi(_I64)
        node = [builder.phi(_I64) for _ in range(LANES)]
        mass = builder.phi(root_mass.type)
        ratio = builder.phi(zeros.type)
        places = builder.phi(short)
        depth = builder.phi(short)
        child = []
        for lane in range(LANES):
            word = builder.load(builder.gep(at["nodes"], [builder.add(bases[lane], node[lane])]))
            dimension = builder.and_(
                builder.lshr(word, ir.Constant(_I64, 16)), ir.Constant(_I64, 0xFFFF)
            )
            key = builder.load(builder.gep(at["keys"], [dimension]))
            # cut - key is negative exactly where the query goes right: -1 after the shift.
            right = builder.ashr(
                builder.sub(builder.ashr(word, ir.Constant(_I64, 32)), key),
                ir.Constant(_I64, 63),
            )
            child.append(builder.sub(builder.and_(word, ir.Constant(_I64, 0xFFFF)), right))
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
        _store(builder, value_of(below, larger, step_below), at["value"], index)
        place = builder.bitcast(builder.gep(at["path"], [index]), short.as_pointer())
        builder.store(here, place, align=2)
        moved = builder.icmp_unsigned("!=", here, places)
        deeper = builder.sub(depth, builder.sext(moved, short))
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
        all_leaves = builder.icmp_unsigned("==", builder.bitcast(moved, _I8), ir.Constant(_I8, 0))
        builder.cbranch(all_leaves, done, loop)

        builder.position_at_end(done)
        wide = builder.zext(depth, ir.VectorType(_I64, LANES))
        builder.store(wide, builder.bitcast(at["depths"], wide.type.as_pointer()), align=8)
        return step_below

    return signature, emit


def fold_plain(
    boxes: F32,
    ranges: F32,
    first: int,
    pairs: int,
    last: int,
    query: F32,
    path: U16,
    path_value: F32,
    depths: I64,
    chances: F32,
    values: F64,
    tops: I64,
    row: RowShape,
) -> None:
    """Fold the paths of eight trees from their leaves up, each to the first box with the query.

    Args:
        boxes: float32 rows.
        ranges: float32 sums of sides.
        first: First tree; a lane beyond tree `last` follows tree `last`.
        pairs: Pairs a tree.
        last: Last tree of the forest.
        query: float32 row of the query.
        path: What `descend` wrote.
        path_value: Likewise.
        depths: Likewise.
        chances: float32, out: chance that a cut separates the query from the node s steps above
            the leaf's parent of lane i at [8 s + i], for nodes whose box does not contain it.
        values: float64 (8,), in: score at the leaf; out: folded score.
        tops: int64 (8,), in: depth of the leaf, or more where nothing is to be folded; out: depth
            of the highest node whose box does not contain the query.
        row: Shape of a row.
    """
    for lane in range(LANES):
        tree = min(first + lane, last)
        depth = int(depths[lane])
        for step in range(depth - 1, -1, -1):
            if tops[lane] > depth:
                break
            # Siblings share a pair, and a branch's box is filed under its children's.
            box = tree * pairs + (int(path[8 * (step + 1) + lane]) >> 1)
            gap = box_gap_plain(boxes, box * row.width, query, row)
            if gap == 0:
                break
            chance = gap / (ranges[box] + gap)
            chances[8 * (depth - 1 - step) + lane] = chance
            tops[lane] = step
            folded = np.float64(chance) * np.float64(path_value[8 * step + lane])
            values[lane] = folded + (1.0 - np.float64(chance)) * values[lane]


def _sums_of_eight(builder: Any, vectors: list[Any]) -> Any:
    """Vector of the folded sums of eight vectors of eight lanes; the additions of `_fold`."""
    half = 4
    while len(vectors) > 1:
        pairs = zip(vectors[::2], vectors[1::2], strict=True)
        low = [i for i in range(16) if i % (2 * half) < half]
        high = [i + half for i in low]
        kind = ir.VectorType(_I32, 8)
        vectors = [
            builder.fadd(
                builder.shuffle_vector(a, b, ir.Constant(kind, low)),
                builder.shuffle_vector(a, b, ir.Constant(kind, high)),
            )
            for a, b in pairs
        ]
        half //= 2
    return vectors[0]


def _splat(builder: Any, value: Any, lanes: int = LANES) -> Any:
    """A vector with `value` in every lane."""
    kind = ir.VectorType(value.type, lanes)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(_I32, 0))
    mask = ir.Constant(ir.VectorType(_I32, lanes), [0] * lanes)
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), mask)


def _load_lanes(builder: Any, base: Any, index: Any, kind: Any) -> Any:
    """Eight items at base[index], aligned to one item."""
    place = builder.bitcast(builder.gep(base, [index]), ir.VectorType(kind, LANES).as_pointer())
    return builder.load(place, align=2 if kind == _I16 else 4 if kind == _F32 else 8)


def _gap_lanes(context: Any, builder: Any, kind: Any, row: Any, rows: list[Any], query: Any) -> Any:
    """Vector of the gaps between eight rows, given by their addresses, and the query's row."""
    zero = _constant(_F32, LANES, 0.0)
    if isinstance(kind, FixedRow) and kind.shape.width == 2:
        # One dimension: eight lows and eight highs make better vectors than eight pairs.
        gaps = []
        for i in range(2):
            side = ir.Constant(zero.type, ir.Undefined)
            for lane, place in enumerate(rows):
                value = builder.load(builder.gep(place, [ir.Constant(_I64, i)]))
                side = builder.insert_element(side, value, ir.Constant(_I32, lane))
            value = builder.load(builder.gep(query, [ir.Constant(_I64, i)]))
            beyond = builder.fsub(side, _splat(builder, value))
            gaps.append(_select(builder, ">", beyond, zero))
        return builder.fadd(*gaps)

    def gap_of(place: Any) -> Any:
        def group(begin: Any, n: int, total: Any) -> Any:
            beyond = builder.fsub(
                _load(builder, place, begin, 2 * n), _load(builder, query, begin, 2 * n)
            )
            gap = _select(builder, ">", beyond, _constant(_F32, 2 * n, 0.0))
            return builder.fadd(total, _widened(builder, _halves_added(builder, gap)))

        return _over_groups(context, builder, kind, row, zero, group)

    return _sums_of_eight(builder, [gap_of(place) for place in rows])


@intrinsic
def _fold_paths(
    typingctx: Any,
    boxes: Any,
    ranges: Any,
    first: Any,
    pairs: Any,
    last: Any,
    query: Any,
    path: Any,
    path_value: Any,
    depths: Any,
    chances: Any,
    values: Any,
    tops: Any,
    row: Any,
) -> Any:
    whole = types.intp
    signature = types.void(
        boxes,
        ranges,
        whole,
        whole,
        whole,
        query,
        path,
        path_value,
        depths,
        chances,
        values,
        tops,
        row,
    )

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        names = (
            *("boxes", "ranges", "first", "pairs", "last", "query"),
            *("path", "x", "depths", "chances", "values", "tops"),
        )
        at = {
            name: _data(context, builder, kind, value)
            if isinstance(kind, types.CPointer | types.Array)
            else value
            for name, kind, value in zip(names, sig.args, args, strict=False)
        }
        row_kind, row = sig.args[-1], args[-1]
        width = (
            ir.Constant(_I64, row_kind.shape.width)
            if isinstance(row_kind, FixedRow)
            else builder.extract_value(row, 2)
        )
        real = ir.VectorType(_F64, LANES)
        lanes_32 = ir.VectorType(_F32, LANES)
        zero, one = _constant(_F32, LANES, 0.0), _constant(_F64, LANES, 1.0)
        eight = ir.Constant(_I64, LANES)
        bases = []
        for lane in range(LANES):
            tree = builder.add(at["first"], ir.Constant(_I64, lane))
            beyond = builder.icmp_signed(">", tree, at["last"])
            bases.append(builder.mul(builder.select(beyond, at["last"], tree), at["pairs"]))
        depth = _load_lanes(builder, at["depths"], ir.Constant(_I64, 0), _I64)
        first_value = _load_lanes(builder, at["values"], ir.Constant(_I64, 0), _F64)
        first_top = _load_lanes(builder, at["tops"], ir.Constant(_I64, 0), _I64)
        # Where a path's step lies: the leaf's parent first; paths that have ended stay at the root.
        floor = [ir.Constant(_I64, lane) for lane in range(LANES)]

        def above(index: Any, lane: int) -> Any:
            higher = builder.sub(index, eight)
            ended = builder.icmp_signed("<", higher, floor[lane])
            return builder.select(ended, floor[lane], higher)

        leaves = []
        for lane in range(LANES):
            lane_depth = builder.extract_element(depth, ir.Constant(_I32, lane))
            leaves.append(builder.add(builder.mul(lane_depth, eight), floor[lane]))
        finished_first = builder.icmp_signed(">", first_top, depth)

        entry = builder.basic_block
        loop = builder.append_basic_block("fold")
        body = builder.append_basic_block("level")
        done = builder.append_basic_block("folded")
        starts = [above(leaf, lane) for lane, leaf in enumerate(leaves)]
        builder.branch(loop)

        builder.position_at_end(loop)
        step = builder.phi(_I64)
        level = builder.phi(depth.type)  # of the node below the one that is folded
        value = builder.phi(real)
        top = builder.phi(depth.type)
        finished = builder.phi(finished_first.type)
        indices = [builder.phi(_I64) for _ in range(LANES)]
        initial = [
            ir.Constant(_I64, 0),
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
        bits = builder.bitcast(builder.or_(finished, ended), _I8)
        builder.cbranch(builder.icmp_unsigned("!=", bits, ir.Constant(_I8, 255)), body, done)

        builder.position_at_end(body)
        # Lanes that are finished go on reading: waiting for their gaps would make a chain of the
        # loop, and the boxes near the root are in the cache anyway.
        rows = []
        side_sums = x = ir.Constant(lanes_32, ir.Undefined)
        for lane in range(LANES):
            at_child = builder.add(indices[lane], eight)
            child = builder.zext(builder.load(builder.gep(at["path"], [at_child])), _I64)
            box = builder.add(bases[lane], builder.lshr(child, ir.Constant(_I64, 1)))
            rows.append(builder.gep(at["boxes"], [builder.mul(box, width)]))
            place = ir.Constant(_I32, lane)
            side_sums = builder.insert_element(
                side_sums, builder.load(builder.gep(at["ranges"], [box])), place
            )
            x = builder.insert_element(
                x, builder.load(builder.gep(at["x"], [indices[lane]])), place
            )
        gap = _gap_lanes(context, builder, row_kind, row, rows, at["query"])
        active = builder.not_(builder.or_(finished, ended))
        outside = builder.and_(active, builder.fcmp_ordered(">", gap, zero))
        chance = builder.fdiv(gap, builder.fadd(side_sums, gap))
        _store(builder, chance, at["chances"], builder.mul(step, eight))
        chance_wide, x_wide = builder.fpext(chance, real), builder.fpext(x, real)
        folded = builder.fadd(
            builder.fmul(chance_wide, x_wide),
            builder.fmul(builder.fsub(one, chance_wide), value),
        )
        higher = builder.sub(level, ir.Constant(level.type, [1] * LANES))
        following = [
            builder.add(step, ir.Constant(_I64, 1)),
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
        base = builder.bitcast(_data(context, builder, sig.args[0], args[0]), _I32.as_pointer())
        lanes = ir.VectorType(_I32, 16)
        one = builder.insert_element(
            ir.Constant(lanes, ir.Undefined), args[3], ir.Constant(_I32, 0)
        )
        wanted_lanes = builder.shuffle_vector(
            one,
            ir.Constant(lanes, ir.Undefined),
            ir.Constant(ir.VectorType(_I32, 16), [0] * 16),
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
    """First index in [start, stop) whose bits are `wanted`, or -1.

    Args:
        values: int32 or float32.
        start: First index; `stop - start` is a multiple of 16.
        stop: Behind the last.
        wanted: int32.
    """
    hits = np.flatnonzero(values[start:stop].view(np.int32) == wanted)
    return start + int(hits[0]) if len(hits) else -1


@intrinsic
def _largest_bits(typingctx: Any, values: Any, start: Any, stop: Any) -> Any:
    signature = types.int32(values, types.intp, types.intp)

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        base = builder.bitcast(_data(context, builder, sig.args[0], args[0]), _I32.as_pointer())
        lanes = ir.VectorType(_I32, 16)
        place = cgutils.alloca_once_value(builder, ir.Constant(lanes, [-(2**31)] * 16))
        with cgutils.for_range_slice(
            builder, args[1], args[2], ir.Constant(_I64, 16), inc=True
        ) as (at, _):
            address = builder.bitcast(builder.gep(base, [at]), lanes.as_pointer())
            block, best = builder.load(address, align=4), builder.load(place)
            builder.store(
                builder.select(builder.icmp_signed(">", block, best), block, best),
                place,
            )
        best = builder.load(place)
        while best.type.count > 1:
            half = best.type.count // 2
            low, high = (
                _slice(builder, best, 0, half),
                _slice(builder, best, half, half),
            )
            best = builder.select(builder.icmp_signed(">", low, high), low, high)
        return builder.extract_element(best, ir.Constant(_I32, 0))

    return signature, emit


def largest_bits_plain(values: I32, start: int, stop: int) -> int:
    """Largest of `values[start:stop]` by its bits as int32.

    Args:
        values: int32, or float32, whose bits sort like the floats where those are not negative.
        start: First index; `stop - start` is a multiple of 16.
        stop: Behind the last.
    """
    return int(values[start:stop].view(np.int32).max())


if INTERPRETED:
    group_gap: Any = group_gap_plain
    box_union: Any = box_union_plain
    box_touches: Any = box_touches_plain
    descend: Any = descend_plain
    fold_paths: Any = fold_plain
    find_equal: Any = find_equal_plain
    largest_bits: Any = largest_bits_plain
    float_bits: Any = float_bits_plain
else:
    group_gap, box_union, box_touches = _group_gap, _box_union, _box_touches
    descend, fold_paths = _descend, _fold_paths
    find_equal, largest_bits, float_bits = _find_equal, _largest_bits, _float_bits
