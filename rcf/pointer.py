"""Sections of memory as bare pointers, which kernels index like arrays.

A numba array carries its owner's reference count, its shape and its strides. A tuple of twenty of
them handed from kernel to kernel costs more than the work (measured: 15 times), and every index
is tested for being negative. A pointer is one word. What it points into must stay alive: the kernel
that makes pointers into its own arrays ends with `keep_alive`.

With NUMBA_BOUNDSCHECK=1 or NUMBA_DISABLE_JIT=1 a pointer is the array itself, so that a wrong index
is an error there instead of garbage.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from rcf.jit import INTERPRETED, config, kernel


@intrinsic
def _pointer(typingctx: Any, array: Any) -> Any:
    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return cgutils.create_struct_proxy(sig.args[0])(context, builder, value=args[0]).data

    return types.CPointer(array.dtype)(array), emit


@intrinsic
def _keep_alive(typingctx: Any, array: Any) -> Any:
    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return context.get_dummy_value()

    return types.void(array), emit


@intrinsic
def _address_bytes(typingctx: Any, address: Any) -> Any:
    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(sig.return_type))

    return types.CPointer(types.uint8)(types.int64), emit


@intrinsic
def _call_lines(typingctx: Any, address: Any, size: Any) -> Any:
    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        fetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        line = ir.Constant(args[0].type, 64)
        with cgutils.for_range_slice(
            builder, ir.Constant(args[0].type, 0), args[1], line, inc=True
        ) as (at, _):
            place = builder.inttoptr(builder.add(args[0], at), byte)
            # To be read, into the second-level cache, as data.
            builder.call(fetch, [place, *(ir.Constant(word, n) for n in (0, 2, 1))])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), emit


_bytes_at: Any = _address_bytes
_as_array: Any = numba.carray  # type: ignore[attr-defined]  # numba's hints leave it out


def _block_at(address: int, size: int) -> Any:
    return np.ctypeslib.as_array((ctypes.c_uint8 * int(size)).from_address(int(address)))


def _bare_block_at(address: Any, size: Any) -> Any:
    return _bytes_at(address)


@intrinsic
def _section(typingctx: Any, block: Any, start: Any, stop: Any, kind: Any) -> Any:
    item = kind.dtype if isinstance(kind, types.NumberClass) else kind

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        base = args[0]
        if isinstance(sig.args[0], types.Array):
            base = cgutils.create_struct_proxy(sig.args[0])(context, builder, value=base).data
        return builder.bitcast(
            builder.gep(base, [args[1]]), context.get_value_type(sig.return_type)
        )

    return types.CPointer(item)(block, types.int64, types.int64, kind), emit


def _section_of(block: Any, start: Any, stop: Any, kind: Any) -> Any:
    """Bytes `start` to `stop` of a block as items of a dtype."""
    return block[start:stop].view(kind)


def _array_at(address: Any, size: Any) -> Any:
    return _as_array(_bytes_at(address), size)


def _call_nothing(address: Any, size: Any) -> None:
    """Ask for the lines of memory from `address` on, to have them when they are read."""


def _same(array: Any) -> Any:
    """The array itself."""
    return array


#: `block_at(address, size)`: bytes that lie at an address and that somebody keeps alive.
#: `array_at(address, size)`: the same as an array, where a kernel takes slices of it.
#: `section(block, start, stop, kind)`: some of a block's bytes as items of a dtype.
if INTERPRETED:
    pointer: Any = _same
    keep_alive: Any = _same
    block_at: Any = _block_at
    array_at: Any = _block_at
    call_lines: Any = _call_nothing
    section: Any = _section_of
elif config.BOUNDSCHECK:
    pointer, keep_alive = kernel(_same), _keep_alive
    block_at, section = kernel(_array_at), kernel(_section_of)
    array_at = kernel(_array_at)
    call_lines = kernel(_call_nothing)
else:
    pointer, keep_alive = _pointer, _keep_alive
    block_at, section = kernel(_bare_block_at), _section
    call_lines = _call_lines
    array_at = kernel(_array_at)
