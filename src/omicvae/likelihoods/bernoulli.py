"""Bernoulli 0/1 values."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from omicvae._core import Batch, FeatureMoments, HeadOutput, SparseRows
from omicvae._core.native import compiled
from omicvae.likelihoods.base import Evaluated, Likelihood, run_cells
from omicvae.likelihoods.kernel_functions import exp, f4, if_nan, load, log1p, store
from omicvae.likelihoods.parameters import Array

_SMALLEST_PROBABILITY = 1e-4


class Bernoulli(Likelihood):
    """x ~ Bernoulli(σ(logit)), x in {0, 1}.

    See :class:`~omicvae.likelihoods.Likelihood` for the arguments; there is no dispersion.
    """

    name: ClassVar[str] = "bernoulli"
    support: ClassVar[str] = "binary"
    heads = ("logit",)

    def initialise(self, moments: FeatureMoments) -> dict[str, Tensor]:
        """Start at the logit of the training mean, held within 1e-4 of 0 and 1."""
        p = moments.mean_G.clamp(_SMALLEST_PROBABILITY, 1 - _SMALLEST_PROBABILITY)
        return {"logit": torch.logit(p).to(torch.get_default_dtype())}

    def features(self, x_BG: Tensor, library_B1: Tensor) -> Tensor:
        """Return the data as they are; shape (B, G)."""
        return x_BG

    def sparse_features(self, batch: Batch) -> SparseRows:
        """Return the data as they are."""
        return batch.rows

    def log_prob(self, batch: Batch, heads: Mapping[str, Tensor]) -> Tensor:
        """Return log p(x | heads) = x a − softplus(a) of each entry, in nats; shape (B, G)."""
        # the same as log σ(a (2x − 1)) for x in {0, 1}, which is free of cancellation
        return logsigmoid(heads["logit"].to(batch.dtype) * (2 * batch.x_BG - 1))

    def evaluate(self, batch: Batch, outputs: Mapping[str, HeadOutput], weight_B: Array) -> Evaluated:
        """By a compiled kernel."""
        return run_cells(_bernoulli_cells, batch, [outputs["logit"]], weight_B, 3), ()

    def distribution(self, batch: Batch, heads: Mapping[str, Tensor]) -> torch.distributions.Bernoulli:
        """Return the distribution of the entries; batch shape (B, G)."""
        return torch.distributions.Bernoulli(logits=heads["logit"].to(batch.dtype))

    def normalized(self, heads: Mapping[str, Tensor]) -> Tensor:
        """Probability of a 1; shape (B, G)."""
        return torch.sigmoid(heads["logit"])


@compiled
def _bernoulli_cells(part, parts, head, rows, weight_B, value_B, memory_PWG):  # type: ignore[no-untyped-def]
    """Bernoulli of whole cells: Σ_g [x a − softplus(a)] with the gradient x − σ(a)."""
    starts, columns, values = rows
    n, n_genes, memory = len(value_B), len(head[2]), memory_PWG[part]
    logit, value, gradient = memory[0, :n_genes], memory[1, :n_genes], memory[2, :n_genes]
    for b in range(n * part // parts, n * (part + 1) // parts):
        total = np.float64(0)
        load(head, b, logit)
        for g in range(n_genes):
            a = logit[g]
            small = exp(-abs(a))
            value[g] = max(a, f4(0)) + log1p(small) + if_nan(a)
            gradient[g] = -weight_B[b] * (f4(1) if a >= f4(0) else small) / (f4(1) + small)
        for g in range(n_genes):  # apart, because float64 halves the width of a vector
            total -= value[g]
        column, x_row = columns[starts[b] : starts[b + 1]], values[starts[b] : starts[b + 1]]
        for j in range(len(column)):
            total += x_row[j] * logit[column[j]]
            gradient[column[j]] += weight_B[b] * x_row[j]
        value_B[b] = total
        store(gradient, head, b, part)
