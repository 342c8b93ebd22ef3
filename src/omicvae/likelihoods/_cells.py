"""Σ_g log p(x_g | heads) of whole cells on the CPU: the compiled kernels as differentiable functions."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from omicvae._core import Batch
from omicvae._core.native import as_array, n_parts, run
from omicvae.likelihoods import _kernels

Arrays = tuple[NDArray[Any], ...]
#: (weight of each cell, inputs) → (value of each cell, gradient of each input)
Evaluate = Callable[..., tuple[NDArray[np.float64], Arrays]]


class _CellLogProb(torch.autograd.Function):
    """Value and gradients in one pass over the minibatch, forward.

    The gradients are those of the mean negative log-probability, which is what training asks for; they are computed
    again where something else is asked of the cells.
    """

    @staticmethod
    def forward(ctx: Any, n_cells: int, evaluate: Evaluate, *inputs: Tensor) -> Tensor:
        weight_B = np.full(n_cells, -1 / n_cells, dtype=np.float32)
        value_B, gradients = evaluate(weight_B, *map(as_array, inputs))
        ctx.evaluate, ctx.weight_B, ctx.gradients = evaluate, weight_B, gradients
        ctx.save_for_backward(*inputs)
        return torch.from_numpy(value_B)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_B: Tensor) -> tuple[Tensor | None, ...]:
        weight_B, gradients = gradient_B.float().numpy(), ctx.gradients
        if not np.array_equal(weight_B, ctx.weight_B):
            _, gradients = ctx.evaluate(weight_B, *map(as_array, ctx.saved_tensors))
        return None, None, *map(torch.from_numpy, gradients)


def _rows(batch: Batch) -> Arrays:
    rows = batch.rows
    return rows.starts.numpy(), rows.columns_M.numpy(), rows.values_M.numpy()


def _sums(table_RG: NDArray[np.float32], n_cells: int) -> NDArray[np.float32]:
    """Tables to sum gradients into: one a part, but one in all where every cell has a row of its own."""
    parts = 1 if len(table_RG) == n_cells else n_parts(n_cells)
    return np.zeros((parts, *table_RG.shape), dtype=np.float32)


def negative_binomial_cells(
    batch: Batch, raw_BG: Tensor, log_theta_RG: Tensor, row_B: Tensor, *, softmax: bool, gate_BG: Tensor | None = None
) -> Tensor:
    """Return log NB of each cell in nats, float64 (B,); with ``gate_BG``, the logit of π, log ZINB.

    Parameters
    ----------
    raw_BG
        μ before its link: the softmax times ℓ, or exp times s.
    log_theta_RG, row_B
        Table of log θ, and the row that holds for each cell.
    """

    def evaluate(weight_B: NDArray[np.float32], log_theta: Any, *raws: Any) -> tuple[Any, Arrays]:
        theta, constant = np.empty_like(log_theta), np.empty_like(log_theta)
        run(_kernels.dispersion_table, len(log_theta), log_theta, theta, constant)
        value_B, sums, own = np.empty(len(batch)), _sums(theta, len(batch)), [np.empty_like(raw) for raw in raws]
        given = (raws[0], as_array(batch.library_B1[:, 0]), softmax, *_rows(batch), theta, constant, as_array(row_B))
        gate = (raws[-1], len(raws) == 2)
        run(_kernels.negative_binomial_cells, len(batch), *given, *gate, weight_B, value_B, own[0], own[-1], sums)
        return value_B, (sums.sum(0), *own)

    raws = (raw_BG,) if gate_BG is None else (raw_BG, gate_BG)
    return _CellLogProb.apply(len(batch), evaluate, log_theta_RG, *raws)


def poisson_cells(batch: Batch, raw_BG: Tensor, *, softmax: bool) -> Tensor:
    """Return log Poisson of each cell in nats, float64 (B,)."""

    def evaluate(weight_B: NDArray[np.float32], raw: Any) -> tuple[Any, Arrays]:
        value_B, gradient = np.empty(len(batch)), np.empty_like(raw)
        given = (raw, as_array(batch.library_B1[:, 0]), softmax, *_rows(batch))
        run(_kernels.poisson_cells, len(batch), *given, weight_B, value_B, gradient)
        return value_B, (gradient,)

    return _CellLogProb.apply(len(batch), evaluate, raw_BG)


def bernoulli_cells(batch: Batch, logit_BG: Tensor) -> Tensor:
    """Return log Bernoulli of each cell in nats, float64 (B,)."""

    def evaluate(weight_B: NDArray[np.float32], logit: Any) -> tuple[Any, Arrays]:
        value_B, gradient = np.empty(len(batch)), np.empty_like(logit)
        run(_kernels.bernoulli_cells, len(batch), logit, *_rows(batch), weight_B, value_B, gradient)
        return value_B, (gradient,)

    return _CellLogProb.apply(len(batch), evaluate, logit_BG)


def gaussian_cells(
    batch: Batch, mean_BG: Tensor, log_variance_RG: Tensor, row_B: Tensor, location_G: Tensor, inverse_scale_G: Tensor
) -> Tensor:
    """Return log N of each cell's standardised values in nats, float64 (B,); genes with 1/scale = 0 are left out."""

    def evaluate(weight_B: NDArray[np.float32], mean: Any, log_variance: Any) -> tuple[Any, Arrays]:
        value_B, gradient, sums = np.empty(len(batch)), np.empty_like(mean), _sums(log_variance, len(batch))
        given = (*_rows(batch), as_array(location_G), as_array(inverse_scale_G), mean)
        table = (log_variance, np.exp(-log_variance), as_array(row_B))
        run(_kernels.gaussian_cells, len(batch), *given, *table, weight_B, value_B, gradient, sums)
        return value_B, (gradient, sums.sum(0))

    return _CellLogProb.apply(len(batch), evaluate, mean_BG, log_variance_RG)
