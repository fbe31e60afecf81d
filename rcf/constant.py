"""Types whose values carry nothing: their attributes are constants of the compiled code."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from numba import types
from numba.core.datamodel.models import OpaqueModel
from numba.core.typing.templates import AttributeTemplate
from numba.extending import infer_getattr, lower_getattr_generic, register_model


def carry(kind: type[types.Type], holder: str, names: Container[str]) -> None:
    """Let kernels read attributes of a type's values from an object that the type has.

    Args:
        kind: The type.
        holder: Attribute of the type that holds the object.
        names: Attributes of the object.
    """
    register_model(kind)(OpaqueModel)

    @infer_getattr
    class Carried(AttributeTemplate):
        key = kind

        # Numba's hints say that there is no such method.
        def generic_resolve(self, carrier: Any, name: str) -> Any:  # type: ignore[override]
            if name not in names:
                return None
            return self.context.resolve_value_type(getattr(getattr(carrier, holder), name))

    def constant(context: Any, builder: Any, carrier: Any, value: Any, name: str) -> Any:
        held = getattr(getattr(carrier, holder), name)
        kind_of_held = context.typing_context.resolve_value_type(held)
        return context.get_constant_generic(builder, kind_of_held, held)

    lower_getattr_generic(kind)(constant)
