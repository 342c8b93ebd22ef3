"""Frozen values that pass between the layers.

Shape suffixes: ``B`` cells in a minibatch, ``G`` genes (features), ``K`` latent dimensions, ``D`` categorical
covariates, ``V`` continuous covariates, ``M`` non-zero entries, ``R`` rows of a table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omicvae._core.errors import NotSupportedError

#: why, and what to do, where cells are asked for data that they do not have
WITHOUT_DATA = (
    "These cells are minified: latents stand in the place of their data. Load the model with the full AnnData, "
    "CVAE.load(path, adata=adata), for what reads data."
)


@dataclass(frozen=True, slots=True)
class SparseRows:
    """Rows of a matrix that is sparse up to a shift of its columns, one after the other (CSR), on one device.

    Attributes
    ----------
    starts
        Position of each row's first entry, and the number of entries, int64 (B + 1).
    columns_M, values_M
        Column of each entry, int32, ascending within a row; its value, float32.
    n_columns
        Number of columns G.
    shift_G
        Subtracted from every entry of its column, zeros included; None for nothing.
    """

    starts: Tensor
    columns_M: Tensor
    values_M: Tensor
    n_columns: int
    shift_G: Tensor | None = None

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def density(self) -> float:
        """Share of entries that are not zero."""
        return len(self.values_M) / max(1, len(self) * self.n_columns)

    def cut(self, sizes: Sequence[int]) -> list["SparseRows"]:
        """Return consecutive ranges of so many rows, sharing memory."""
        bounds = np.cumsum([0, *sizes])
        entries = np.diff(self.starts.numpy()[bounds]).tolist()
        cuts = zip(pairwise(bounds.tolist()), self.columns_M.split(entries), self.values_M.split(entries), strict=True)
        return [
            SparseRows(self.starts[a : b + 1] - self.starts[a], columns, values, self.n_columns, self.shift_G)
            for (a, b), columns, values in cuts
        ]

    def positions(self) -> Tensor:
        """Ascending flat positions of the entries in the dense (B, G) matrix, int64 (M,)."""
        offset_B = torch.arange(len(self), device=self.starts.device) * self.n_columns
        lengths_B = self.starts.diff()
        return offset_B.repeat_interleave(lengths_B, output_size=len(self.values_M)) + self.columns_M

    def to_dense(self) -> Tensor:
        """Return the matrix, float32 (B, G)."""
        dense = torch.zeros(len(self) * self.n_columns, device=self.values_M.device)
        dense = dense.scatter_(0, self.positions(), self.values_M).view(len(self), self.n_columns)
        return dense if self.shift_G is None else dense.sub_(self.shift_G)

    @classmethod
    def from_dense(cls, x_BG: Tensor) -> "SparseRows":
        """Find the non-zeros of a dense matrix."""
        rows_M, columns_M = x_BG.nonzero(as_tuple=True)
        lengths_B = torch.bincount(rows_M, minlength=len(x_BG))
        starts = torch.cat([lengths_B.new_zeros(1), lengths_B.cumsum(0)])
        return cls(starts, columns_M.int(), x_BG[rows_M, columns_M].float(), x_BG.shape[1])


class Batch:
    """A minibatch of cells on one device, given dense or as its non-zeros; the other form is made on demand.

    Parameters
    ----------
    x
        Data in the user's units (counts, real values, or 0/1): float32 (B, G), or :class:`SparseRows`. None for cells
        that are known by their posterior alone.
    library_B1
        Library size ℓ (counts, at least 1) or the given size factor s, float32.
    categories_BD
        Level codes of the categorical covariates, int64; the batch covariate, where there is one, is column 0.
    continuous_BV
        Continuous covariates, standardised with the training mean and SD, float32.
    posterior
        q(z | x, c) in the place of the data; None where it is to be inferred from them.
    """

    __slots__ = ("_dense", "_sparse", "categories_BD", "continuous_BV", "given_sparse", "library_B1", "posterior")

    def __init__(
        self,
        x: Tensor | SparseRows | None,
        library_B1: Tensor,
        categories_BD: Tensor,
        continuous_BV: Tensor,
        posterior: "LatentPosterior | None" = None,
    ) -> None:
        self.given_sparse = isinstance(x, SparseRows)
        self._dense = None if isinstance(x, SparseRows) else x
        self._sparse = x if isinstance(x, SparseRows) else None
        self.library_B1 = library_B1
        self.categories_BD = categories_BD
        self.continuous_BV = continuous_BV
        self.posterior = posterior

    def __len__(self) -> int:
        return self.library_B1.shape[0]

    def cut(self, sizes: Sequence[int]) -> list["Batch"]:
        """Return consecutive minibatches of so many cells, sharing memory."""
        on_host = self._sparse is not None and self._sparse.starts.device.type == "cpu"
        x = self.rows.cut(sizes) if on_host else self.x_BG.split(list(sizes))
        parts = (tensor.split(list(sizes)) for tensor in (self.library_B1, self.categories_BD, self.continuous_BV))
        return [Batch(*part) for part in zip(x, *parts, strict=True)]

    def with_covariates(self, categories_BD: Tensor, continuous_BV: Tensor) -> "Batch":
        """Return the same cells with other level codes and standardised values."""
        x = self._sparse if self._dense is None else self._dense
        return Batch(x, self.library_B1, categories_BD, continuous_BV)

    @property
    def dtype(self) -> torch.dtype:
        """Number type of the cells."""
        return self.library_B1.dtype

    @property
    def rows_for_kernels(self) -> bool:
        """Whether the data were given as non-zeros on the CPU, for compiled kernels; torch's operations do the rest."""
        return self.given_sparse and self.library_B1.device.type == "cpu"

    @property
    def x_BG(self) -> Tensor:
        """The data, dense."""
        if self._dense is None:
            self._dense = self.rows.to_dense()
        return self._dense

    @property
    def rows(self) -> SparseRows:
        """The non-zeros of the data."""
        if self._sparse is None:
            if self._dense is None:
                raise NotSupportedError(WITHOUT_DATA)
            self._sparse = SparseRows.from_dense(self._dense)
        return self._sparse


