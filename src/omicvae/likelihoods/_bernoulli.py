"""Bernoulli 0/1 values."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from omicvae._core import Batch, FeatureMoments, HeadOutput, SparseRows
from omicvae.likelihoods._base import Likelihood
from omicvae.likelihoods._cells import Array, bernoulli_cells

_SMALLEST_PROBABILITY = 1e-4


class _BernoulliFunction(torch.autograd.Function):
    """Return log p(x) = x a − softplus(a) for a logit a, with the gradient x − σ(a)."""

    @staticmethod
    def forward(ctx: Any, x_BG: Tensor, logit_BG: Tensor) -> Tensor:
        ctx.save_for_backward(x_BG, logit_BG)
        # x a − softplus(a) = −softplus(a (1 − 2x)) for x in {0, 1}, free of cancellation
        return torch.nn.functional.logsigmoid(torch.addcmul(-logit_BG, x_BG, logit_BG, value=2))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_BG: Tensor) -> tuple[Tensor | None, ...]:
        x_BG, logit_BG = ctx.saved_tensors
        return None, (x_BG - torch.sigmoid(logit_BG)).mul_(gradient_BG)


class Bernoulli(Likelihood):
    """x ~ Bernoulli(σ(logit)), x in {0, 1}.

    See :class:`~omicvae.likelihoods.Likelihood` for the arguments; there is no dispersion.
    """

    name: ClassVar[str] = "bernoulli"
    support: ClassVar[str] = "binary"
    dispersions: ClassVar[tuple[str, ...]] = ()

    @property
    def heads(self) -> tuple[str, ...]:
        """One head: ``logit``."""
        return ("logit",)

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
        """Return log p(x | heads) of each entry, in nats; shape (B, G)."""
        return _BernoulliFunction.apply(batch.x_BG, heads["logit"].to(batch.x_BG.dtype))

    def evaluate(
        self, batch: Batch, outputs: Mapping[str, HeadOutput], weight_B: Array
    ) -> tuple[NDArray[np.float64], tuple[Array, ...]]:
        """By a compiled kernel."""
        return bernoulli_cells(batch, outputs["logit"], weight_B), ()

    def distribution(self, batch: Batch, heads: Mapping[str, Tensor]) -> torch.distributions.Bernoulli:
        """Return the distribution of the entries; batch shape (B, G)."""
        return torch.distributions.Bernoulli(logits=heads["logit"].to(batch.x_BG.dtype))

    def normalized(self, heads: Mapping[str, Tensor]) -> Tensor:
        """Probability of a 1; shape (B, G)."""
        return torch.sigmoid(heads["logit"])
