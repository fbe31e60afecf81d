"""Compiles kernels that only other kernels call: into these, with no machine code of their own.

Numba optimises every function with all that it calls and makes machine code of it, and does both
again where a caller takes it in. For a tower of a hundred kernels that is half of a cold start; and
what was optimised level by level ends a few percent slower than what is optimised once, as a whole.
Here a callee stays as it was lowered until its entry is compiled. The order of no operation
changes, so neither does a bit.

Numba lets a function name its compiler (``pipeline_class``); the two overridden methods of its
library are not public, for which pyproject.toml holds numba to one minor version.
"""

from __future__ import annotations

from typing import Any

from numba.core import typed_passes
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.compiler_machinery import register_pass


class _CalleeLibrary(JITCodeLibrary):
    """Code of a kernel and its callees, to be linked into a caller's and optimised there."""

    def _optimize_final_module(self) -> None:
        """Leave it to the caller."""

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True


@register_pass(mutates_CFG=True, analysis_only=False)
class _CalleeLowering(typed_passes.NativeLowering):
    """Lowers a kernel without asking for an executable."""

    _name = "callee_lowering"

    def run_pass(self, state: Any) -> bool:
        """Numba's lowering, into a library of ours."""
        context = state.targetctx
        state.library = _CalleeLibrary(context.codegen(), state.func_id.func_qualname)
        state.flags.no_compile = True
        super().run_pass(state)
        # Numba knows a function by a builtin of its own, which Python would call. It would, with
        # what no kernel takes: a TypeError, where there is no machine code to run.
        builtin = dict[str, int]().update
        state["cr"] = state["cr"]._replace(cfunc=builtin)
        context.insert_user_function(builtin, state["cr"].fndesc, [state.library])
        state.reload_init.extend(state.library._reload_init)
        return True


class CalleeCompiler(Compiler):
    """Numba's compiler for functions that are called by compiled functions alone."""

    def define_pipelines(self) -> list[Any]:
        """Numba's passes, the lowering replaced."""
        pipelines: list[Any] = super().define_pipelines()
        for pipeline in pipelines:
            pipeline.passes = [
                (_CalleeLowering if each is typed_passes.NativeLowering else each, why)
                for each, why in pipeline.passes
            ]
        return pipelines
