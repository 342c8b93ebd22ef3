"""Functions that other compiled functions take over: numba's compiler without the steps that nobody needs then.

numba optimises every function and makes machine code of it, also where all that ever runs is the copy inside another
function, which is optimised again. Half of the seconds of a first fit went there.
"""

from typing import Any

from llvmlite import binding
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler


class _Code(JITCodeLibrary):
    """Code to be linked into that of others, as it is; of itself the process gets the names that numba looks for."""

    def _optimize_final_module(self) -> None:
        """Leave it to those who take the code over."""

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        names = [str(value) for value in self._final_module.global_variables if "NumbaEnv" in value.name]
        module = binding.parse_assembly("\n".join(names))
        module.triple, module.data_layout = self._final_module.triple, self._final_module.data_layout
        self._codegen._add_module(module)
        self._finalized = True


class TakenOver(Compiler):
    """numba's compiler for such functions."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        if self.state.library is None:
            self.state.library = _Code(self.state.targetctx.codegen(), "taken over")
