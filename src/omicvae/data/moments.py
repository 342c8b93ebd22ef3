"""Per-gene moments of sparse rows."""

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.utils.sparsefuncs import incr_mean_variance_axis

from omicvae._core import FeatureMoments
from omicvae.data.matrix import chunk_rows

#: Range of the NB's inverse dispersion θ.
_THETA_RANGE = (1e-2, 1e4)


def feature_moments(
    csr: Callable[[np.ndarray], sp.csr_matrix], library_N: np.ndarray, rows: np.ndarray, n_genes: int
) -> FeatureMoments:
    """Mean, variance, rate and moment estimate of the NB's θ of each gene, over the cells ``rows``.

    ``csr`` gives the values of some rows, ``library_N`` is ℓ or s of all cells. Sums run over chunks of rows, in
    float64; the variance is taken around the mean, so that real values far from 0 lose no digits.
    """
    mean_G, variance_G, n_G, cross_G = np.zeros((4, n_genes))
    step = chunk_rows(n_genes)
    for start in range(0, len(rows), step):
        chosen = rows[start : start + step]
        x_MG = csr(chosen).astype(np.float64)
        mean_G, variance_G, n_G = incr_mean_variance_axis(
            x_MG, axis=0, last_mean=mean_G, last_var=variance_G, last_n=n_G
        )
        cross_G += library_N[chosen] @ x_MG
    sum_G, library_M = len(rows) * mean_G, library_N[rows]
    rate_G = sum_G / library_M.sum()
    squared_mean_G = rate_G**2 * (library_M**2).sum()  # Σ μ², with μ = ℓ · rate
    # Σ (x − μ)² − Σ μ, where Σ μ = Σ x
    excess_G = len(rows) * (variance_G + mean_G**2) - 2 * rate_G * cross_G + squared_mean_G - sum_G
    # a gene without excess, an all-zero one included, is Poisson: the largest θ
    theta_G = np.full(n_genes, _THETA_RANGE[1])
    wide = excess_G > np.maximum(squared_mean_G / _THETA_RANGE[1], np.finfo(np.float64).tiny)
    theta_G[wide] = squared_mean_G[wide] / excess_G[wide]
    return FeatureMoments(
        mean_G=torch.from_numpy(mean_G),
        variance_G=torch.from_numpy(variance_G),
        rate_G=torch.from_numpy(rate_G),
        inverse_dispersion_G=torch.from_numpy(np.clip(theta_G, *_THETA_RANGE)),
    )
