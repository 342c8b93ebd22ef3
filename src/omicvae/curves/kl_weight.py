"""The KL weight of a log: logged, given by the caller, or worked out."""

import numpy as np
import pandas as pd

from omicvae.diagnostics import finite_column
from omicvae.metrics.labels import FloatArray

#: A KL weight worked out of loss, reconstruction and KL must be this even to count as one, relatively.
EVEN = 0.05


def known_weight(table: pd.DataFrame, given: float | None = None) -> tuple[FloatArray, str]:
    """KL weight of every epoch, NaN where it is unknown, and where it is known from.

    The source is ``"logged"``, ``"given"``, ``"implied"`` by (loss − recon) / KL, or ``"unknown"``.
    """
    logged_E = finite_column(table, "kl_weight")
    given_E = np.full(len(table), np.nan if given is None else given)
    weights = {"logged": logged_E, "given": given_E, "implied": implied_weight(table)}
    if np.isfinite(logged_E).sum() == 1:  # a single value shows no schedule: only where nothing else is known
        weights["logged"] = weights.pop("logged")
    known = ((weight_E, source) for source, weight_E in weights.items() if np.isfinite(weight_E).any())
    return next(known, (np.full(len(table), np.nan), "unknown"))


def implied_weight(table: pd.DataFrame) -> FloatArray:
    """(loss − recon) / KL, where it is one even weight or a smooth ramp to one; NaN elsewhere."""
    unknown_E = np.full(len(table), np.nan)
    # adversaries and near-zero KLs leave no weight in the difference
    others = ("discriminator", "generator", "adversary")
    adversaries = (finite_column(table, f"{name}_loss_train") for name in others)
    if any(np.isfinite(loss_E).any() for loss_E in adversaries):
        return unknown_E
    loss_E, kl_E = finite_column(table, "loss_train"), finite_column(table, "kl_train")
    # differences of rounded numbers that say nothing; a weight of 0 in a ramp says something
    rounding = 2 * _resolution(loss_E[np.isfinite(loss_E)])
    usable_E = (kl_E > 0) & (np.abs(kl_E) * EVEN > rounding)
    weight_E = np.divide(loss_E - finite_column(table, "recon_train"), kl_E, out=unknown_E.copy(), where=usable_E)
    seen = weight_E[np.isfinite(weight_E)]
    if len(seen) < 2 or seen[-1] <= 0:
        return unknown_E
    slack = EVEN * np.abs(seen).max()
    if np.ptp(seen) <= slack:
        return np.full(len(table), np.median(seen))
    rising = bool((np.diff(seen) > -slack).all() and seen.min() > -slack and np.isfinite(weight_E[-1]))
    return weight_E if rising else unknown_E


def unexplained(table: pd.DataFrame, weight_E: FloatArray) -> float:
    """Median of loss − recon − weight · KL, 0 where rounding explains it, NaN where one is unknown."""
    loss_E, recon_E, kl_E = (finite_column(table, f"{name}_train") for name in ("loss", "recon", "kl"))
    rest_E = loss_E - recon_E - weight_E * kl_E
    seen_E = np.isfinite(rest_E)
    if not seen_E.any():
        return float("nan")
    slack_E = np.maximum(EVEN * np.abs(weight_E * kl_E), 2 * _resolution(loss_E[seen_E]))
    return float(np.median(rest_E[seen_E])) if (np.abs(rest_E) > slack_E)[seen_E].mean() > 0.5 else 0.0


def _resolution(values: FloatArray) -> float:
    """Last decimal that the values were logged with, and no finer than single precision."""
    digits = next((d for d in range(8) if np.allclose(np.round(values, d), values, rtol=1e-9, atol=0)), 8)
    return float(max(10.0**-digits, 1e-6 * np.abs(values).max(initial=0)))
