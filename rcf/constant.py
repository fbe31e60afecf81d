"""Types whose values carry nothing: their attributes are constants of the compiled code."""

from __future__ import annotations

from collections.abc import Iterable

from numba import types
from numba.core.datamodel.models import OpaqueModel
from numba.extending import overload_attribute, register_model


def carry(kind: type[types.Type], holder: str, names: Iterable[str]) -> None:
    """Let kernels read attributes of a type's values from an object that the type has.

    Args:
        kind: The type.
        holder: Attribute of the type that holds the object.
        names: Attributes of the object.
    """
    register_model(kind)(OpaqueModel)
    for name in names:
        _carry(kind, holder, name)


def _carry(kind: type[types.Type], holder: str, name: str) -> None:
    @overload_attribute(kind, name)
    def constant(carrier):  # type: ignore[no-untyped-def]  # numba compares it with the lambda's
        value = getattr(getattr(carrier, holder), name)
        return lambda carrier: value
