"""Compiled CPU kernels: how they are compiled and how they share the cores.

A kernel is a plain loop over ``parts`` ranges of rows, which numba compiles on first use for the processor at hand,
runs on as many threads, and keeps on disk. The process that compiles one runs a form that may round otherwise than the
form on disk, which all later processes run: numba optimises the latter once more.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray

# Sums may be reordered and products fused, so that loops become vector instructions; (a + b) − a may turn into b, so no
# kernel relies on what rounding leaves. NaN and infinity keep their meaning: they stop a bad step.
RELAXED = {"reassoc", "contract", "arcp", "nsz"}
Kernel = Callable[..., Any]


def compiled(function: Kernel) -> Kernel:
    """Compile a kernel on first use."""
    parallel = function.__code__.co_varnames[0] == "parts"  # for as long as both conventions exist
    options: dict[str, Any] = {"parallel": parallel, "nogil": True, "fastmath": RELAXED, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no folder to keep compiled code in
        return numba.njit(**options)(function)


def inlined(function: Kernel) -> Kernel:
    """Make a function for use inside kernels of the same file.

    A kernel kept on disk is compiled again when its own file changes, not when that of a function inside it does.
    """
    return numba.njit(fastmath=RELAXED, error_model="numpy")(function)


@inlined
def bfloat16_bits(x):  # type: ignore[no-untyped-def]
    """Return the bits, uint16, of the bfloat16 nearest to a float32 (of two, the even one). It will never change."""
    bits = np.float32(x).view(np.int32)
    odd = np.int32(np.int32(bits >> np.int32(16)) & np.int32(1))
    return np.uint16(np.int32(bits + np.int32(0x7FFF) + odd) >> np.int32(16))


def n_parts(n: int, smallest: int = 16) -> int:
    """Return into how many ranges :func:`run` cuts ``n`` rows: as many as torch uses threads, none tiny."""
    return max(1, min(torch.get_num_threads(), _MOST_THREADS, n // smallest))


_MOST_THREADS: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
# some of numba's thread pools must not be entered twice at a time
_ONE_AT_A_TIME = threading.Lock()


def run(kernel: Kernel, n: int, *arguments: Any, smallest: int = 16) -> None:
    """Call ``kernel(parts, *arguments)`` with the number of threads that ``n`` rows are worth."""
    threads = torch.get_num_threads()
    parts = n_parts(n, smallest)
    if not kernel.targetoptions["parallel"]:  # type: ignore[attr-defined]
        for part in range(parts):
            kernel(part, parts, *arguments)
        return
    with _ONE_AT_A_TIME:
        before = numba.get_num_threads()
        if before != parts:
            numba.set_num_threads(parts)
        try:
            kernel(parts, *arguments)
        finally:
            if before != parts:
                numba.set_num_threads(before)
            if torch.get_num_threads() != threads:  # numba and torch may share one pool
                torch.set_num_threads(threads)


_REFERENCE: ContextVar[bool] = ContextVar("reference", default=False)


@contextmanager
def reference_path() -> Iterator[None]:
    """Compute with torch operations alone, dense and without compiled kernels: what these have to agree with."""
    token = _REFERENCE.set(True)
    try:
        yield
    finally:
        _REFERENCE.reset(token)


def as_array(tensor: torch.Tensor) -> NDArray[Any]:
    """Return the tensor's values as an array whose rows follow one another; shares memory where they do already."""
    return tensor.detach().contiguous().numpy()


def kernels_apply(*tensors: torch.Tensor) -> bool:
    """Whether the kernels can work on these tensors: float32 on the CPU, outside of :func:`reference_path`."""
    if _REFERENCE.get():
        return False
    return all(tensor.device.type == "cpu" and tensor.dtype == torch.float32 for tensor in tensors)
