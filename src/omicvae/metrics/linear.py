"""Linear yardsticks: what least squares leaves, the share that a prediction explains, and principal components."""

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from omicvae.metrics.labels import Array


def residuals(features_NG: NDArray[np.floating[Any]], design_NC: NDArray[np.float64]) -> NDArray[np.float64]:
    """Residuals of the features (N, G) after a linear fit on the design (N, C) and a constant."""
    design_NC = np.hstack([np.ones((len(features_NG), 1)), design_NC])
    return features_NG - design_NC @ np.linalg.lstsq(design_NC, features_NG, rcond=None)[0]


def r_squared(observed_G: NDArray[np.float64], predicted_G: NDArray[np.float64]) -> float:
    """Return 1 − Σ (observed − predicted)² / Σ (observed − its mean)²; NaN where the observed are constant."""
    total = ((observed_G - observed_G.mean()) ** 2).sum()
    return float(1 - ((observed_G - predicted_G) ** 2).sum() / total) if total > 0 else float("nan")


def pca_scores(x_NG: "Array | sp.csr_matrix", n_components: int, *, seed: int) -> NDArray[np.float32]:
    """PCA scores (N, K), with fewer components where cells or genes are fewer; a dense matrix is standardised first.

    Zeros where all cells are alike.
    """
    from sklearn.decomposition import PCA
    from sklearn.utils.sparsefuncs import min_max_axis

    solver = "arpack"
    if min(x_NG.shape) == 1 and not isinstance(x_NG, np.ndarray):
        x_NG = x_NG.toarray()  # arpack has fewer components than genes
    n_components = min(n_components, max(1, min(x_NG.shape) - 1))
    low_G, high_G = (x_NG.min(0), x_NG.max(0)) if isinstance(x_NG, np.ndarray) else min_max_axis(x_NG, axis=0)
    if np.array_equal(low_G, high_G):
        return np.zeros((x_NG.shape[0], n_components), np.float32)
    if isinstance(x_NG, np.ndarray):
        solver = "randomized"
        # by powers of two, which costs no digit: the squares of 1e30 and of 1e-30 are beyond single precision
        scaled_NG: Array = np.ldexp(x_NG, -np.frexp(np.maximum(-low_G, high_G))[1])
        sd_G = scaled_NG.std(0)
        x_NG = (scaled_NG - scaled_NG.mean(0)) / np.where(sd_G > 0, sd_G, 1.0)
    scores_NK: NDArray[np.float32] = PCA(n_components, svd_solver=solver, random_state=seed).fit_transform(x_NG)
    return scores_NK.astype(np.float32)
