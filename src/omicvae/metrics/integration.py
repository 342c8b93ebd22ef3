"""Integration of batches: silhouettes in scib's scale and variance explained by a covariate."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from omicvae._core.errors import DataError
from omicvae.metrics.embedding import MAX_CELLS, silhouette
from omicvae.metrics.factors import as_factors
from omicvae.metrics.labels import Array, as_features, labelled_cells


def silhouette_label(embedding_ND: Array, labels_N: Array, *, max_cells: int = MAX_CELLS, seed: int = 0) -> float:
    """Silhouette of labels in scib's scale, (s + 1) / 2 (Luecken et al. 2022), with s of :func:`silhouette`.

    Returns
    -------
    float
        0 (cells lie in other classes) over 0.5 (classes overlap) to 1 (tight and far apart), higher is better.
    """
    return (silhouette(embedding_ND, labels_N, max_cells=max_cells, seed=seed) + 1) / 2


def silhouette_batch(
    embedding_ND: Array, labels_N: Array, batches_N: Array, *, max_cells: int = MAX_CELLS, seed: int = 0
) -> float:
    """Silhouette of batches within labels in scib's scale (Luecken et al. 2022).

    1/C Σ_c 1/n_c Σ_{i in c} (1 − abs(s_i)), with s_i the silhouette width of cell i for its batch among the cells of
    its label c. Labels found in one batch only, or with a batch for each cell, take no part.

    Parameters
    ----------
    embedding_ND
        N cells × D coordinates.
    labels_N, batches_N
        Label and batch of each cell; cells without one of them take no part.
    max_cells
        At most about this many cells take part, thinned in proportion within labels.

    Returns
    -------
    float
        0 (batches apart) to 1 (batches overlap), higher is better mixed. The width looks at the nearest other batch
        only, so batches mixed in pairs score well too (Rautenstrauch & Ohler 2025): read it beside :func:`ilisi`.

    Raises
    ------
    DataError
        If no label has cells of two batches.
    """
    from sklearn.metrics import silhouette_samples

    labels_N, batches_N = np.asarray(labels_N, dtype=object), np.asarray(batches_N, dtype=object)
    if labels_N.shape != batches_N.shape:
        raise DataError(f"Labels and batches must be of the same cells: shapes {labels_N.shape}, {batches_N.shape}.")
    both_N = labels_N.copy()
    both_N[pd.isna(batches_N)] = None
    cells = labelled_cells(both_N, minimum=1, max_cells=max_cells, seed=seed)
    values_MD = as_features(embedding_ND, len(labels_N), "embedding")[cells.index_M]
    batches_M = batches_N[cells.index_M].astype(str)
    mixing = []
    for code in range(len(cells.classes)):
        own = cells.codes_M == code
        if 1 < len(np.unique(batches_M[own])) < int(own.sum()):
            mixing.append(float((1 - np.abs(silhouette_samples(values_MD[own], batches_M[own]))).mean()))
    if not mixing:
        raise DataError("The silhouette of batches needs a label with cells of at least 2 batches; found none.")
    return float(np.mean(mixing))


def pcr(embedding_ND: Array, covariate_N: Array) -> float:
    """Share of the variance of an embedding that a covariate explains: principal component regression.

    PCR = Σ_k Var(PC_k) R²(PC_k | covariate) / Σ_k Var(PC_k) over all principal components (Büttner et al. 2019). That
    is the R² of the centred embedding as a whole, which is how it is computed. For a data matrix pass its leading
    components.

    Parameters
    ----------
    embedding_ND
        N cells × D coordinates.
    covariate_N
        Numbers enter linearly; strings, truth values, and at most 20 different whole numbers as levels.

    Returns
    -------
    float
        0 (explains nothing) to 1 (explains all). Of a batch, lower is better. L levels that say nothing explain about
        (L − 1) / (N − 1).
    """
    values_ND, design_NP = _covariate(embedding_ND, covariate_N)
    values_ND = values_ND - values_ND.mean(0)
    total = float((values_ND**2).sum())
    if total == 0:
        raise DataError("The embedding is constant: it has no variance to explain.")
    basis_NP = np.linalg.qr(design_NP - design_NP.mean(0))[0]
    return min(float(((basis_NP.T @ values_ND) ** 2).sum()) / total, 1.0)


@dataclass(frozen=True, slots=True)
class PCRComparison:
    """Variance explained by a covariate before and after integration, and the share removed.

    Attributes
    ----------
    before, after
        :func:`pcr` of either embedding, 0 to 1.
    score
        max(0, (before − after) / before): 0 (as much as before, or more) to 1 (removed), higher is better.
    """

    before: float
    after: float

    @property
    def score(self) -> float:
        """Share of the explained variance that integration removed."""
        return max(0.0, (self.before - self.after) / self.before)

    def to_frame(self) -> pd.DataFrame:
        """Return one row: before, after, score."""
        return pd.DataFrame([{"before": self.before, "after": self.after, "score": self.score}])


def pcr_comparison(before_ND: Array, after_NE: Array, covariate_N: Array) -> PCRComparison:
    """Compare the variance that a covariate explains before and after integration (Luecken et al. 2022).

    Parameters
    ----------
    before_ND, after_NE
        The same N cells without and with integration, PCA of the data and latents, say.
    covariate_N
        The batch, or any covariate as in :func:`pcr`.

    Raises
    ------
    DataError
        If the covariate explains nothing before, so that there is nothing to remove.
    """
    before, after = pcr(before_ND, covariate_N), pcr(after_NE, covariate_N)
    if before == 0:
        raise DataError("The covariate explains nothing before integration: there is nothing to remove.")
    return PCRComparison(before, after)


def _covariate(embedding_ND: Array, covariate_N: Array) -> tuple[Array, Array]:
    """Embedding and covariate in numbers: one column, or one for each level but the first."""
    covariate_N = np.asarray(covariate_N)
    if covariate_N.ndim != 1:
        raise DataError(f"The covariate must be one value a cell (one-dimensional), got shape {covariate_N.shape}.")
    factor = as_factors(pd.DataFrame({"covariate": covariate_N}))
    values_ND = as_features(embedding_ND, len(covariate_N), "embedding")
    if not factor.discrete_F[0]:
        return values_ND, factor.values_NF
    codes_N = factor.codes_NF[:, 0]
    return values_ND, (codes_N[:, None] == np.arange(1, int(codes_N.max()) + 1)).astype(np.float64)
