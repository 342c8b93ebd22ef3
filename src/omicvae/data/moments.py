"""Per-gene moments of sparse rows."""

from collections.abc import Callable, Iterator

import numpy as np
import torch

from omicvae._core import FeatureMoments
from omicvae.data.matrix import chunk_rows

Gather = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]

#: Range of the NB's inverse dispersion θ.
_THETA_RANGE = (1e-2, 1e4)


def feature_moments(gather: Gather, library_N: np.ndarray, rows: np.ndarray, n_genes: int) -> FeatureMoments:
    """Mean, variance, rate and moment estimate of the NB's θ of each gene, over the cells ``rows``.

    Sums run over the non-zeros in chunks, in float64; zeros enter in closed form. The plain variance takes a
    second pass around the mean, so that real values far from 0 lose no digits.

    Parameters
    ----------
    gather
        Gives (where each row starts and ends, genes, values) of some rows.
    library_N
        ℓ or s of all cells.
    rows
        Cells to use.
    n_genes
        Number of genes.
    """
    n = len(rows)
    library = library_N[rows]
    sum_G, square_G, cross_G, count_G = np.zeros((4, n_genes))
    for library_M, genes, x in _entries(gather, library_N, rows, n_genes):
        sum_G += np.bincount(genes, x, n_genes)
        square_G += np.bincount(genes, x * x, n_genes)
        cross_G += np.bincount(genes, x * library_M, n_genes)
        count_G += np.bincount(genes, minlength=n_genes)
    mean_G = sum_G / n
    centred_G = (n - count_G) * mean_G**2
    for _, genes, x in _entries(gather, library_N, rows, n_genes):
        centred_G += np.bincount(genes, (x - mean_G[genes]) ** 2, n_genes)
    rate_G = sum_G / library.sum()
    squared_mean_G = rate_G**2 * (library**2).sum()  # Σ μ², with μ = ℓ · rate
    # Σ (x − μ)² − Σ μ, where Σ μ = Σ x
    excess_G = square_G - 2 * rate_G * cross_G + squared_mean_G - sum_G
    small = np.finfo(np.float64).tiny
    # a gene without excess, an all-zero one included, is Poisson: the largest θ
    theta_G = np.full(n_genes, _THETA_RANGE[1])
    wide = excess_G > np.maximum(squared_mean_G / _THETA_RANGE[1], small)
    theta_G[wide] = squared_mean_G[wide] / excess_G[wide]
    return FeatureMoments(
        mean_G=torch.from_numpy(mean_G),
        variance_G=torch.from_numpy(centred_G / n),
        rate_G=torch.from_numpy(rate_G),
        inverse_dispersion_G=torch.from_numpy(np.clip(theta_G, *_THETA_RANGE)),
    )


def _entries(
    gather: Gather, library_N: np.ndarray, rows: np.ndarray, n_genes: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield (library of the cell, gene, value) of the non-zeros, by chunks."""
    step = chunk_rows(n_genes)
    for start in range(0, len(rows), step):
        chosen = rows[start : start + step]
        starts, genes, values = gather(chosen)
        yield np.repeat(library_N[chosen], np.diff(starts)), genes.astype(np.int64), values.astype(np.float64)
