"""A board on which one thread puts up a loop in parts and others take parts from it, all without Python's lock.

A thread that attends takes a part within a microsecond; whoever put the loop up takes the parts that no other has taken
and waits only for those that another has begun. So nobody waits for a thread that the operating system keeps waiting,
and a loop takes no longer than in one thread where other processes have the cores.
"""

import os
import platform
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

_instruction: Any = intrinsic  # its own type counts the compiler's argument among ours
_I64, _BYTES = ir.IntType(64), ir.IntType(8).as_pointer()
_ENTRY = ir.FunctionType(ir.IntType(32), [_BYTES, _I64, _I64])  # status of a kernel, of its arguments, part and parts

# The job is one number, so that a part is claimed by replacing it: 32 bits count the jobs, 16 are the number of parts,
# 16 the next part. Then the kernel's address, that of its arguments; parts done, parts that failed; calls, answers.
_JOB, _KERNEL, _ARGUMENTS, _DONE, _FAILED, _CALLS, _ANSWERS = 0, 1, 2, 8, 9, 16, 17  # 8 numbers are a line of the cache
_PATIENCE, _LOOKS = 400, 50  # looks at the board in a row, without work, before the core is offered to others


def new_board() -> NDArray[np.int64]:
    """Return a board without a job."""
    return np.zeros(24, np.int64)


def _place(context, builder, signature, values):  # type: ignore[no-untyped-def]
    return builder.gep(context.make_array(signature.args[0])(context, builder, values[0]).data, [values[1]])


@_instruction
def _load(typing, board, place):  # type: ignore[no-untyped-def]
    def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
        return builder.load_atomic(_place(context, builder, signature, values), ordering="acquire", align=8)

    return types.int64(board, types.int64), generate


@_instruction
def _store(typing, board, place, value):  # type: ignore[no-untyped-def]
    def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
        builder.store_atomic(values[2], _place(context, builder, signature, values), ordering="seq_cst", align=8)
        return context.get_dummy_value()

    return types.void(board, types.int64, types.int64), generate


@_instruction
def _add(typing, board, place, value):  # type: ignore[no-untyped-def]
    def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
        return builder.atomic_rmw("add", _place(context, builder, signature, values), values[2], ordering="seq_cst")

    return types.int64(board, types.int64, types.int64), generate


@_instruction
def _replace(typing, board, place, old, new):  # type: ignore[no-untyped-def]
    """Put ``new`` where ``old`` still is; return whether it was."""

    def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
        place = _place(context, builder, signature, values)
        return builder.extract_value(builder.cmpxchg(place, values[2], values[3], ordering="seq_cst"), 1)

    return types.boolean(board, types.int64, types.int64, types.int64), generate


@_instruction
def _addresses(typing, kernel, arguments):  # type: ignore[no-untyped-def]
    """Return where a function lies that calls the kernel for a part, and where the arguments lie during this call."""
    own = kernel.get_call_type(typing, (types.int64, types.int64, *arguments.types), {})

    def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
        compiled = kernel.dispatcher.overloads[own.args]
        context.active_code_library.add_linking_library(compiled.library)
        entry = ir.Function(builder.module, _ENTRY, builder.module.get_unique_name("entry"))
        entry.linkage = "internal"
        inside = ir.IRBuilder(entry.append_basic_block())
        pointer, part, parts = entry.args
        given = cgutils.unpack_tuple(inside, inside.load(inside.bitcast(pointer, values[1].type.as_pointer())))
        body = context.declare_function(builder.module, compiled.fndesc)
        call = context.call_conv.call_function
        status, _ = call(inside, body, own.return_type, own.args, [part, parts, *given])
        inside.ret(inside.zext(status.is_error, ir.IntType(32)))
        copy = cgutils.alloca_once_value(builder, values[1])
        found = [builder.ptrtoint(entry, _I64), builder.ptrtoint(copy, _I64)]
        return context.make_tuple(builder, signature.return_type, found)

    return types.UniTuple(types.int64, 2)(kernel, arguments), generate


@_instruction
def _call(typing, kernel, arguments, part, parts):  # type: ignore[no-untyped-def]
    """Call what lies at the addresses; return whether it failed."""

    def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
        entry = builder.inttoptr(values[0], _ENTRY.as_pointer())
        return builder.zext(builder.call(entry, [builder.inttoptr(values[1], _BYTES), *values[2:]]), _I64)

    return types.int64(*(types.int64,) * 4), generate


