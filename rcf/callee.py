"""How numba compiles the kernels: each once, optimised only where Python calls it.

Numba optimises every function with all that it calls and makes machine code of it, and does both
again where a caller takes it in. For a tower of a hundred kernels that is half of a cold start; and
what was optimised level by level ends a few percent slower than what is optimised once, as a whole.
Here a kernel that only kernels call is simplified alone. The entry that Python calls links it with
all the others, once each, and is optimised as a whole. The order of no operation changes, so
neither does a bit.

Numba lets a function name its compiler (``pipeline_class``); the overridden methods of its library
are not public, for which pyproject.toml holds numba to one minor version.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from typing import Any

from llvmlite.binding import Linkage
from numba.core import typed_passes, untyped_passes
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.compiler_machinery import register_pass
from numba.core.lowering import Lower

#: Passes for what no kernel does (closures, object mode, literals that are called for, inlining on
#: the level of Python, array expressions), each of which would look through all of it in vain.
_VAIN = (
    untyped_passes.WithLifting,
    untyped_passes.InlineClosureLikes,
    untyped_passes.RewriteSemanticConstants,
    untyped_passes.DeadBranchPrune,
    untyped_passes.RewriteDynamicRaises,
    untyped_passes.MakeFunctionToJitFunction,
    untyped_passes.InlineInlinables,
    untyped_passes.FindLiterallyCalls,
    untyped_passes.LiteralUnroll,
    untyped_passes.LiteralPropagationSubPipelinePass,
    typed_passes.InlineOverloads,
    typed_passes.NopythonRewrites,
    typed_passes.NoPythonSupportedFeatureValidation,
    typed_passes.DumpParforDiagnostics,
)


class _CalleeLibrary(JITCodeLibrary):
    """Code of one kernel alone; that of what it calls is named beside it."""

    def finalize(self) -> None:
        """Close it: nothing is linked in, and no machine code made."""
        self._raise_if_finalized()
        for library in self._linking_libraries:
            self._reload_init.update(library._reload_init)
        self._finalize_dynamic_globals()
        self._finalized = True

    def _get_module_for_linking(self) -> Any:
        """The kernel with all that it calls."""
        if self._shared_module is None:
            module, kernels, others = self._final_module.clone(), [self], dict[Any, None]()
            for caller in kernels:  # grows on the way
                for library in caller._linking_libraries:
                    if not isinstance(library, _CalleeLibrary):
                        others[library] = None
                    elif library not in kernels:
                        kernels.append(library)
            for library in kernels[1:]:
                module.link_in(library._final_module, preserve=True)
            # After all that call them: of what several may have a linker takes what is asked for.
            for library in others:
                module.link_in(library._get_module_for_linking(), preserve=True)
            for function in module.functions:
                if not function.is_declaration and function.linkage == Linkage.external:
                    function.linkage = "linkonce_odr"  # so may several entries have it
            self._shared_module = module
        return self._shared_module


class _EntryLibrary(JITCodeLibrary):
    """Code of a kernel that Python calls, with that of all that it calls."""

    def _optimize_final_module(self) -> None:
        """Numba's two rounds without LLVM's vectorisers: kernels say themselves what is a vector.

        They find nothing else here that would make a kernel faster, in a tenth of the time.
        """
        codegen, level = self._codegen, self._codegen._opt_level
        for options in ({"opt": level, "cost": "cheap"}, {}):
            passes, builder = codegen._module_pass_manager(
                loop_vectorize=False, slp_vectorize=False, **options
            )
            passes.run(self._final_module, builder)

    def _verify_declare_only_symbols(self) -> None:
        """See to it that nothing is called that is not there: it would end the process."""
        for function in self._final_module.functions:
            if function.is_declaration and function.name.startswith("_ZN"):
                raise AssertionError(f"{self.name} calls {function.name}, which nothing defines")


class _Lower(Lower):
    """Numba's lowering without what it writes for references where a type holds none.

    It takes a tuple apart to find those in its items, each time that a variable comes or goes: a
    third of the code of kernels, which hand tuples of thirty pointers around.
    """

    def _is_counted(self, kind: Any) -> bool:
        return bool(self.context.data_model_manager[kind].contains_nrt_meminfo())

    def incref(self, kind: Any, value: Any) -> None:
        """Count a reference, of a type that is counted."""
        if self._is_counted(kind):
            super().incref(kind, value)

    def decref(self, kind: Any, value: Any) -> None:
        """Let go of one."""
        if self._is_counted(kind):
            super().decref(kind, value)

    def delvar(self, name: str) -> None:
        """End a variable."""
        if self._is_counted(self.typeof(name)):
            super().delvar(name)


class _Lowering(typed_passes.NativeLowering):
    """What both ways to lower a kernel share."""

    @property
    def lowering_class(self) -> type[Lower]:
        """Who writes the code."""
        return _Lower


@register_pass(mutates_CFG=True, analysis_only=False)
class _EntryLowering(_Lowering):
    """Lowers a kernel into a library of ours."""

    _name: Any = "entry_lowering"

    def run_pass(self, state: Any) -> bool:
        """Numba's lowering."""
        state.library = _EntryLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        return bool(super().run_pass(state))


@register_pass(mutates_CFG=True, analysis_only=False)
class _CalleeLowering(_Lowering):
    """Lowers a kernel without asking for an executable."""

    _name: Any = "callee_lowering"

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


class EntryCompiler(Compiler):
    """Numba's compiler for kernels that Python calls."""

    lowering: type[_Lowering] = _EntryLowering

    def define_pipelines(self) -> list[Any]:
        """Numba's passes but for those in vain, the lowering replaced."""
        pipelines: list[Any] = super().define_pipelines()
        for pipeline in pipelines:
            pipeline.passes = [
                (self.lowering if each is typed_passes.NativeLowering else each, why)
                for each, why in pipeline.passes
                if each not in _VAIN
            ]
        return pipelines

    def compile_extra(self, func: Any) -> Any:
        """Compile without the garbage collector."""
        with _no_collector():
            return super().compile_extra(func)


class CalleeCompiler(EntryCompiler):
    """The same for kernels that are called by compiled functions alone."""

    lowering = _CalleeLowering


@contextlib.contextmanager
def _no_collector() -> Iterator[None]:
    """Keep the garbage collector away from what lives until the compilation ends: 8 % of one."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
