"""What a foreign fit has come to, by cells that it never saw, the program's own loss, and a null model of its own.

The rules, stated before any verdict was looked at. "Finished" is a run of default length and weight of the same program
on the same cells; differences to it are paired. Gain: bound at a KL weight of 1 less the log-likelihood of the null
model, on a quarter of the cells that the fit never saw. Carried: the same with the reconstruction in place of the
bound, that is before the code is paid for. Intervals are of 95 %, by Student's t over cells.

| made to be | counts as that where | otherwise open: left out of the score, and counted |
|---|---|---|
| healthy | the gain lies surely above 0 | |
| collapsed | what is carried is not surely above one fact (log 2 nats), nor is the KL | |
| undertrained | a finished run surely has more bound by over one fact | |
| overfit | the gain is surely less than a quarter of that on the cells it was fitted on, which is above 0 | |
| under_regularised | a finished run at a KL weight of 1 surely has more bound by over one fact, and surely less KL | |
| no_signal | the gain is not surely above one fact | |
"""

from typing import Any

import numpy as np
from verdict_truth import null_loglik

from omicvae.diagnostics.estimate import Estimate

ONE_FACT = float(np.log(2))
#: share of the gain on cells seen that new cells must have
CARRIES_OVER = 0.25
#: of the null model of peaks
DEPTH_ROUNDS = 30


def null_peaks(x_NP: np.ndarray, train_N: np.ndarray) -> np.ndarray:
    """Log-likelihood of 0/1 under P(x = 1) = 1 − exp(−depth_n · rate_p), rates of the training cells, own depths."""
    seen_NP = (x_NP > 0).astype(float)
    rate_P = -np.log1p(-np.clip(seen_NP[train_N].mean(0), 1e-4, 1 - 1e-4))
    depth_N = np.ones(len(seen_NP))
    for _ in range(DEPTH_ROUNDS):  # one step of Newton each, on the log scale
        for parts, over in ((depth_N, 1), (rate_P, 0)):
            rows = slice(None) if over else train_N
            mean = np.clip(depth_N[rows, None] * rate_P, 1e-9, 30)
            p = -np.expm1(-mean)
            slope, weight = ((seen_NP[rows] / p - 1) * mean).sum(over), (mean**2 * (1 - p) / p).sum(over)
            parts *= np.exp(np.clip(slope / np.maximum(weight, 1e-9), -1, 1))
    p = np.clip(-np.expm1(-depth_N[:, None] * rate_P), 1e-9, 1 - 1e-9)
    return (seen_NP * np.log(p) + (1 - seen_NP) * np.log1p(-p)).sum(1)


def null_of(family: str, x_NG: np.ndarray, train_N: np.ndarray, batch_N: np.ndarray) -> np.ndarray:
    """Log-likelihood of every cell without z, each batch by itself, as the family counts it; nats."""
    loglik_N = np.empty(len(x_NG))
    for code in np.unique(batch_N):
        rows = batch_N == code
        x, train = x_NG[rows].astype(np.float64), train_N[rows]
        if family == "torch MSE":
            loglik_N[rows] = -0.5 * ((x - x[train].mean(0)) ** 2).sum(1)
        elif family == "PEAKVI":
            loglik_N[rows] = null_peaks(x, train)
        else:
            loglik_N[rows] = null_loglik(x, train, "nb")
    return loglik_N


def truth_of(made: str, fit: dict[str, Any], finished: dict[str, Any] | None) -> str:
    """Name what cells that the fit never saw confirm, or ``"open"``.

    ``fit`` and ``finished`` have gain and carried of the cells held out and of those seen, as lists.
    """
    gain_H, carried_H = np.array(fit["gain_held"]), np.array(fit["carried_held"])
    gain, carried = Estimate.of(gain_H), Estimate.of(carried_H)
    seen, lacks, cheaper = float(np.mean(fit["gain_seen"])), Estimate(), Estimate()
    if finished is not None:
        lacks = Estimate.of(np.array(finished["gain_held"]) - gain_H)
        cheaper = Estimate.of(carried_H - gain_H - np.subtract(finished["carried_held"], finished["gain_held"]))
    confirmed = {
        "healthy": gain.low > 0,
        "collapsed": carried.low <= ONE_FACT and Estimate.of(carried_H - gain_H).low <= ONE_FACT,
        "undertrained": lacks.low > ONE_FACT,
        "overfit": gain.high < CARRIES_OVER * seen and seen > 0,
        "under_regularised": lacks.low > ONE_FACT and cheaper.low > 0,
        "no_signal": gain.low <= ONE_FACT,
    }
    return made if confirmed[made] else "open"
