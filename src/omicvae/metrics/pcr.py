"""Principal component regression: the variance of an embedding that a covariate explains."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from omicvae._core.arrays import unmasked
from omicvae._core.errors import DataError
from omicvae.metrics.factors import as_factors
from omicvae.metrics.labels import Array, as_features
from omicvae.metrics.results import OneRow


def pcr(embedding_ND: Array, covariate_N: Array) -> float:
    """Share of the variance of an embedding that a covariate explains: principal component regression.

    PCR = Σ_k Var(PC_k) R²(PC_k | covariate) / Σ_k Var(PC_k) over all principal components (Büttner et al. 2019). That
    is the R² of the centred embedding as a whole, which is how it is computed. For a data matrix pass its leading
    components.
    Numbers enter linearly; strings, truth values, and at most 20 different whole numbers as levels.

    Range: 0 (explains nothing) to 1 (explains all). Of a batch, lower is better. L levels that say nothing explain
    about (L − 1) / (N − 1).
    """
    covariate_N = np.asarray(unmasked("covariate's values", covariate_N))
    if covariate_N.ndim != 1:
        raise DataError(f"The covariate must be one value a cell (one-dimensional), got shape {covariate_N.shape}.")
    factor = as_factors(pd.DataFrame({"covariate": covariate_N}))
    values_ND = as_features(embedding_ND, len(covariate_N), "embedding")
    values_ND = values_ND - values_ND.mean(0)
    total = float((values_ND**2).sum())
    if total == 0:
        raise DataError("The embedding is constant: it has no variance to explain.")
    design_NP = factor.values_NF
    if factor.discrete_F[0]:  # a column for each level but the first
        design_NP = (factor.codes_NF == np.arange(1, int(factor.codes_NF.max()) + 1)).astype(np.float64)
    basis_NP = np.linalg.qr(design_NP - design_NP.mean(0))[0]
    return min(float(((basis_NP.T @ values_ND) ** 2).sum()) / total, 1.0)


@dataclass(frozen=True, slots=True)
class PCRComparison(OneRow):
    """Variance explained by a covariate before and after integration, and the share removed.

    ``before`` and ``after`` are :func:`pcr` of either embedding.
    """

    COLUMNS = ("before", "after", "score")

    before: float
    after: float

    @property
    def score(self) -> float:
        """max(0, (before − after) / before): 0 (as much as before, or more) to 1 (removed), higher is better."""
        return max(0.0, (self.before - self.after) / self.before)


def pcr_comparison(before_ND: Array, after_NE: Array, covariate_N: Array) -> PCRComparison:
    """Compare the variance that a covariate explains before and after integration (Luecken et al. 2022).

    ``before_ND`` and ``after_NE`` are the same N cells without and with integration, PCA of the data and latents, say;
    the covariate is the batch, or any as in :func:`pcr`. If it explains nothing before, that is an error.

    Range: see :class:`PCRComparison`.
    """
    before, after = pcr(before_ND, covariate_N), pcr(after_NE, covariate_N)
    if before == 0:
        raise DataError("The covariate explains nothing before integration: there is nothing to remove.")
    return PCRComparison(before, after)
