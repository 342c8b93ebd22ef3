"""A linear map that takes its input dense or as non-zeros: most of a single-cell profile is zero."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from omicvae._core import SparseRows
from omicvae._core.native import bfloat16_bits, compiled, run, run_functions
from omicvae._core.vectors import MOST_VECTORS, WIDTH, row_sum

#: share of non-zeros up to which the product with them alone is faster than the dense one
MOSTLY_ZERO = 0.5
# multiplications that take as long as it does to hand them to another thread
_SMALLEST_PART = 1_000_000
f4 = np.float32


_add_many, _add_four, _add_one = row_sum(MOST_VECTORS), row_sum(4), row_sum(1)


@compiled
def _product(part, parts, starts, columns, values, weight_IO, bias_O, out_BO):  # type: ignore[no-untyped-def]
    """Write X W + b."""
    start, stop = len(out_BO) * part // parts, len(out_BO) * (part + 1) // parts
    for b in range(start, stop):
        out, first, last, place = out_BO[b], starts[b], starts[b + 1], 0
        for o in range(len(out)):
            out[o] = bias_O[o]
        while place + MOST_VECTORS * WIDTH <= len(out):
            _add_many(columns, values, first, last, weight_IO, place, out)
            place += MOST_VECTORS * WIDTH
        while place + 4 * WIDTH <= len(out):
            _add_four(columns, values, first, last, weight_IO, place, out)
            place += 4 * WIDTH
        while place + WIDTH <= len(out):
            _add_one(columns, values, first, last, weight_IO, place, out)
            place += WIDTH
        if place < len(out):
            for j in range(first, last):
                weight = weight_IO[columns[j]]
                for o in range(place, len(out)):
                    out[o] += values[j] * weight[o]


@compiled
def _weight_gradient(part, parts, starts, columns, values, gradient_BO, out_IO):  # type: ignore[no-untyped-def]
    """Write Xᵀ times the gradient, a range of inputs a part; columns ascend within a cell."""
    start, stop = len(out_IO) * part // parts, len(out_IO) * (part + 1) // parts
    for i in range(start, stop):
        row = out_IO[i]
        for o in range(len(row)):
            row[o] = 0
    for b in range(len(gradient_BO)):
        gradient, column, x = gradient_BO[b], columns[starts[b] : starts[b + 1]], values[starts[b] : starts[b + 1]]
        first, last = np.searchsorted(column, start), np.searchsorted(column, stop)
        for j in range(first, last):
            row = out_IO[column[j]]
            for o in range(len(row)):
                row[o] += x[j] * gradient[o]


@compiled
def _dense_bfloat16(part, parts, starts, columns, values, shift_G, bits_BG):  # type: ignore[no-untyped-def]
    """Write X − shift in bfloat16, rounded to nearest."""
    start, stop = len(bits_BG) * part // parts, len(bits_BG) * (part + 1) // parts
    row = np.empty(len(shift_G), f4)
    for b in range(start, stop):
        bits, column, x = bits_BG[b], columns[starts[b] : starts[b + 1]], values[starts[b] : starts[b + 1]]
        for g in range(len(row)):
            row[g] = -shift_G[g]
        for j in range(len(x)):
            row[column[j]] += x[j]
        for g in range(len(row)):
            bits[g] = bfloat16_bits(row[g])


def dense_bfloat16(rows: SparseRows) -> Tensor:
    """Return the matrix in bfloat16."""
    dense = torch.empty(len(rows), rows.n_columns, dtype=torch.bfloat16)
    shift_G = torch.zeros(rows.n_columns) if rows.shift_G is None else rows.shift_G
    arrays = (rows.starts, rows.columns_M, rows.values_M, shift_G, dense.view(torch.uint16))
    run(_dense_bfloat16, len(rows), *(array.numpy() for array in arrays))
    return dense


def sparse_product(rows: SparseRows, weight_IO: Tensor, bias_O: Tensor, out_BO: Tensor) -> None:
    """Write X W + b."""
    if rows.shift_G is not None:
        bias_O = bias_O - rows.shift_G @ weight_IO
    arrays = (rows.starts, rows.columns_M, rows.values_M, weight_IO, bias_O, out_BO)
    run(_product, len(rows), *(array.numpy() for array in arrays))


def sparse_weight_gradient(rows: SparseRows, gradient_BO: Tensor, out_IO: Tensor) -> None:
    """Write Xᵀ times the gradient."""
    arrays = (rows.starts, rows.columns_M, rows.values_M, gradient_BO, out_IO)
    run(_weight_gradient, len(out_IO), *(array.numpy() for array in arrays), smallest=256)
    if rows.shift_G is not None:
        out_IO.addr_(rows.shift_G, gradient_BO.sum(0), alpha=-1)


def _rows_of_product(part: int, parts: int, a_MI: Tensor, b_IN: Tensor, out_MN: Tensor) -> None:
    start, stop = len(out_MN) * part // parts, len(out_MN) * (part + 1) // parts
    torch.mm(a_MI[start:stop], b_IN, out=out_MN[start:stop])


def dense_product(a_MI: Tensor, b_IN: Tensor, out_MN: Tensor) -> Tensor:
    """Write A B, outside of autograd, a range of rows in each of the threads that kernels use.

    In bfloat16 products are so fast that sharing one out costs more than it saves.
    """
    if out_MN.dtype == torch.bfloat16:
        return torch.mm(a_MI, b_IN, out=out_MN)
    smallest = max(16, _SMALLEST_PART // max(1, b_IN.numel()))
    run_functions(_rows_of_product, len(out_MN), a_MI, b_IN, out_MN, smallest=smallest)
    return out_MN


class _SparseProduct(torch.autograd.Function):
    """X W + b for sparse X, with gradients in W and b."""

    @staticmethod
    def forward(ctx: Any, weight_IO: Tensor, bias_O: Tensor, rows: SparseRows) -> Tensor:
        out_BO = weight_IO.new_empty(len(rows), weight_IO.shape[1])
        sparse_product(rows, weight_IO.detach(), bias_O.detach(), out_BO)
        ctx.rows, ctx.n_in = rows, len(weight_IO)
        return out_BO

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_BO: Tensor) -> tuple[Tensor, Tensor, None]:
        out_IO = gradient_BO.new_empty(ctx.n_in, gradient_BO.shape[1])
        sparse_weight_gradient(ctx.rows, gradient_BO.contiguous(), out_IO)
        return out_IO, gradient_BO.sum(0), None


class _DenseProduct(torch.autograd.Function):
    """X W + b for dense X on the CPU, with gradients in all three."""

    @staticmethod
    def forward(ctx: Any, weight_IO: Tensor, bias_O: Tensor, x_BI: Tensor) -> Tensor:
        ctx.save_for_backward(weight_IO, x_BI)
        out_BO = weight_IO.new_empty(len(x_BI), weight_IO.shape[1])
        return dense_product(x_BI.detach(), weight_IO.detach(), out_BO).add_(bias_O.detach())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_BO: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None]:
        weight_IO, x_BI = ctx.saved_tensors
        weight_gradient = x_gradient = None
        if ctx.needs_input_grad[0]:
            weight_gradient = dense_product(x_BI.t(), gradient_BO, torch.empty_like(weight_IO))
        if ctx.needs_input_grad[2]:
            x_gradient = dense_product(gradient_BO, weight_IO.t(), torch.empty_like(x_BI))
        return weight_gradient, gradient_BO.sum(0), x_gradient


class Linear(nn.Module):
    """y = x W + b, started as ``torch.nn.Linear`` is (uniform within ±1/√I; He et al. 2015).

    ``weight_IO`` has a row per input, unlike torch's, so that an input's weights lie together in memory. Without
    ``bias`` it is a buffer of zeros, so that all maps have the same tensors.
    """

    bias_O: Tensor

    def __init__(self, n_in: int, n_out: int, *, bias: bool = True) -> None:
        super().__init__()
        initial = nn.Linear(n_in, n_out)
        self.weight_IO = nn.Parameter(initial.weight.detach().t().contiguous())
        if bias:
            self.bias_O = initial.bias
        else:
            self.register_buffer("bias_O", torch.zeros(n_out))

    def forward(self, x: Tensor | SparseRows) -> Tensor:
        """Map x (B, I) to (B, O)."""
        if isinstance(x, SparseRows):
            if x.density <= MOSTLY_ZERO:
                return _SparseProduct.apply(self.weight_IO, self.bias_O, x)
            x = x.to_dense()
        if x.device.type == "cpu" and x.dtype == self.weight_IO.dtype and not torch.is_autocast_enabled("cpu"):
            return _DenseProduct.apply(self.weight_IO, self.bias_O, x)
        return torch.addmm(self.bias_O, x, self.weight_IO)
