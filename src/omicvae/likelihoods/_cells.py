"""Σ_g log p(x_g | heads) of whole cells on the CPU: compiled kernels on arrays, and as a differentiable function."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from omicvae._core import Batch, HeadOutput
from omicvae._core.native import as_array, n_parts, run
from omicvae.likelihoods import _kernels

if TYPE_CHECKING:
    from omicvae.likelihoods._base import Likelihood

Array = NDArray[np.float32]
#: log-probability of each cell, nats, float64 (B,), and a gradient
Evaluated = tuple[NDArray[np.float64], Array]


class _CellLogProb(torch.autograd.Function):
    """Value and gradients in one pass over the minibatch, forward.

    The gradients are those of the mean negative log-probability, which is what training asks for; they are computed
    again where something else is asked of the cells.
    """

    @staticmethod
    def forward(ctx: Any, likelihood: "Likelihood", batch: Batch, names: tuple[str, ...], *inputs: Tensor) -> Tensor:
        def evaluate(weight_B: Array, *raws: Tensor) -> tuple[Any, list[Tensor]]:
            outputs = {name: HeadOutput.copy_of(raw) for name, raw in zip(names, raws, strict=True)}
            value_B, own = likelihood.evaluate(batch, outputs, weight_B)
            return value_B, [*(output.raw_BG for output in outputs.values()), *map(torch.from_numpy, own)]

        weight_B = np.full(len(batch), -1 / len(batch), dtype=np.float32)
        heads = inputs[: len(names)]
        value_B, ctx.gradients = evaluate(weight_B, *heads)
        ctx.evaluate, ctx.weight_B = evaluate, weight_B
        ctx.save_for_backward(*heads)
        return torch.from_numpy(value_B)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_B: Tensor) -> tuple[Tensor | None, ...]:
        weight_B, gradients = gradient_B.float().numpy(), ctx.gradients
        if not np.array_equal(weight_B, ctx.weight_B):
            _, gradients = ctx.evaluate(weight_B, *ctx.saved_tensors)
        return None, None, None, *gradients


def cell_log_prob(likelihood: "Likelihood", batch: Batch, heads: Mapping[str, Tensor]) -> Tensor:
    """Return ``likelihood.evaluate`` as a differentiable function of the heads and the likelihood's parameters."""
    return _CellLogProb.apply(likelihood, batch, tuple(heads), *heads.values(), *likelihood.parameters())


def _rows(batch: Batch) -> tuple[NDArray[Any], ...]:
    rows = batch.rows
    return rows.starts.numpy(), rows.columns_M.numpy(), rows.values_M.numpy()


def _own_sums(table_RG: Array, row_B: Tensor) -> Array:
    """Tables to sum gradients into: one a part, but one in all where every cell has a row of its own."""
    own_rows = len(table_RG) == len(row_B) and torch.equal(row_B, torch.arange(len(row_B)))
    return np.zeros((1 if own_rows else n_parts(len(row_B)), *table_RG.shape), dtype=np.float32)


def _sums(output: HeadOutput) -> Array:
    return np.zeros((n_parts(len(output.bits)), len(output.bias_G)), dtype=np.float32)


def negative_binomial_cells(
    batch: Batch,
    raw: HeadOutput,
    log_theta_RG: Array,
    row_B: Tensor,
    weight_B: Array,
    *,
    softmax: bool,
    gate: HeadOutput | None = None,
) -> Evaluated:
    """Return log NB of each cell and the gradient in the table; with ``gate``, the logit of π, log ZINB.

    Parameters
    ----------
    raw
        μ before its link: the softmax times ℓ, or exp times s.
    log_theta_RG, row_B
        Table of log θ, and the row that holds for each cell.
    weight_B
        The gradients are those of Σ_b weight_b log p_b.
    """
    table = tuple(np.empty((3, *log_theta_RG.shape), np.float32))
    run(_kernels.dispersion_table, len(log_theta_RG), log_theta_RG, *table)
    value_B, own, raw_sums = np.empty(len(batch)), _own_sums(log_theta_RG, row_B), _sums(raw)
    gate_sums = raw_sums if gate is None else _sums(gate)
    gated = gate or raw
    heads = (raw.bits, raw.bias_G, raw_sums, gated.bits, gated.bias_G, gate_sums, gate is not None)
    given = (as_array(batch.library_B1[:, 0]), softmax, *_rows(batch), *table, as_array(row_B))
    run(_kernels.negative_binomial_cells, len(batch), *heads, *given, weight_B, value_B, own)
    raw_sums.sum(0, out=raw.bias_gradient_G)
    if gate is not None:
        gate_sums.sum(0, out=gate.bias_gradient_G)
    return value_B, own.sum(0)


def poisson_cells(batch: Batch, raw: HeadOutput, weight_B: Array, *, softmax: bool) -> NDArray[np.float64]:
    """Return log Poisson of each cell."""
    value_B, sums = np.empty(len(batch)), _sums(raw)
    given = (as_array(batch.library_B1[:, 0]), softmax, *_rows(batch), weight_B)
    run(_kernels.poisson_cells, len(batch), raw.bits, raw.bias_G, sums, *given, value_B)
    sums.sum(0, out=raw.bias_gradient_G)
    return value_B


def bernoulli_cells(batch: Batch, logit: HeadOutput, weight_B: Array) -> NDArray[np.float64]:
    """Return log Bernoulli of each cell."""
    value_B, sums = np.empty(len(batch)), _sums(logit)
    run(_kernels.bernoulli_cells, len(batch), logit.bits, logit.bias_G, sums, *_rows(batch), weight_B, value_B)
    sums.sum(0, out=logit.bias_gradient_G)
    return value_B


def gaussian_cells(
    batch: Batch,
    mean: HeadOutput,
    log_variance_RG: Array,
    row_B: Tensor,
    location_G: Tensor,
    inverse_scale_G: Tensor,
    weight_B: Array,
) -> Evaluated:
    """Return log N of each cell's standardised values and the gradient in the table; 1/scale = 0 leaves a gene out."""
    value_B, own, sums = np.empty(len(batch)), _own_sums(log_variance_RG, row_B), _sums(mean)
    given = (*_rows(batch), as_array(location_G), as_array(inverse_scale_G))
    table = (log_variance_RG, np.exp(-log_variance_RG), as_array(row_B))
    run(_kernels.gaussian_cells, len(batch), mean.bits, mean.bias_G, sums, *given, *table, weight_B, value_B, own)
    sums.sum(0, out=mean.bias_gradient_G)
    return value_B, own.sum(0)
