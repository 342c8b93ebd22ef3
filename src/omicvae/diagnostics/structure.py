"""Whether there is anything to encode: cells beside simulations of the model without z."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from omicvae._core.errors import DataError
from omicvae.diagnostics.thresholds import STRUCTURE_EXCESS, STRUCTURE_LEVEL
from omicvae.metrics.labels import Array, FloatArray

#: Largest deviation of a standardised value: one outlying cell is no structure.
CLIPPED_SD = 5.0


@dataclass(frozen=True, slots=True)
class Structure:
    """Largest share of variance that one direction across genes explains, in the cells and in simulations.

    Attributes
    ----------
    share
        Largest eigenvalue of the genes' correlation matrix over its trace, covariates and depth taken out; 0 to 1.
    by_chance, by_chance_sd
        Mean and SD of the same in data simulated from the fitted model without z, which has no such direction.
    n_simulations, n_cells, n_genes
        What both were measured on.
    """

    share: float
    by_chance: float
    by_chance_sd: float
    n_simulations: int
    n_cells: int
    n_genes: int

    @property
    def limit(self) -> float:
        """What another simulation exceeds once in a thousand (Student's t), or a fixed share more than chance."""
        t = float(stdtrit(self.n_simulations - 1, 1 - STRUCTURE_LEVEL))
        chance = self.by_chance + t * self.by_chance_sd * float(np.sqrt(1 + 1 / self.n_simulations))
        return max(chance, STRUCTURE_EXCESS * self.by_chance)

    @property
    def found(self) -> bool:
        """Whether cells vary together beyond what covariates, depth and chance do."""
        return self.share > self.limit

    def to_frame(self) -> pd.DataFrame:
        """One row: share, by_chance, by_chance_sd, limit, found, and the sizes."""
        row = {
            "share": self.share,
            "by_chance": self.by_chance,
            "by_chance_sd": self.by_chance_sd,
            "limit": self.limit,
            "found": self.found,
            "n_simulations": self.n_simulations,
            "n_cells": self.n_cells,
            "n_genes": self.n_genes,
        }
        return pd.DataFrame([row])


def structure(features_NG: Array, simulated: Iterable[Array], design_NC: Array) -> Structure:
    """Compare the leading direction of the data with that of simulations without structure (parallel analysis).

    Parameters
    ----------
    features_NG
        Data as networks see them (log-normalised, standardised or 0/1).
    simulated
        At least three matrices of the same shape, simulated from the model without z at the same cells.
    design_NC
        What is taken out of every gene by least squares: covariates, and depth. A constant is added.

    References
    ----------
    Horn (1965), A rationale and test for the number of factors in factor analysis; here with parametric simulations
    in place of normal variates.
    """
    basis_NR = _basis(design_NC, len(features_NG))
    shares_S = np.array([leading_share(values_NG, basis_NR) for values_NG in simulated])
    if len(shares_S) < 3:
        raise DataError(f"The structure check needs at least 3 simulations, got {len(shares_S)}.")
    return Structure(
        share=leading_share(features_NG, basis_NR),
        by_chance=float(shares_S.mean()),
        by_chance_sd=float(shares_S.std(ddof=1)),
        n_simulations=len(shares_S),
        n_cells=features_NG.shape[0],
        n_genes=features_NG.shape[1],
    )


def leading_share(features_NG: Array, basis_NR: FloatArray) -> float:
    """Largest eigenvalue of the correlation matrix of what ``basis_NR`` (orthonormal) leaves, over its trace.

    Every gene is scaled to variance 1, so that its noise, however modelled, cancels; constant genes count nothing.
    """
    values_NG: Array = np.asarray(features_NG, dtype=np.float32)
    for _ in range(2):  # clipping moves mean and variance a little
        values_NG = values_NG - basis_NR @ (basis_NR.T @ values_NG)
        sd_G = np.sqrt((values_NG**2).mean(axis=0))
        values_NG = np.clip(values_NG / np.where(sd_G > 1e-6, sd_G, np.inf), -CLIPPED_SD, CLIPPED_SD)
    trace = float((values_NG**2).sum(dtype=np.float64))
    return leading_eigenvalue(values_NG) / trace if trace > 0 else 0.0


def leading_eigenvalue(values_NG: Array) -> float:
    """Largest eigenvalue of XᵀX."""
    from scipy.sparse.linalg import svds

    if min(values_NG.shape) < 8:
        return float(np.linalg.norm(np.asarray(values_NG, dtype=np.float64), 2) ** 2)
    start = np.full(min(values_NG.shape), 1.0, dtype=np.float32)
    start[::2] = -1.0
    return float(svds(values_NG, k=1, v0=start, tol=1e-4, return_singular_vectors=False)[0] ** 2)


def _basis(design_NC: Array, n_cells: int) -> FloatArray:
    design_NC = np.hstack([np.ones((n_cells, 1)), np.asarray(design_NC, dtype=np.float64)])
    left_NC, singular_C, _ = np.linalg.svd(design_NC, full_matrices=False)
    return np.asarray(left_NC[:, singular_C > 1e-8 * singular_C[0]], dtype=np.float32)
