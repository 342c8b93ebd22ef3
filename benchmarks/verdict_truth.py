"""What a fit has come to, by cells that it never saw: their bound beside a null model, with neither from the diagnosis.

The null model is written here once more, with scipy: a mean for each gene times the library of the cell, a dispersion
for each gene by maximum likelihood on a grid; for real values a mean and an SD, for 0 and 1 a rate.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.special import gammaln
from scipy.stats import bernoulli, norm, poisson
from verdict_cases import Case, fit

from omicvae.diagnostics.estimate import Estimate

HELD_OUT = 0.25
#: between-cell SDs of the null model's likelihood below which reconstruction is a ruin
RUIN_SD = 3.0
#: share of what a fit at the default rate gains on the same cells, from which on a fit counts as one of its kind
ITS_KIND = 0.5
DISPERSIONS = np.exp(np.linspace(-7, 9, 33))
DISPERSION_CELLS = 1000


def _negative_binomial(x_NG: np.ndarray, mean_NG: np.ndarray, theta_G: Any) -> np.ndarray:
    share_NG = theta_G / (theta_G + mean_NG)
    constant = gammaln(x_NG + theta_G) - gammaln(theta_G) - gammaln(x_NG + 1)
    return constant + theta_G * np.log(share_NG) + x_NG * np.log1p(-share_NG)


def null_loglik(x_NG: np.ndarray, train_N: np.ndarray, likelihood: str) -> np.ndarray:
    """Log-likelihood of every cell under the null model of the training cells, nats."""
    seen = x_NG[train_N]
    if likelihood == "gaussian":
        return norm.logpdf(x_NG, seen.mean(0), seen.std(0)).sum(1)
    if likelihood == "bernoulli":
        return bernoulli.logpmf(x_NG, (seen.sum(0) + 0.5) / (len(seen) + 1)).sum(1)
    share_G = (seen.sum(0) + 0.5) / (seen.sum() + 0.5 * x_NG.shape[1])
    mean_NG = np.maximum(x_NG.sum(1, keepdims=True), 1) * share_G
    if likelihood == "poisson":
        return poisson.logpmf(x_NG, mean_NG).sum(1)
    some = np.flatnonzero(train_N)[:DISPERSION_CELLS]
    scores = [_negative_binomial(x_NG[some], mean_NG[some], theta).sum(0) for theta in DISPERSIONS]
    return _negative_binomial(x_NG, mean_NG, DISPERSIONS[np.argmax(scores, axis=0)]).sum(1)


def fit_and_truth(case: Case):
    """Train on three quarters of the cells; return the model and what the others say of it.

    A learning rate has spoilt a fit that gains less than half of what one at the default rate does, nothing included,
    and is worse for most of the cells. The truth is "open" where the gain is within its 95 % interval of 0, and where a
    fit pays neither here nor in training although nothing spoilt it.
    """
    adata = case.data.make(case.seed)
    held_N = np.random.default_rng([case.seed, 31]).random(adata.n_obs) < HELD_OUT
    x_NG = np.asarray(adata.X.toarray() if sp.issparse(adata.X) else adata.X, dtype=np.float64)
    model = fit(case, adata[~held_N].copy())
    null_N = null_loglik(x_NG, ~held_N, model.config.likelihood)

    def gains(fitted: Any, rows_N: np.ndarray) -> np.ndarray:
        return fitted.get_elbo(adata[rows_N].copy(), return_mean=False) - null_N[rows_N]

    gain_H = gains(model, held_N)
    if not np.isfinite(gain_H).all():
        return model, "diverged"
    if "learning_rate" in case.train:
        usual_H = gains(fit(replace(case, train={}), adata[~held_N].copy()), held_N)
        worse = Estimate.of(np.sign(usual_H - gain_H))  # of cells: a few may lose a million nats
        if worse.low > 0 and gain_H.mean() < ITS_KIND * max(usual_H.mean(), 0):
            error = model.get_reconstruction_error(adata[held_N].copy())["reconstruction_loss"]
            return model, "diverged" if error + null_N[held_N].mean() > RUIN_SD * null_N.std() else "unstable"
    gain = Estimate.of(gain_H)
    if gain.low > 0:
        return model, "healthy"
    memory = gain.high < 0 < gains(model, ~held_N).mean()
    return model, "overfit" if memory else "open"
