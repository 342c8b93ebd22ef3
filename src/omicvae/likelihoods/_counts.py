"""What the count likelihoods share: the mean, its head, and the dispersion of the negative binomials."""

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from omicvae._core import Batch, FeatureMoments, HeadOutput, SparseRows
from omicvae._core.native import as_array, run
from omicvae.likelihoods import _kernels
from omicvae.likelihoods._cells import Array
from omicvae.likelihoods._links import LOG_DISPERSION, LOG_MEAN, SOFTMAX, Link

ENCODER_SCALE = 1e4
_SMALLEST_RATE = 1e-30


class CountMean:
    """μ = ℓ · softmax(scale), or μ = s · exp(scale) with a given size factor.

    Parameters
    ----------
    size_factor
        Whether cells come with a size factor s near 1 instead of a library size ℓ.
    """

    def __init__(self, size_factor: bool) -> None:
        self.link: Link = LOG_MEAN if size_factor else SOFTMAX
        self._encoder_scale = 1.0 if size_factor else ENCODER_SCALE

    def bias(self, moments: FeatureMoments) -> Tensor:
        """Return the log rate of each gene; genes never seen get half of the smallest rate seen."""
        rate = moments.rate_G.to(torch.float64)
        seen = rate[rate > _SMALLEST_RATE]
        floor = 0.5 * seen.min() if seen.numel() else torch.ones((), dtype=rate.dtype, device=rate.device)
        return torch.maximum(rate, floor).log().to(torch.get_default_dtype())

    def features(self, x_BG: Tensor, library_B1: Tensor) -> Tensor:
        """Return log1p(10⁴ x / ℓ), or log1p(x / s) with size factors; shape (B, G)."""
        return (x_BG * (self._encoder_scale / library_B1)).log1p()

    def sparse_features(self, batch: Batch) -> SparseRows:
        """Return :meth:`features` from the non-zeros."""
        rows = batch.rows
        values_M = torch.empty_like(rows.values_M)
        arrays = (rows.starts, rows.values_M, (self._encoder_scale / batch.library_B1)[:, 0], values_M)
        run(_kernels.log1p_scaled, len(rows), *(array.numpy() for array in arrays))
        return replace(rows, values_M=values_M)

    def mean(self, batch: Batch, heads: Mapping[str, Tensor]) -> Tensor:
        """Return μ, counts; shape (B, G)."""
        return self.link.forward(heads["scale"].to(batch.x_BG.dtype), batch.library_B1)

    def normalized(self, heads: Mapping[str, Tensor]) -> Tensor:
        """Return μ of a cell with ℓ = 1 or s = 1; shape (B, G)."""
        scale = heads["scale"]
        return self.link.forward(scale, scale.new_ones(scale.shape[0], 1))


class GeneDispersion(nn.Module):
    """One θ per gene; ``log_theta`` has shape (G,)."""

    heads: tuple[str, ...] = ()

    def __init__(self, n_genes: int, n_batches: int) -> None:
        super().__init__()
        self.log_theta = nn.Parameter(torch.zeros(n_genes))

    def initialise(self, log_theta_G: Tensor) -> dict[str, Tensor]:
        """Start at a moment estimate."""
        with torch.no_grad():
            self.log_theta.copy_(log_theta_G)
        return {}

    def forward(self, batch: Batch, heads: Mapping[str, Tensor]) -> Tensor:
        """Return log θ, shape (G,)."""
        return self.log_theta

    def table(self, batch: Batch, outputs: Mapping[str, HeadOutput]) -> tuple[Array, Tensor]:
        """Return log θ as a table (R, G) and each cell's row in it."""
        return as_array(self.log_theta)[None], torch.zeros(len(batch), dtype=torch.int64)

    def take_gradient(self, gradient_RG: Array, outputs: Mapping[str, HeadOutput]) -> tuple[Array, ...]:
        """Return the gradient in the table as one in own parameters, or give it to the head."""
        return (gradient_RG[0],)


class GeneBatchDispersion(nn.Module):
    """One θ per level of the batch covariate and gene; ``log_theta`` has shape (n_batches, G)."""

    heads: tuple[str, ...] = ()

    def __init__(self, n_genes: int, n_batches: int) -> None:
        super().__init__()
        self.log_theta = nn.Parameter(torch.zeros(n_batches, n_genes))

    def initialise(self, log_theta_G: Tensor) -> dict[str, Tensor]:
        """Start every level at the same moment estimate."""
        with torch.no_grad():
            self.log_theta.copy_(log_theta_G.expand_as(self.log_theta))
        return {}

    def forward(self, batch: Batch, heads: Mapping[str, Tensor]) -> Tensor:
        """Return log θ, shape (B, G); shape (G,) where no batch covariate was registered."""
        if batch.categories_BD.shape[1] == 0:
            return self.log_theta[0]
        return nn.functional.embedding(batch.categories_BD[:, 0], self.log_theta)

    def table(self, batch: Batch, outputs: Mapping[str, HeadOutput]) -> tuple[Array, Tensor]:
        """Return log θ as a table (R, G) and each cell's row in it."""
        one = torch.zeros(len(batch), dtype=torch.int64)
        return as_array(self.log_theta), batch.categories_BD[:, 0] if batch.categories_BD.shape[1] else one

    def take_gradient(self, gradient_RG: Array, outputs: Mapping[str, HeadOutput]) -> tuple[Array, ...]:
        """Return the gradient in the table as one in own parameters, or give it to the head."""
        return (gradient_RG,)


class GeneCellDispersion(nn.Module):
    """θ from a decoder head, one per gene and cell."""

    heads: tuple[str, ...] = ("dispersion",)

    def __init__(self, n_genes: int, n_batches: int) -> None:
        super().__init__()

    def initialise(self, log_theta_G: Tensor) -> dict[str, Tensor]:
        """Start the head at a moment estimate."""
        return {"dispersion": log_theta_G.to(torch.get_default_dtype())}

    def forward(self, batch: Batch, heads: Mapping[str, Tensor]) -> Tensor:
        """Return log θ, shape (B, G)."""
        return heads["dispersion"]

    def table(self, batch: Batch, outputs: Mapping[str, HeadOutput]) -> tuple[Array, Tensor]:
        """Return log θ as a table (R, G) and each cell's row in it."""
        return outputs["dispersion"].values().numpy(), torch.arange(len(batch))

    def take_gradient(self, gradient_RG: Array, outputs: Mapping[str, HeadOutput]) -> tuple[Array, ...]:
        """Return the gradient in the table as one in own parameters, or give it to the head."""
        outputs["dispersion"].overwrite(torch.from_numpy(gradient_RG))
        return ()


Dispersion = GeneDispersion | GeneBatchDispersion | GeneCellDispersion
DISPERSIONS: dict[str, type[Dispersion]] = {
    "gene": GeneDispersion,
    "gene-batch": GeneBatchDispersion,
    "gene-cell": GeneCellDispersion,
}


def log_inverse_dispersion(moments: FeatureMoments) -> Tensor:
    """Return the log of the moment estimate of θ, inside the range that θ may have; shape (G,), float64."""
    low, high = (math.exp(bound) for bound in (LOG_DISPERSION.low, LOG_DISPERSION.high))
    return moments.inverse_dispersion_G.to(torch.float64).clamp(low, high).log()
