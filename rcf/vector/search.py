"""Kernels over sixteen items at a time: the largest, the first equal one; and a float's bits.

Where the items are no multiple of sixteen, the last sixteen overlap those before them.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from rcf.vector.emit import (
    I1,
    I16,
    I32,
    I64,
    data,
    part,
)


@intrinsic
def find_equal(typingctx: Any, values: Any, start: Any, stop: Any, wanted: Any) -> Any:
    """See `rcf.vector.plain.find_equal_plain`."""
    signature = types.intp(values, types.intp, types.intp, types.int32)

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        item = ir.IntType(sig.args[0].dtype.bitwidth)
        base = builder.bitcast(data(context, builder, sig.args[0], args[0]), item.as_pointer())
        lanes = ir.VectorType(item, 16)
        sought = args[3] if item == I32 else builder.trunc(args[3], item)
        one = builder.insert_element(ir.Constant(lanes, ir.Undefined), sought, ir.Constant(I32, 0))
        wanted_lanes = builder.shuffle_vector(
            one,
            ir.Constant(lanes, ir.Undefined),
            ir.Constant(ir.VectorType(I32, 16), [0] * 16),
        )
        last = builder.sub(args[2], ir.Constant(I64, 16))
        entry = builder.basic_block
        check, compare, advance, found, done = (
            builder.append_basic_block(n) for n in ("check", "compare", "advance", "found", "done")
        )
        builder.branch(check)
        builder.position_at_end(check)
        at = builder.phi(I64)
        at.add_incoming(args[1], entry)
        builder.cbranch(builder.icmp_signed("<", at, args[2]), compare, done)
        builder.position_at_end(compare)
        block = builder.load(builder.bitcast(builder.gep(base, [at]), lanes.as_pointer()), align=2)
        bits = builder.bitcast(builder.icmp_signed("==", block, wanted_lanes), I16)
        builder.cbranch(builder.icmp_unsigned("!=", bits, ir.Constant(I16, 0)), found, advance)
        builder.position_at_end(advance)
        following = builder.add(at, ir.Constant(I64, 16))
        left = builder.icmp_signed("<", following, args[2])
        overlaps = builder.icmp_signed(">", following, last)
        following = builder.select(builder.and_(left, overlaps), last, following)
        at.add_incoming(following, advance)
        builder.branch(check)
        builder.position_at_end(found)
        lane = builder.cttz(bits, ir.Constant(I1, 1))
        hit = builder.add(at, builder.zext(lane, I64))
        builder.branch(done)
        builder.position_at_end(done)
        answer = builder.phi(I64)
        answer.add_incoming(ir.Constant(I64, -1), check)
        answer.add_incoming(hit, found)
        return answer

    return signature, emit


@intrinsic
def largest_bits(typingctx: Any, values: Any, start: Any, stop: Any) -> Any:
    """See `rcf.vector.plain.largest_bits_plain`."""
    signature = types.int32(values, types.intp, types.intp)

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        base = builder.bitcast(data(context, builder, sig.args[0], args[0]), I32.as_pointer())
        lanes = ir.VectorType(I32, 16)
        place = cgutils.alloca_once_value(builder, ir.Constant(lanes, [-(2**31)] * 16))
        last = builder.sub(args[2], ir.Constant(I64, 16))
        with cgutils.for_range_slice(builder, args[1], args[2], ir.Constant(I64, 16), inc=True) as (
            next_one,
            _,
        ):
            at = builder.select(builder.icmp_signed("<", next_one, last), next_one, last)
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
                part(builder, best, 0, half),
                part(builder, best, half, half),
            )
            best = builder.select(builder.icmp_signed(">", low, high), low, high)
        return builder.extract_element(best, ir.Constant(I32, 0))

    return signature, emit


@intrinsic
def float_bits(typingctx: Any, value: Any) -> Any:
    """See `rcf.vector.plain.float_bits_plain`."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.sext(builder.bitcast(args[0], I32), I64)

    return types.int64(types.float32), emit
