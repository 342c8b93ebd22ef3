"""What every likelihood offers to the module, the objective and the model."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from omicvae._core import Batch, FeatureMoments, HeadOutput, SettingError, SparseRows, choose, integral
from omicvae.likelihoods._cells import Array, cell_log_prob


class Likelihood(nn.Module, ABC):
    """p(x | decoder heads): declares the decoder outputs it needs and owns the parameters beside them.

    To add one, subclass this, add a line to ``LIKELIHOODS`` and a row to the table of the contract test.

    Parameters
    ----------
    n_genes
        Number of features G.
    dispersion
        One of ``dispersions``; None means the first.
    n_batches
        Number of levels of the batch covariate (column 0 of ``Batch.categories_BD``).
    size_factor
        Whether ``Batch.library_B1`` holds a given size factor s instead of the library size ℓ.

    Raises
    ------
    SettingError
        If ``dispersion`` is none of ``dispersions``.
    """

    name: ClassVar[str]
    support: ClassVar[str]
    dispersions: ClassVar[tuple[str, ...]]

    def __init__(
        self, n_genes: int, *, dispersion: str | None = None, n_batches: int = 1, size_factor: bool = False
    ) -> None:
        super().__init__()
        self.n_genes = integral("n_genes", n_genes, minimum=1)
        self.n_batches = integral("n_batches", n_batches, minimum=1)
        self.size_factor = size_factor
        if dispersion is not None and not self.dispersions:
            raise SettingError(
                f"likelihood={self.name!r} has no dispersion, got dispersion={dispersion!r}. Leave it out."
            )
        if size_factor and self.support != "counts":
            raise SettingError(
                f"Size factors scale counts, and likelihood={self.name!r} models none. Set up without size_factor_key."
            )
        default = self.dispersions[0] if self.dispersions else None
        self.dispersion = default if dispersion is None else choose("dispersion", dispersion, self.dispersions)

    @property
    @abstractmethod
    def heads(self) -> tuple[str, ...]:
        """Names of the decoder outputs, each raw (unbounded) and of shape (B, G)."""

    @property
    def constant_genes(self) -> Tensor:
        """Indices of genes that were constant in training and are left out, int64; none unless a likelihood says so."""
        return torch.empty(0, dtype=torch.int64)

    @abstractmethod
    def initialise(self, moments: FeatureMoments) -> dict[str, Tensor]:
        """Set own parameters and buffers from the training cells, and return a bias (G,) for each head.

        With these biases and zero weights the decoder predicts the training cells' mean.
        """

    @abstractmethod
    def features(self, x_BG: Tensor, library_B1: Tensor) -> Tensor:
        """Return data as networks shall see them: log-normalised, standardised or 0/1; (B, G), differentiable in x."""

    @abstractmethod
    def sparse_features(self, batch: Batch) -> SparseRows:
        """Return :meth:`features` of a minibatch on the CPU from its non-zeros, no gradient."""

    def encoder_input(self, batch: Batch) -> Tensor | SparseRows:
        """Return the data as the encoder shall see them, no gradient; (B, G), sparse where that is faster."""
        if batch.rows_for_kernels:
            return self.sparse_features(batch)
        return self.features(batch.x_BG, batch.library_B1)

    @abstractmethod
    def log_prob(self, batch: Batch, heads: Mapping[str, Tensor]) -> Tensor:
        """Return log p(x | heads) per entry, in nats and data units, with every constant; shape (B, G)."""

    def cell_log_prob(self, batch: Batch, heads: Mapping[str, Tensor]) -> Tensor:
        """Return Σ_g log p(x_g | heads) of each cell, in nats, shape (B,); float64 but under autograd without kernels.

        On the CPU a compiled kernel, where there is one, gives value and gradient in one pass; elsewhere
        :meth:`log_prob` is summed.
        """
        if type(self).evaluate is not Likelihood.evaluate and batch.rows_for_kernels:
            return cell_log_prob(self, batch, heads)
        return self.log_prob(batch, heads).sum(-1, dtype=None if torch.is_grad_enabled() else torch.float64)

    def evaluate(
        self, batch: Batch, outputs: Mapping[str, HeadOutput], weight_B: Array
    ) -> tuple[NDArray[np.float64], tuple[Array, ...]]:
        """Evaluate log p(x_b | heads) of cells on the CPU, and overwrite the outputs by gradients.

        The written-out training step calls it. Override it to call a compiled kernel; by default it is autograd on
        :meth:`log_prob`.

        Returns
        -------
        log p of each cell, nats, float64 (B,); and the gradient of Σ_b weight_b log p_b in each of the likelihood's
        own parameters. Every output holds its own gradient afterwards.
        """
        heads = {name: output.values().requires_grad_() for name, output in outputs.items()}
        with torch.enable_grad():
            value_B = self.log_prob(batch, heads).sum(-1, dtype=torch.float64)
            inputs = (*heads.values(), *self.parameters())
            gradients = torch.autograd.grad((value_B * torch.from_numpy(weight_B)).sum(), inputs)
        for output, gradient_BG in zip(outputs.values(), gradients, strict=False):
            output.overwrite(gradient_BG)
        return value_B.detach().numpy(), tuple(gradient.numpy() for gradient in gradients[len(heads) :])

    @abstractmethod
    def distribution(self, batch: Batch, heads: Mapping[str, Tensor]) -> torch.distributions.Distribution:
        """Return the distribution in data units, for sampling and moments; batch shape (B, G)."""

    @abstractmethod
    def normalized(self, heads: Mapping[str, Tensor]) -> Tensor:
        """Return what is expected of a cell whatever its depth; shape (B, G)."""