#: of a parameter: a copy of its values, and the place of its gradient, in bfloat16
Bfloat16Copies = Mapping[Tensor, tuple[Tensor, Tensor]]


class HeadOutput:
    """What a head of the decoder gives for a minibatch, to be overwritten by a gradient in it.

    Parameters
    ----------
    raw_BG
        The head's outputs before its bias is added, float32 or bfloat16 (B, G).
    bias_G
        Its bias, float32.
    bias_gradient_G
        Where the gradient in the bias is written to, float32.
    """

    __slots__ = ("bias_G", "bias_gradient_G", "bits", "raw_BG")

    def __init__(self, raw_BG: Tensor, bias_G: NDArray[np.float32], bias_gradient_G: NDArray[np.float32]) -> None:
        self.raw_BG, self.bias_G, self.bias_gradient_G = raw_BG, bias_G, bias_gradient_G
        self.bits: NDArray[np.uint16] = raw_BG.view(torch.uint16).numpy()

    @classmethod
    def copy_of(cls, raw_BG: Tensor) -> "HeadOutput":
        """Take over what a head gave with its bias added."""
        n_genes = raw_BG.shape[1]
        copy_BG = raw_BG.detach().clone(memory_format=torch.contiguous_format)
        return cls(copy_BG, np.zeros(n_genes, np.float32), np.empty(n_genes, np.float32))

    def values(self) -> Tensor:
        """Return the outputs with the bias added, float32 (B, G)."""
        return self.raw_BG.float() + torch.from_numpy(self.bias_G)

    def overwrite(self, gradient_BG: Tensor) -> None:
        """Put a gradient in the outputs' place."""
        self.raw_BG.copy_(gradient_BG)
        torch.sum(gradient_BG, 0, out=torch.from_numpy(self.bias_gradient_G))


@dataclass(frozen=True, slots=True)
class FeatureMoments:
    """Per-gene statistics of the training cells, float64; they initialise decoders and standardise inputs.

    Attributes
    ----------
    mean_G, variance_G
        Plain mean and (population) variance of each gene, in data units.
    rate_G
        Σ_n x_ng / Σ_n ℓ_n: share of the library (or mean per unit of size factor).
    inverse_dispersion_G
        Moment estimate of the NB's θ around μ_ng = ℓ_n · rate_g:
        Σ_n μ_ng² / max(Σ_n (x_ng − μ_ng)² − Σ_n μ_ng, small), clipped to [1e-2, 1e4].
    """

    mean_G: Tensor
    variance_G: Tensor
    rate_G: Tensor
    inverse_dispersion_G: Tensor


@dataclass(frozen=True, slots=True)
class LatentPosterior:
    """Diagonal Gaussian posterior q(z | x, c)."""

    mean_BK: Tensor
    log_variance_BK: Tensor

    @property
    def sd_BK(self) -> Tensor:
        """Posterior standard deviation."""
        return (0.5 * self.log_variance_BK).exp()

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Draw z = mean + sd · ε with ε ~ N(0, I) (Kingma & Welling 2014), differentiable in both."""
        return self.at(torch.empty_like(self.mean_BK).normal_(generator=generator))

    def at(self, noise_BK: Tensor) -> Tensor:
        """Return z for a given ε."""
        return self.mean_BK + self.sd_BK * noise_BK
