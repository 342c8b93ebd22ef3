"""Compiled CPU kernels: how they are compiled and how they share the cores.

A kernel is a plain loop over the rows of part ``part`` of ``parts``, which numba compiles on first use for the
processor at hand and keeps on disk. Plain threads take the parts from a board (``board.py``), without Python's lock.
They look at it for a fraction of a millisecond after their last part, then wait in the operating system, so that other
processes get the cores; a forked child, which has none of its parent's threads, makes its own.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray

from omicvae._core.board import (
    attend,
    await_answers,
    call,
    kept_on_disk,
    launcher,
    n_answers,
    n_calls,
    new_board,
)
from omicvae._core.taken_over import TakenOver

# Sums may be reordered and products fused, so that loops become vector instructions; (a + b) − a may turn into b, so no
# kernel relies on what rounding leaves. NaN and infinity keep their meaning: they stop a bad step.
_RELAXED = {"reassoc", "contract", "arcp", "nsz"}
# for what other compiled code alone calls
_ALONE: dict[str, Any] = {
    "fastmath": _RELAXED,
    "error_model": "numpy",
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "pipeline_class": TakenOver,
}
Kernel = Callable[..., Any]


def compiled(function: Callable[..., None]) -> Kernel:
    """Compile a kernel ``(part, parts, *arguments)`` on first use, for :func:`run`."""
    return kept_on_disk(launcher(numba.njit(nogil=True, **_ALONE)(function)))


def inlined(function: Kernel) -> Kernel:
    """Make a function for use inside kernels.

    A kernel kept on disk is compiled again when its own file changes, not when that of a function inside it does.
    """
    return numba.njit(**_ALONE)(function)


@inlined
def bfloat16_bits(x):  # type: ignore[no-untyped-def]
    """Return the bits, uint16, of the bfloat16 nearest to a float32 (of two, the even one). It will never change."""
    bits = np.float32(x).view(np.int32)
    odd = np.int32(np.int32(bits >> np.int32(16)) & np.int32(1))
    return np.uint16(np.int32(bits + np.int32(0x7FFF) + odd) >> np.int32(16))


class _Threads:
    """Threads that take parts of kernels from the board, and whole functions; as many as were ever asked for at a time.

    They leave the board soon after the last kernel, and then wait in the operating system.
    """

    def __init__(self) -> None:
        self._board, self._in_use = new_board(), Lock()
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._waiting: SimpleQueue[None] = SimpleQueue()  # as long as there are threads which wait for a task
        self._n = 0

    def run_kernel(self, kernel: Kernel, parts: int, arguments: tuple[Any, ...]) -> None:
        """Run all parts, here or in other threads; here alone where another caller has them at work."""
        if not self._in_use.acquire(blocking=False):
            _check(kernel(new_board(), parts, *arguments))
            return
        try:
            self._grow(parts - 1)
            while not self._waiting.empty():
                self._waiting.get()
                self._tasks.put(None)
            _check(kernel(self._board, parts, *arguments))
        finally:
            self._in_use.release()

    def run_function(self, function: Callable[..., None], parts: int, arguments: tuple[Any, ...]) -> None:
        """Run all parts, the first in the calling thread; raise the error of any of them."""
        errors: list[BaseException] = []

        def task(part: int) -> None:
            try:
                function(part, parts, *arguments)
            except BaseException as error:
                errors.append(error)

        if not self._in_use.acquire(blocking=False):
            for part in range(parts):
                function(part, parts, *arguments)
            return
        try:
            self._grow(parts - 1)
            answers, own = n_answers(self._board), 1
            for part in range(1, parts):
                self._tasks.put(partial(task, part))
            call(self._board)
            task(0)
            with suppress(Empty):
                while True:  # what no other thread has begun
                    if (left := self._tasks.get_nowait()) is None:
                        self._waiting.put(None)  # a call to attend that nobody has taken yet: to be given again
                    else:
                        left()
                        own += 1
            await_answers(self._board, answers + parts - own)
        finally:
            self._in_use.release()
        if errors:
            raise errors[0]

    def _grow(self, n: int) -> None:
        if self._n >= n:
            return
        torch_threads = torch.get_num_threads()
        started: SimpleQueue[None] = SimpleQueue()
        for _ in range(self._n, n):
            Thread(target=self._work, args=(started,), name="omicvae", daemon=True).start()
            started.get()
        self._n = n
        torch.set_num_threads(torch_threads)  # the threads' own 1 would hold for threads made later, too

    @torch.inference_mode()
    def _work(self, started: SimpleQueue[None]) -> None:
        torch.set_num_threads(1)
        started.put(None)
        while True:
            self._waiting.put(None)
            task, calls = self._tasks.get(), n_calls(self._board)
            while True:
                if task is not None:
                    task()
                answers, task = int(task is not None), None  # else the last arrays would live until the next task
                if not attend(self._board, calls, answers):
                    break
                calls = n_calls(self._board)
                with suppress(Empty):
                    task = self._tasks.get_nowait()


_threads = _Threads()


_entering = Lock()
_inside = 0  # blocks of own_threads, one in another or side by side
_torch_threads = 1  # torch's number outside of them


@contextmanager
def own_threads() -> Iterator[None]:
    """Leave the cores to :func:`run`: inside, torch works in the calling thread, and kernels on as many as torch had.

    torch's OpenMP threads wait actively for one another: where other processes share the cores, a step then takes many
    times what it computes, and a forked child that enters OpenMP after its parent did never returns.
    """
    global _inside, _torch_threads
    with _entering:
        own = torch.get_num_threads()  # each thread of the user's has its number, and a new one torch's last
        if _inside == 0:
            _torch_threads = own
        _inside += 1
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _entering:
            _inside -= 1
            torch.set_num_threads(own if _inside else _torch_threads)


def _in_forked_child() -> None:
    """Start without the parent's threads; torch stays in the calling thread, as inside of :func:`own_threads`."""
    global _threads, _entering, _inside, _torch_threads
    _threads, _entering = _Threads(), Lock()
    if _inside == 0:
        _torch_threads = torch.get_num_threads()
    _inside += 1
    torch.set_num_threads(1)


