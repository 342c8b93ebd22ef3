"""Whether there is anything to encode: cells beside simulations without structure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from omicvae._core.errors import DataError
from omicvae.diagnostics.evidence import Check, Row
from omicvae.metrics.labels import Array, FloatArray

#: One-sided level at which structure counts as found.
STRUCTURE_LEVEL = 0.001

#: Structure must also exceed chance by so much: likelihoods fit no real noise exactly. Shuffled genes and simulated
#: noise gave 0.85 to 1.17 times chance, the shared data sets 1.9 to 50 times. A structure that is overlooked hides a
#: collapse and one that is invented costs a remedy that does not help, so the limit is low.
STRUCTURE_EXCESS = 1.2

#: Largest deviation of a standardised value: one outlying cell is no structure.
CLIPPED_SD = 5.0

#: Numbers of leading directions that are tried: one strong one, or several that are weak alike.
DIRECTIONS = (1, 3, 10)


@dataclass(frozen=True, slots=True)
class Structure(Check):
    """Share of variance that the leading directions across genes explain, in the cells and in simulations.

    Attributes
    ----------
    n_directions
        Of 1, 3 and 10 leading directions, those that stand out most.
    share
        Their eigenvalues of the genes' correlation matrix over its trace, covariates and depth taken out; 0 to 1.
    by_chance, by_chance_sd
        Mean and SD of the same in the simulations, which have no such directions.
    n_simulations, n_cells, n_genes
        What both were measured on.
    """

    n_directions: int
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

    def rows(self) -> Iterator[Row]:
        """Share of variance in the leading directions."""
        directions = "leading direction" if self.n_directions == 1 else f"{self.n_directions} leading directions"
        meaning = (
            f"share of variance in the {directions} across genes, beyond covariates and depth; without structure "
            f"{self.by_chance:.4f} ({self.n_simulations} simulations, {self.n_cells} cells × {self.n_genes} genes)"
        )
        yield Row("structure of the data", self.share, meaning, f"> {self.limit:.4f}", self.found)


def structure(features_NG: Array, simulated: Iterable[Array], design_NC: Array) -> Structure:
    """Compare the leading directions of the data with those of simulations without structure (parallel analysis).

    Parameters
    ----------
    features_NG
        Data as networks see them (log-normalised, standardised or 0/1).
    simulated
        At least three matrices of the same shape without structure: from the model without z at the same cells, or
        shuffled gene by gene.
    design_NC
        What is taken out of every gene by least squares: covariates, and depth. A constant is added.

    References
    ----------
    Horn (1965), A rationale and test for the number of factors in factor analysis; here with parametric simulations
    in place of normal variates.
    """
    basis_NR = _basis(design_NC, len(features_NG))
    shares_SD = np.array([leading_shares(values_NG, basis_NR) for values_NG in simulated])
    if len(shares_SD) < 3:
        raise DataError(f"The structure check needs at least 3 simulations, got {len(shares_SD)}.")
    by_chance_D, sd_D = shares_SD.mean(axis=0).tolist(), shares_SD.std(axis=0, ddof=1).tolist()
    columns = zip(DIRECTIONS, leading_shares(features_NG, basis_NR), by_chance_D, sd_D, strict=True)
    candidates = [Structure(*column, len(shares_SD), *features_NG.shape) for column in columns]
    return max(candidates, key=lambda c: c.share / c.limit if c.limit > 0 else 0.0)


def leading_shares(features_NG: Array, basis_NR: FloatArray) -> list[float]:
    """Sum of the 1, 3 and 10 largest eigenvalues of what ``basis_NR`` (orthonormal) leaves, over their whole sum.

    Every gene is scaled to variance 1 and then every cell, so that their noise, however modelled, cancels: batches that
    are noisier than others are no structure. Constant genes count nothing.
    """
    largest_G = np.maximum(-features_NG.min(axis=0), features_NG.max(axis=0))
    # by powers of two, which costs no digit: squares of 1e30 and of 1e-30 are beyond single precision
    values_NG: Array = np.ldexp(features_NG, -np.frexp(largest_G)[1]).astype(np.float32)
    for _ in range(2):  # clipping moves mean and variance a little
        values_NG = values_NG - basis_NR @ (basis_NR.T @ values_NG)
        sd_G = np.sqrt((values_NG**2).mean(axis=0))
        values_NG = np.clip(values_NG / np.where(sd_G > 1e-6, sd_G, np.inf), -CLIPPED_SD, CLIPPED_SD)
    rms_N1 = np.sqrt((values_NG**2).mean(axis=1, keepdims=True))
    values_NG = values_NG / np.where(rms_N1 > 0, rms_N1, 1.0)
    trace = float((values_NG**2).sum(dtype=np.float64))
    cumulative = leading_eigenvalues(values_NG, max(DIRECTIONS)).cumsum()
    return [float(cumulative[min(n, len(cumulative)) - 1] / trace) if trace > 0 else 0.0 for n in DIRECTIONS]


def leading_eigenvalues(values_NG: Array, n: int) -> FloatArray:
    """Return the ``n`` largest eigenvalues of XᵀX, or all that there are, largest first."""
    from scipy.sparse.linalg import svds

    smaller = min(values_NG.shape)
    if not values_NG.any():
        return np.zeros(min(n, smaller))
    if smaller <= 4 * n:
        singular = np.linalg.svd(np.asarray(values_NG, dtype=np.float64), compute_uv=False)[:n]
    else:
        start = np.random.default_rng(0).standard_normal(smaller).astype(np.float32)
        singular = np.sort(svds(values_NG, k=n, v0=start, tol=1e-3, return_singular_vectors=False))[::-1]
    return np.asarray(singular, dtype=np.float64) ** 2


def _basis(design_NC: Array, n_cells: int) -> FloatArray:
    design_NC = np.hstack([np.ones((n_cells, 1)), np.asarray(design_NC, dtype=np.float64)])
    left_NC, singular_C, _ = np.linalg.svd(design_NC, full_matrices=False)
    return np.asarray(left_NC[:, singular_C > 1e-8 * singular_C[0]], dtype=np.float32)
