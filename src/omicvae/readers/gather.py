"""From a fit to what the checks take: draws, a permuted z, tempered posteriors, a model without z."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from omicvae.diagnostics import DiagnosisInputs, Structure, permuted_draw, stand_in_labels, tempered_bounds
from omicvae.metrics.labels import Array, IntArray
from omicvae.readers.curves import in_nats
from omicvae.readers.fit import Fit
from omicvae.readers.null import Data, data_of

#: cells that are judged at most: a mean over so many has hardly an error, and each is decoded nine times
MOST_JUDGED = 10_000
#: training cells that the gap to validation cells is measured on
SEEN_CELLS = 1000


def gather(fit: Fit, *, labels_N: Array | None = None, labels_key: str | None = None, seed: int = 0) -> DiagnosisInputs:
    """Ask a fit for everything that :func:`omicvae.diagnostics.diagnose` takes.

    Rates, bounds and the cost of a permuted z are of validation cells (of training cells if there are none, and then of
    10,000 at most), probes of all cells. The same seed asks for the same.

    Parameters
    ----------
    labels_N, labels_key
        Labels to probe (None or NaN: missing), and their name; without any, k-means classes of the data stand in.
    """
    judged_train = not len(fit.validation)
    judged = _some(fit.train if judged_train else fit.validation, MOST_JUDGED, seed)
    seen = _some(fit.train, SEEN_CELLS, seed)
    mean_NK, sd_NK = fit.encode()
    noise_NK = np.random.default_rng(seed).standard_normal(mean_NK.shape).astype(np.float32)
    draw_NK = mean_NK + sd_NK * noise_NK
    location_NK, scale_NK = fit.prior or (np.zeros_like(mean_NK), np.ones_like(sd_NK))
    kl = fit.kl or _gaussian_kl((mean_NK, sd_NK), (location_NK, scale_NK))
    z_WK, at_judged = draw_NK[judged], (location_NK[judged], scale_NK[judged])
    strata = _codes(fit, judged)
    permuted_WK = permuted_draw(z_WK, *at_judged, strata, np.random.default_rng([seed, 1]))
    nll_W = fit.nll(z_WK, judged)
    tempered = {}
    if fit.kl is None and np.isfinite(nll_W).all():
        posterior = (mean_NK[judged], sd_NK[judged], z_WK)
        tempered = tempered_bounds(posterior, at_judged, lambda tempered_WK: fit.nll(tempered_WK, judged))
    data = data_of(fit)
    reference_NK = None if data is None else data.reference(mean_NK.shape[1], seed)
    null_W, null_T, structure = _without_z(fit, data, judged, seen, seed)
    seen_elbo_T = None if judged_train else -fit.nll(draw_NK[seen], seen) - kl(draw_NK[seen], seen).sum(axis=1)
    fallback = None if reference_NK is None or labels_N is not None else stand_in_labels(reference_NK, seed)
    kl_WK = kl(z_WK, judged)
    history, remark = fit.history, ""
    if not fit.history_in_nats:
        history, remark = in_nats(history, float(nll_W.mean()), float(kl_WK.sum(axis=1).mean()))
    return DiagnosisInputs(
        mean_NK=mean_NK,
        sd_NK=sd_NK,
        draw_NK=draw_NK,
        kl_WK=kl_WK,
        nll_W=nll_W,
        nll_permuted_W=fit.nll(permuted_WK, judged),
        null_nll_W=null_W,
        train_elbo_T=seen_elbo_T,
        train_null_nll_T=None if judged_train else null_T,
        tempered_SW=tempered,
        structure=structure,
        gaussian_prior=fit.kl is None,
        prior_mean_NK=None if fit.prior is None else location_NK,
        prior_sd_NK=None if fit.prior is None else scale_NK,
        history=history,
        reference_NK=reference_NK,
        labels_N=labels_N,
        labels_key=labels_key,
        labels_conditioned=labels_key in (*fit.conditioned, *fit.categorical),
        covariates=fit.categorical,
        fallback_groups_N=fallback,
        judged_W=judged,
        cell_names_N=fit.cell_names_N,
        origin=fit.origin,
        base_measure="" if data is None or fit.likelihood is None else data.base_measure,
        seed=seed,
        words=fit.words,
        run=fit.run,
        remarks=(*fit.remarks, *filter(None, [remark])),
    )


def _without_z(
    fit: Fit, data: Data | None, judged: IntArray, seen: IntArray, seed: int
) -> tuple[Array | None, Array | None, Structure | None]:
    """−log p(x | c) of judged and seen cells without z, nats, and the structure beyond that; None where unknown."""
    null_W, null_T, structure = (None, None, None) if data is None else data.without_z(fit.train, judged, seen, seed)
    if fit.null_nll is not None:
        return fit.null_nll(judged), fit.null_nll(seen), structure
    if null_W is None or null_T is None or fit.likelihood is None:
        return None, None, structure
    if fit.besides_N is None:
        return null_W, null_T, structure
    return null_W + fit.besides_N[judged], null_T + fit.besides_N[seen], structure


def _some(rows: IntArray, most: int, seed: int) -> IntArray:
    """Return at most so many of the rows, drawn at random, in order."""
    return np.sort(np.random.default_rng([seed, 2]).permutation(rows)[:most])


def _codes(fit: Fit, rows: IntArray) -> Array:
    """Codes of the categorical covariates, within whose joint levels z is permuted, (W, D)."""
    codes = [pd.factorize(np.asarray(values_N)[rows])[0] for values_N in fit.categorical.values()]
    return np.stack(codes, axis=1) if codes else np.empty((len(rows), 0), dtype=np.int64)


def _gaussian_kl(posterior: tuple[Array, Array], prior: tuple[Array, Array]) -> Callable[[Array, IntArray], Array]:
    """KL of Gaussians in closed form, ½ (v + m² − 1 − log v) in units of the prior, whatever z."""

    def kl(z_WK: Array, rows: IntArray) -> Array:
        (mean_WK, sd_WK), (location_WK, scale_WK) = ([array[rows] for array in pair] for pair in (posterior, prior))
        variance_WK = (np.asarray(sd_WK, dtype=np.float64) / scale_WK) ** 2
        return 0.5 * (variance_WK + ((mean_WK - location_WK) / scale_WK) ** 2 - 1 - np.log(variance_WK))

    return kl