os.register_at_fork(after_in_child=_in_forked_child)


def n_threads() -> int:
    """Return how many threads kernels use: as many as torch does, or did outside of :func:`own_threads`."""
    return _torch_threads if _inside else torch.get_num_threads()


def n_parts(n: int, smallest: int = 16) -> int:
    """Return into how many ranges :func:`run` cuts ``n`` rows: one a thread, none tiny."""
    return max(1, min(n_threads(), n // smallest))


def run(kernel: Kernel, n: int, *arguments: Any, smallest: int = 16) -> None:
    """Run a compiled kernel over ``n`` rows, in as many parts as they are worth, side by side.

    ``smallest`` says how many rows take longer than the microsecond or two that handing over a part does.
    """
    parts = n_parts(n, smallest)
    if parts == 1:
        _check(kernel(new_board(), 1, *arguments))
    else:
        _threads.run_kernel(kernel, parts, arguments)


def run_functions(function: Callable[..., None], n: int, *arguments: Any, smallest: int = 16) -> None:
    """Call ``function(part, parts, *arguments)``, side by side: for functions of torch, which leave Python's lock.

    Handing a part to another thread costs 5 to 50 µs.
    """
    global _threads
    parts = n_parts(n, smallest)
    if parts == 1:
        function(0, 1, *arguments)
        return
    try:
        _threads.run_function(function, parts, arguments)
    except KeyboardInterrupt:  # it may have come between two lines there, with parts at work: others serve from now on
        _threads = _Threads()
        raise


def _check(n_failed: int) -> None:
    """Raise if parts of a kernel failed: they allocate no more than a row, so the memory is full."""
    if n_failed:
        raise MemoryError("A compiled loop found no memory for its working row.")


def as_array(tensor: torch.Tensor) -> NDArray[Any]:
    """Return the tensor's values as an array whose rows follow one another; shares memory where they do already."""
    return tensor.detach().contiguous().numpy()
