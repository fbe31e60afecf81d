"""Kernels that Python can call, for tests: the package compiles them into others alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def from_python(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel as Python can call it; the very function where kernels are interpreted."""
    compiled: Callable[..., Any] = numba.njit(
        getattr(kernel, "py_func", kernel), error_model="numpy"
    )
    return compiled
