"""Whether the decoder uses z: what a permuted z costs."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from omicvae._core.errors import DataError
from omicvae.diagnostics.estimate import Estimate
from omicvae.diagnostics.evidence import Check, Row, not_measured
from omicvae.diagnostics.thresholds import ONE_FACT
from omicvae.metrics.labels import Array, IntArray

#: Smallest stratum that is permuted within itself.
MINIMUM_STRATUM = 20

#: A permuted z costs about twice what the cell's own saves (see DecoderUse), so this is one fact's worth of use.
IGNORED_COST = 2 * ONE_FACT


@dataclass(frozen=True, slots=True)
class DecoderUse(Check):
    """Mean of NLL(x | z of another cell, c) − NLL(x | own z, c), nats; 0 where the decoder ignores z.

    What the own z saves against no z at all is about half of it: with prediction p of a signal s, a right z
    saves cov(s, p) − var(p)/2 and another cell's costs var(p)/2 (in units of the noise), and cov(s, p) = var(p)
    at the optimum.
    """

    cost: Estimate

    @property
    def ignored(self) -> bool:
        """Whether a permuted z surely costs next to nothing: then no gain comes from z, but from covariates."""
        return self.cost.high < IGNORED_COST

    def rows(self) -> Iterator[Row]:
        """Cost of a permuted z."""
        cost = self.cost
        if not cost.known:
            yield not_measured("decoder use", "no −log p(x | z, c) with a permuted z")
            return
        meaning = f"nats that a permuted z costs: {cost}; 0 where the decoder ignores z"
        used = cost.mean >= IGNORED_COST and cost.mean > cost.margin
        yield Row("decoder use", cost.mean, meaning, f"≥ {IGNORED_COST:.2f}", used)


def decoder_use(nll_W: Array | None, nll_permuted_W: Array | None) -> DecoderUse:
    """Cost of a permuted z, paired over cells: −log p(x | z, c) with their own z and with another cell's, nats."""
    if nll_W is None or nll_permuted_W is None:
        return DecoderUse(Estimate())
    return DecoderUse(Estimate.of(np.asarray(nll_permuted_W, dtype=np.float64) - np.asarray(nll_W, dtype=np.float64)))


def permuted_draw(
    draw_WK: Array, location_WK: Array, scale_WK: Array, strata: Array, rng: np.random.Generator
) -> Array:
    """Give every cell what another one's z adds to its prior, so that a z that only repeats c costs nothing.

    Parameters
    ----------
    draw_WK
        A posterior draw of each cell.
    location_WK, scale_WK
        Mean and SD of p(z | c) at each cell, or what broadcasts to them: 0 and 1.
    strata, rng
        As for :func:`permute_within_strata`.
    """
    order_W = permute_within_strata(strata, rng)
    return np.asarray(location_WK + scale_WK * ((draw_WK - location_WK) / scale_WK)[order_W])


def permute_within_strata(strata: Array, rng: np.random.Generator, *, minimum: int = MINIMUM_STRATUM) -> IntArray:
    """Index of the cell whose z each cell receives: never its own where there are two cells or more.

    Within each joint stratum of at least ``minimum`` cells a random order is shifted by one; the cells of
    smaller strata are pooled and shifted together. A cell left alone in the pool joins the smallest other
    stratum.

    Parameters
    ----------
    strata
        ``codes_ND`` of D categorical covariates (D = 0: one stratum), or ``strata_N``.
    rng
        Source of randomness.
    minimum
        Smallest stratum that is permuted within itself.

    Returns
    -------
    numpy.ndarray
        ``index_N``, a permutation of 0 … N − 1 without fixed points for N > 1.
    """
    strata = np.asarray(strata)
    if strata.ndim not in (1, 2):
        raise DataError(f"Strata must be one- or two-dimensional, got shape {strata.shape}.")
    columns = pd.DataFrame(strata).assign(all=0)
    stratum_N = columns.groupby(list(columns), sort=False, dropna=False).ngroup().to_numpy()
    sizes = np.bincount(stratum_N)
    pooled = sizes < minimum
    if sizes[pooled].sum() == 1 and (~pooled).any():
        large = np.flatnonzero(~pooled)
        pooled[large[np.argmin(sizes[large])]] = True
    groups = [np.flatnonzero(stratum_N == code) for code in np.flatnonzero(~pooled)]
    groups.append(np.flatnonzero(pooled[stratum_N]))
    index_N = np.arange(len(stratum_N), dtype=np.int64)
    for members in groups:
        order = rng.permutation(members)
        index_N[order] = np.roll(order, 1)
    return index_N
