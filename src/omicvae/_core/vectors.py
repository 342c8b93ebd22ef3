"""Sums of a matrix's rows that stay in vector registers: numba's own loops write every term back to memory."""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

WIDTH = 16  # values of a vector; a processor with narrower ones takes several
#: as many as stay in registers: a processor with AVX-512 has 32 of this width, others often 16 of half of it
MOST_VECTORS = 8 if get_host_cpu_features().get("avx512f") else 4

_POSITION, _VECTOR = ir.IntType(64), ir.VectorType(ir.FloatType(), WIDTH)


def row_sum(n_vectors: int) -> Callable[..., None]:
    """Make ``add(columns, values, first, last, weight, place, out)``, for use inside kernels.

    It adds Σ_j values[j] · weight[columns[j], place + k], j from ``first`` to ``last`` − 1 in this order, to
    ``out[place + k]`` for k < n_vectors · WIDTH. Arrays are contiguous, float32 but for columns; no bounds are checked.
    """

    @intrinsic
    def add(typing: Any, columns: Any, values: Any, first: Any, last: Any, weight: Any, place: Any, out: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            def data(i: int) -> Any:
                return context.make_array(signature.args[i])(context, builder, arguments[i])

            def vectors(start: Any) -> list[Any]:
                places = [builder.gep(start, [ir.Constant(_POSITION, WIDTH * k)]) for k in range(n_vectors)]
                return [builder.bitcast(p, _VECTOR.as_pointer()) for p in places]

            def load(pointer: Any) -> Any:
                return builder.load(pointer, align=4)

            columns_data, values_data, matrix = data(0).data, data(1).data, data(4)
            row_length = cgutils.unpack_tuple(builder, matrix.shape)[1]
            matrix_start = builder.gep(matrix.data, [arguments[5]])
            targets = vectors(builder.gep(data(6).data, [arguments[5]]))
            sums = [cgutils.alloca_once_value(builder, load(target)) for target in targets]  # LLVM makes them registers
            one = ir.Constant(_POSITION, 1)
            with cgutils.for_range_slice(builder, arguments[2], arguments[3], one, _POSITION) as (j, _):
                column = builder.sext(builder.load(builder.gep(columns_data, [j])), _POSITION)
                x = builder.load(builder.gep(values_data, [j]))
                lanes = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), x, ir.IntType(32)(0))
                zeros = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)
                x_vector = builder.shuffle_vector(lanes, ir.Constant(_VECTOR, ir.Undefined), zeros)
                row = builder.gep(matrix_start, [builder.mul(column, row_length)])
                for total, weights in zip(sums, vectors(row), strict=True):
                    term = builder.fmul(x_vector, load(weights), flags=("contract",))
                    builder.store(builder.fadd(builder.load(total), term, flags=("contract",)), total)
            for target, total in zip(targets, sums, strict=True):
                builder.store(builder.load(total), target, align=4)
            return context.get_dummy_value()

        return types.void(columns, values, first, last, weight, place, out), generate

    return add