@_instruction
def _pause(typing):  # type: ignore[no-untyped-def]
    """Tell the processor that this is a loop of waiting: it leaves more to the core's other thread."""

    def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
        if platform.machine().lower() in ("x86_64", "amd64"):
            pause = builder.module.declare_intrinsic("llvm.x86.sse2.pause", (), ir.FunctionType(ir.VoidType(), []))
            builder.call(pause, [])
        return context.get_dummy_value()

    return types.void(), generate


_inside: Any = numba.njit(nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)  # type: ignore[call-overload]


def kept_on_disk(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function that runs without Python's lock on first use, and keep it where there is a folder for it."""
    options: dict[str, Any] = {"nogil": True, "no_cfunc_wrapper": True}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # there is none
        return numba.njit(**options)(function)


_offer_core = types.ExternalFunction("sched_yield" if os.name == "posix" else "SwitchToThread", types.int32())


@_inside
def _take(board):  # type: ignore[no-untyped-def]
    """Run a part of the job if one is left; return whether there may be more."""
    job = _load(board, _JOB)
    part, parts = job & 0xFFFF, (job >> 16) & 0xFFFF
    if part >= parts:
        return False
    kernel, arguments = _load(board, _KERNEL), _load(board, _ARGUMENTS)
    if _replace(board, _JOB, job, job + 1):  # the job is still the one whose addresses these are
        _add(board, _FAILED, _call(kernel, arguments, part, parts))
        _add(board, _DONE, 1)
    return True


@_inside
def _start(board, addresses, parts):  # type: ignore[no-untyped-def]
    _store(board, _KERNEL, addresses[0])
    _store(board, _ARGUMENTS, addresses[1])
    _store(board, _DONE, 0)
    _store(board, _FAILED, 0)
    _store(board, _JOB, (((_load(board, _JOB) >> 32) + 1) << 32) | (parts << 16))


@_inside
def _wait(board, place, number):  # type: ignore[no-untyped-def]
    looks = 0
    while _load(board, place) < number:
        looks += 1
        _pause()
        if looks % _LOOKS == 0:
            _offer_core()


@_inside
def _finish(board, parts):  # type: ignore[no-untyped-def]
    """Take what is left, and wait for what others have begun; return how many parts failed."""
    while _take(board):
        pass
    _wait(board, _DONE, parts)
    return _load(board, _FAILED)


@kept_on_disk
def attend(board, calls, answers):  # type: ignore[no-untyped-def]
    """Give answers to calls; take parts until there has been nothing to do for a while, or a further call came.

    Returns whether there was a call.
    """
    _add(board, _ANSWERS, answers)
    looks = 0
    while looks < _PATIENCE * _LOOKS:
        if _load(board, _CALLS) != calls:
            for _ in range(_LOOKS):  # until the caller has left Python's lock
                _pause()
            return True
        if _take(board):
            looks = 0
        else:
            looks += 1
            _pause()
            if looks % _LOOKS == 0:
                _offer_core()
    return False


def call(board: NDArray[np.int64]) -> None:
    """Have all who attend leave."""
    board[_CALLS] += 1


def n_calls(board: NDArray[np.int64]) -> int:
    """Return how often they were called."""
    return int(board[_CALLS])


def n_answers(board: NDArray[np.int64]) -> int:
    """Return how often they answered."""
    return int(board[_ANSWERS])


@kept_on_disk
def await_answers(board, number):  # type: ignore[no-untyped-def]
    """Wait until there were ``number`` answers."""
    _wait(board, _ANSWERS, number)


def _launch(board, parts, *arguments):  # type: ignore[no-untyped-def]
    _start(board, _addresses(_kernel, arguments), parts)  # type: ignore[name-defined]  # noqa: F821
    return _finish(board, parts)


def launcher(kernel: Any) -> FunctionType:
    """Return a function ``(board, parts, *arguments)`` to compile, which runs a compiled kernel by the board.

    It goes by the kernel's name and file, under which numba keeps compiled code, and when it is to be compiled anew.
    """
    own = kernel.py_func
    code = _launch.__code__.replace(
        co_filename=own.__code__.co_filename, co_firstlineno=own.__code__.co_firstlineno, co_name=own.__name__
    )
    made = FunctionType(code, {**globals(), "_kernel": kernel}, own.__name__)
    made.__module__, made.__qualname__ = own.__module__, own.__qualname__
    return made
