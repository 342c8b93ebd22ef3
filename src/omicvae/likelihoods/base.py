"""What every likelihood offers to the module, the objective and the model."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from omicvae._core import Batch, FeatureMoments, HeadOutput, SettingError, SparseRows, choose, integral
from omicvae._core.native import Kernel, n_parts, run
from omicvae.likelihoods.kernel_functions import APART
from omicvae.likelihoods.parameters import Array, GeneParameter

#: log p of each cell, nats, float64 (B,), and the gradient in each of the likelihood's own parameters
Evaluated = tuple[NDArray[np.float64], tuple[Array, ...]]


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
    dispersions: ClassVar[Mapping[str, type[GeneParameter]]] = {}
    #: names of the decoder outputs, each raw (unbounded) and of shape (B, G)
    heads: tuple[str, ...]

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
        default, choices = next(iter(self.dispersions), None), tuple(self.dispersions)
        self.dispersion = default if dispersion is None else choose("dispersion", dispersion, choices)
        self.build()

    def build(self) -> None:
        """Create own parameters and buffers from the settings; none by default."""

    def add_batches(self, n: int) -> None:
        """Hold for ``n`` further levels of the batch covariate, whose codes follow on those of the others."""
        for part in self.modules():
            if isinstance(part, GeneParameter):
                part.add_batches(n)

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
        """Return Σ_g log p(x_g | heads) of each cell, in nats, float64 (B,); differentiable in heads and parameters.

        On the CPU a compiled kernel, where there is one, gives value and gradient in one pass; elsewhere
        :meth:`log_prob` is summed.
        """
        if type(self).evaluate is not Likelihood.evaluate and batch.rows_for_kernels:
            value_B: Tensor = _CellLogProb.apply(self, batch, tuple(heads), *heads.values(), *self.parameters())
            return value_B
        return self.log_prob(batch, heads).sum(-1, dtype=torch.float64)

    def evaluate(self, batch: Batch, outputs: Mapping[str, HeadOutput], weight_B: Array) -> Evaluated:
        """Evaluate log p(x_b | heads) of cells on the CPU, and overwrite the outputs by gradients.

        The written-out training step calls it. Override it to call a compiled kernel, see :func:`run_cells`; by default
        it is autograd on :meth:`log_prob`.

        Returns
        -------
        log p of each cell, nats, float64 (B,); and the gradient of Σ_b weight_b log p_b in each of the likelihood's
        own parameters. Every output holds its own gradient afterwards.
        """
        heads = {name: output.values().requires_grad_() for name, output in outputs.items()}
        with torch.enable_grad():
            value_B = self.log_prob(batch, heads).sum(-1, dtype=torch.float64)
            learned = [parameter for parameter in self.parameters() if parameter.requires_grad]
            total = (value_B * torch.from_numpy(weight_B)).sum()
            gradients = torch.autograd.grad(total, (*heads.values(), *learned))
        for output, gradient_BG in zip(outputs.values(), gradients, strict=False):
            output.overwrite(gradient_BG)
        own = dict(zip(learned, gradients[len(heads) :], strict=True))
        slopes = (own.get(parameter, torch.zeros_like(parameter)) for parameter in self.parameters())
        return value_B.detach().numpy(), tuple(gradient.numpy() for gradient in slopes)

    @abstractmethod
    def distribution(self, batch: Batch, heads: Mapping[str, Tensor]) -> torch.distributions.Distribution:
        """Return the distribution in data units, for sampling and moments; batch shape (B, G)."""

    @abstractmethod
    def normalized(self, heads: Mapping[str, Tensor]) -> Tensor:
        """Return what is expected of a cell whatever its depth; shape (B, G)."""

    def parameters_at(self, batch: Batch, heads: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the parameters of :meth:`distribution` by name, ``"mean"`` first; each (B, G), or (G,) of all cells.

        Names are scvi-tools' where it has one: ``dispersions`` is θ, ``dropout`` the probability of an extra zero.
        """
        return {"mean": self.normalized(heads)}


class _CellLogProb(torch.autograd.Function):
    """:meth:`Likelihood.evaluate` as a differentiable function: value and gradients in one pass, forward.

    The gradients are those of the mean negative log-probability, which is what training asks for; they are computed
    again where something else is asked of the cells.
    """

    @staticmethod
    def forward(ctx: Any, likelihood: Likelihood, batch: Batch, names: tuple[str, ...], *inputs: Tensor) -> Tensor:
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


def run_cells(
    kernel: Kernel, batch: Batch, outputs: Sequence[HeadOutput], weight_B: Array, n_rows: int, *arguments: Any
) -> NDArray[np.float64]:
    """Call ``kernel(part, parts, *heads, rows, weight_B, value_B, memory_PWG, *arguments)``; return the cells' values.

    Each of ``heads`` is a tuple of an output's bits and values, one of them empty, its bias (G,), and where to sum the
    gradient in the bias (parts, G); ``rows`` holds the starts, columns and values of the data's non-zeros;
    ``memory_PWG`` holds ``n_rows`` rows of zeros for each part, each with :data:`APART` values to spare.
    """
    rows, value_B, parts = batch.rows, np.empty(len(batch)), n_parts(len(batch))
    heads = []
    for output in outputs:
        halves, sum_PG = output.raw_BG.dtype == torch.bfloat16, np.zeros((parts, rows.n_columns), np.float32)
        bits_BG, values_BG = (output.bits, _NO_VALUES) if halves else (_NO_BITS, output.raw_BG.numpy())
        heads.append((bits_BG, values_BG, output.bias_G, sum_PG))
    non_zeros = (rows.starts.numpy(), rows.columns_M.numpy(), rows.values_M.numpy())
    memory = torch.zeros(APART + parts * n_rows * (rows.n_columns + APART)).numpy()  # torch's starts at a cache line
    memory_PWG = memory[APART:].reshape(parts, n_rows, -1)
    run(kernel, len(batch), *heads, non_zeros, weight_B, value_B, memory_PWG, *arguments)
    for output, (*_, sum_PG) in zip(outputs, heads, strict=True):
        sum_PG.sum(0, out=output.bias_gradient_G)
    return value_B


_NO_BITS, _NO_VALUES = np.empty((0, 0), np.uint16), np.empty((0, 0), np.float32)
