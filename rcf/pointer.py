"""Sections of memory as bare pointers, which kernels index like arrays.

A numba array carries its owner's reference count, its shape and its strides. A tuple of twenty of
them handed from kernel to kernel costs more than the work (measured: 15 times), and every index
is tested for being negative. A pointer is one word. What it points into must stay alive: the kernel
that makes pointers into its own arrays ends with `keep_alive`.

With NUMBA_BOUNDSCHECK=1 or NUMBA_DISABLE_JIT=1 a pointer is the array itself, so that a wrong index
is an error there instead of garbage.
"""

from __future__ import annotations

from typing import Any

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


def _same(array: Any) -> Any:
    """The array itself."""
    return array


if INTERPRETED:
    pointer: Any = _same
    keep_alive: Any = _same
elif config.BOUNDSCHECK:
    pointer, keep_alive = kernel(_same), _keep_alive
else:
    pointer, keep_alive = _pointer, _keep_alive
