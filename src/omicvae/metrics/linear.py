"""Linear yardsticks: what least squares leaves, and principal components."""

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from omicvae._core.errors import DataError
from omicvae.metrics.labels import Array


def residuals(features_NG: NDArray[np.floating[Any]], design_NC: NDArray[np.float64]) -> NDArray[np.float64]:
    """Residuals of the features (N, G) after a linear fit on the design (N, C) and a constant."""
    design_NC = np.hstack([np.ones((len(features_NG), 1)), design_NC])
    return features_NG - design_NC @ np.linalg.lstsq(design_NC, features_NG, rcond=None)[0]


def pca_scores(x_NG: "Array | sp.csr_matrix", n_components: int, *, seed: int) -> NDArray[np.float32]:
    """PCA scores (N, K), with fewer components where cells or genes are fewer; a dense matrix is standardised first.

    Raises
    ------
    DataError
        If there are fewer than 2 cells or genes.
    """
    from sklearn.decomposition import PCA

    solver = "arpack"
    if isinstance(x_NG, np.ndarray):
        solver = "randomized"
        sd_G = x_NG.std(0)
        x_NG = (x_NG - x_NG.mean(0)) / np.where(sd_G > 0, sd_G, 1.0)
    limit = min(n_components, min(x_NG.shape) - 1)
    if limit < 1:
        raise DataError(f"A diagnosis needs at least 2 cells and 2 genes, got {x_NG.shape[0]} × {x_NG.shape[1]}.")
    scores_NK: NDArray[np.float32] = PCA(limit, svd_solver=solver, random_state=seed).fit_transform(x_NG)
    return scores_NK.astype(np.float32)
