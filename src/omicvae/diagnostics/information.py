"""How much the latent tells cells apart: mutual information, and neighbours that survive the posterior's noise."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from omicvae.diagnostics.estimate import Estimate
from omicvae.diagnostics.evidence import Check, Row
from omicvae.metrics.labels import Array
from omicvae.metrics.neighbours import neighbour_overlap

MAX_CELLS = 1000
N_NEIGHBOURS = 15


@dataclass(frozen=True, slots=True)
class Information(Check):
    """What a draw says about which cell it is of.

    Attributes
    ----------
    mutual_information
        I_q = E_n E_{z ~ q(z | x_n)} [log q(z | x_n) − log 1/N Σ_m q(z | x_m)], nats. At most ``limit``, and a lower
        bound of what more cells would show once it nears it.
    limit
        log N, nats.
    overlap
        Share of a cell's nearest neighbours in one posterior draw that are neighbours in another draw; 0 to 1.
    overlap_by_chance
        k / (N − 1), the overlap of two draws that have nothing to do with each other.
    """

    mutual_information: Estimate
    limit: float
    overlap: Estimate
    overlap_by_chance: float

    def rows(self) -> Iterator[Row]:
        """Mutual information and posterior stability, shown."""
        told, kept = self.mutual_information, self.overlap
        meaning = f"nats that a draw tells about which cell it is of: {told}; at most log N = {self.limit:.2f}, near "
        yield Row("mutual information", told.mean, meaning + "which it is a lower bound")
        meaning = f"share of nearest neighbours that two draws agree on; {self.overlap_by_chance:.3f} by chance"
        yield Row("posterior stability", kept.mean, meaning)


def information(mean_NK: Array, sd_NK: Array, *, seed: int = 0, max_cells: int = MAX_CELLS) -> Information | None:
    """Measure mutual information and posterior stability on at most ``max_cells`` cells; None for a single cell.

    References
    ----------
    Hoffman & Johnson (2016), ELBO surgery; Dieng et al. (2019), Avoiding latent variable collapse with generative skip
    models (mutual information of a fitted posterior).
    """
    rng = np.random.default_rng(seed)
    cells = rng.permutation(len(mean_NK))[:max_cells]
    if len(cells) < 2:
        return None
    mean_MK, sd_MK = (np.asarray(values_NK, dtype=np.float64)[cells] for values_NK in (mean_NK, sd_NK))
    first_MK, second_MK = (mean_MK + sd_MK * rng.standard_normal(mean_MK.shape) for _ in range(2))
    k = min(N_NEIGHBOURS, len(cells) - 1)
    return Information(
        mutual_information=Estimate.of(pointwise_information(first_MK, mean_MK, sd_MK)),
        limit=float(np.log(len(cells))),
        overlap=Estimate.of(neighbour_overlap(first_MK, second_MK, k)),
        overlap_by_chance=k / (len(cells) - 1),
    )


def pointwise_information(draw_MK: Array, mean_MK: Array, sd_MK: Array) -> Array:
    """Log q(z_m | x_m) − log 1/M Σ_i q(z_m | x_i) for a draw z_m of every cell, nats, shape (M,)."""
    precision_MK = 1 / np.asarray(sd_MK) ** 2
    # Σ_k (z − μ)² / σ² written out, so that it is three matrix products
    distance_MM = (
        draw_MK**2 @ precision_MK.T - 2 * draw_MK @ (mean_MK * precision_MK).T + (mean_MK**2 * precision_MK).sum(axis=1)
    )
    own_M = (((draw_MK - mean_MK) / sd_MK) ** 2).sum(axis=1)
    np.fill_diagonal(distance_MM, own_M)  # exact where it matters most
    log_q_MM = -0.5 * distance_MM - np.log(sd_MK).sum(axis=1)
    return np.asarray(np.diag(log_q_MM) - logsumexp(log_q_MM, axis=1) + np.log(len(draw_MK)))
