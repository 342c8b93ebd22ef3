"""Evidence of fits whose truth is known, built without any network."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from omicvae.diagnostics import DiagnosisInputs, Structure

N_CELLS = 700
N_JUDGED = 70


def history(
    *,
    epochs: int = 40,
    settled: int = 12,
    start: float = 700.0,
    end: float = 500.0,
    gap: float = 10.0,
    kl: float = 12.0,
    weight: float = 1.0,
    pace: float = 0.3,
    seed: int = 0,
) -> pd.DataFrame:
    """Curves that approach ``end`` exponentially under a rate that is annealed to almost nothing."""
    rng = np.random.default_rng(seed)
    epoch = np.arange(1, epochs + 1)
    recon = end - kl + (start - end) * np.exp(-pace * epoch) + rng.normal(0, 0.05, epochs)
    kl_E = np.full(epochs, kl)
    kl_weight = weight * np.minimum(1, epoch / max(settled, 1))
    columns = {
        "loss_train": recon + kl_weight * kl_E,
        "recon_train": recon,
        "kl_train": kl_E,
        "loss_validation": recon + gap + kl_weight * kl_E,
        "recon_validation": recon + gap,
        "kl_validation": kl_E,
        "elbo_validation": -(recon + gap + kl_E),
        "kl_weight": kl_weight,
        "lr": 1e-2 * (1 + np.cos(np.pi * epoch / epochs)) / 2 + 1e-5,
        "cells_per_second": np.full(epochs, 1e4),
    }
    return pd.DataFrame(columns, index=pd.RangeIndex(1, epochs + 1, name="epoch"))


def fit(
    *,
    rate: float,
    n_active: int,
    n_latent: int = 32,
    use: float,
    gain: float,
    gap: float = 10.0,
    strength: float = 0.0,
    reference_strength: float = 2.5,
    n_cells: int = N_CELLS,
    n_judged: int = N_JUDGED,
    gain_spread: float = 8.0,
    seed: int = 0,
    **changes: Any,
) -> DiagnosisInputs:
    """Evidence with the given rate, active units, decoder use and gain (nats per cell), exact in the mean.

    Cells belong to ten types whose means differ by ``strength`` posterior SDs in the active dimensions; PCA
    holds the same types at ``reference_strength``. NLLs differ by hundreds of nats between cells, as with
    real depths.
    """
    rng = np.random.default_rng(seed)
    types_N = rng.choice(10, n_cells, p=np.array([34, 12, 10, 9, 8, 8, 7, 5, 4, 3]) / 100)
    centres_TK = rng.normal(size=(10, n_latent))
    signal_NK = np.zeros((n_cells, n_latent))
    signal_NK[:, :n_active] = strength * centres_TK[types_N][:, :n_active]
    sd_NK = np.ones((n_cells, n_latent))
    # unused dimensions keep tiny means that still differ between types: what fools probes on standardised
    # means
    mean_NK = signal_NK + 1e-3 * centres_TK[types_N] + 1e-4 * rng.normal(size=(n_cells, n_latent))
    if n_active and not strength:
        mean_NK[:, :n_active] += rng.normal(size=(n_cells, n_active))
    # together they fill the prior, as under a KL that is paid for
    shrink = 1 / np.sqrt(1 + (strength or 1.0) ** 2)
    mean_NK[:, :n_active] *= shrink
    sd_NK[:, :n_active] *= shrink
    kl_WK = np.zeros((n_judged, n_latent))
    kl_WK[:, : max(n_active, 1)] = rate / max(n_active, 1)
    null_W = 550 + 150 * rng.normal(size=n_judged)

    def around(mean: float, spread: float) -> np.ndarray:
        values_W = rng.normal(size=n_judged)
        return mean + spread * (values_W - values_W.mean())

    nll_W = null_W - around(gain, gain_spread) - kl_WK.sum(axis=1)
    evidence = DiagnosisInputs(
        mean_NK=mean_NK,
        sd_NK=sd_NK,
        draw_NK=mean_NK + sd_NK * rng.normal(size=mean_NK.shape),
        kl_WK=kl_WK,
        nll_W=nll_W,
        nll_permuted_W=nll_W + around(use, 0.5 * abs(use)),
        null_nll_W=null_W,
        history=history(end=550 - gain, gap=gap, kl=rate),
        reference_NK=reference_strength * centres_TK[types_N] + 2.5 * rng.normal(size=mean_NK.shape),
        labels_N=np.array([f"type {code}" for code in types_N], dtype=object),
        labels_key="cell_type",
        planned_epochs=40,
    )
    return replace(evidence, **changes)


def healthy(**changes: Any) -> DiagnosisInputs:
    """Effective β = 1 on the PBMC counts."""
    return fit(**{"rate": 12.4, "n_active": 32, "use": 345, "gain": 46, "strength": 1.0, **changes})


def collapsed(**changes: Any) -> DiagnosisInputs:
    """Effective β = 72 on the PBMC counts."""
    return fit(**{"rate": 0.002, "n_active": 0, "use": 0.8, "gain": -5.1, "gain_spread": 3.0, **changes})


def partial(**changes: Any) -> DiagnosisInputs:
    """Effective β = 12 on the PBMC counts."""
    settings = {"rate": 1.8, "n_active": 8, "use": 189, "gain": 40, "strength": 0.8}
    return fit(**{**settings, **changes})


def faint(**changes: Any) -> DiagnosisInputs:
    """Effective β = 31 on the PBMC counts."""
    settings = {"rate": 0.46, "n_active": 3, "use": 55, "gain": 15, "strength": 0.6}
    return fit(**{**settings, **changes})


def noise(**changes: Any) -> DiagnosisInputs:
    """A fit that memorised pure noise."""
    settings = {"rate": 3.8, "n_active": 10, "use": 5, "gain": -1.5, "gap": 36, "reference_strength": 0.0}
    return fit(**{**settings, **changes})


def far_from_the_prior(factor: float = 6.0, **changes: Any) -> DiagnosisInputs:
    """A healthy fit whose latent was stretched: the same information, at a KL that pays for the distance."""
    evidence = healthy(**changes)
    mean_NK, sd_NK = factor * evidence.mean_NK, factor * evidence.sd_NK
    paid = 0.5 * (factor**2 - 1) - np.log(factor)  # per dimension of variance 1, nats
    return replace(
        evidence,
        mean_NK=mean_NK,
        sd_NK=sd_NK,
        draw_NK=factor * evidence.draw_NK,
        kl_WK=evidence.kl_WK + paid,
    )


EMPTY = Structure(1, 0.0121, 0.012, 0.0003, 5, 700, 500)
FULL = Structure(1, 0.17, 0.012, 0.0003, 5, 700, 500)


@pytest.fixture(scope="session")
def sim() -> SimpleNamespace:
    """Makers of evidence by name."""
    return SimpleNamespace(
        history=history,
        fit=fit,
        healthy=healthy,
        collapsed=collapsed,
        partial=partial,
        faint=faint,
        noise=noise,
        far_from_the_prior=far_from_the_prior,
        no_structure=EMPTY,
        structure=FULL,
    )
