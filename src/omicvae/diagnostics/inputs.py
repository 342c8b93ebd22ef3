"""What a diagnosis is made from: arrays that a fitted model computes once."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import pandas as pd

from omicvae._core.errors import DataError
from omicvae.diagnostics.structure import Structure
from omicvae.metrics.labels import Array

#: Arrays that the model computed; without the first four there is nothing to judge.
LATENT = ("mean_NK", "sd_NK", "draw_NK", "kl_WK")
MODELLED = (*LATENT, "nll_W", "nll_permuted_W")
#: Cells, training cells included, from which on their SD is an SD.
SPREAD_CELLS = 10


def base_measure(support: str, n_features: int) -> str:
    """Say what a likelihood is a density of; ``support`` is ``"counts"``, ``"binary"`` or ``"real"``."""
    return f"{'counts' if support == 'counts' else f'{support} values'} of {n_features} features"


@dataclass(frozen=True, slots=True, eq=False)
class DiagnosisInputs:
    """Arrays and curves of one fit, whoever made it.

    N all cells, W validation cells (training cells where there are none), K latent dimensions. What is None was not
    measured, and is not judged: only the posterior and its KL are always needed.

    Attributes
    ----------
    mean_NK, sd_NK, draw_NK
        Posterior mean and SD of all cells, and one posterior draw of each.
    kl_WK
        Raw KL(q(z_j | x, c) ‖ p(z_j)) per validation cell and dimension, nats.
    nll_W
        −log p(x | z, c) of validation cells with their own z (a draw), nats, all constants included.
    nll_permuted_W
        The same with z permuted within strata (see :func:`permute_within_strata`); under a prior that depends on the
        covariates, with (z − prior mean) / prior SD permuted.
    null_nll_W
        −log p(x | c) of the best decoder without z, nats.
    train_elbo_T, train_null_nll_T
        Bound and −log p(x | c) of the z-free decoder for T of the training cells, nats, with the weights judged here;
        None where the judged cells are training cells themselves.
    history
        One row per epoch (index from 1) with the columns ``loss_train recon_train kl_train loss_validation
        recon_validation kl_validation elbo_validation kl_weight lr``; may be empty.
    reference_NK
        PCA scores of log-normalised or standardised data with as many dimensions as the latent, covariates taken out.
    labels_N, labels_key, labels_conditioned
        Labels to probe (None or NaN: missing), their name, and whether the model was conditioned on them.
    covariates
        Level names of all cells for each categorical covariate: for leakage, shown and never judged.
    fallback_groups_N
        Classes to probe where no labels are given: k-means classes of what covariates leave unexplained.
    prior_mean_NK, prior_sd_NK
        Mean and SD of p(z | c) at every cell; None for N(0, I).
    gaussian_prior
        Whether p(z | c) is a Gaussian.
    tempered_SW
        Power s → bound at β = 1 of the validation cells with posteriors tempered by s and the draw's noise, nats (see
        :class:`ExcessKL`); empty where it was not asked.
    structure
        What the cells hold beyond the z-free model (:func:`structure`); None where it was not asked.
    schedule_settled_epoch
        Epoch at which the KL weight reaches its final value (None: constant or unknown); used only where the
        history does not show the weight.
    planned_epochs
        Epochs that were planned, for remedies.
    earlier_epochs
        Rows of the history that are of runs before the last, whose setbacks are past.
    judged_W
        Which of the N cells the W judged ones are.
    cell_names_N
        Names of all cells, by which two fits are compared on the same ones.
    origin
        What made the fit, such as ``"scvi-tools SCVI"``.
    base_measure
        What −log p(x | z, c) is a density of, such as ``"counts of 765 genes"``: bounds of two fits can be compared
        where it is the same.
    seed
        Of draws, folds and subsamples.
    words, run
        In whose words remedies are to be said, and what that needs to know, plain values; empty for omicvae's own.
    remarks
        Sentences that a reader should know.
    """

    mean_NK: Array
    sd_NK: Array
    draw_NK: Array
    kl_WK: Array
    nll_W: Array | None = None
    nll_permuted_W: Array | None = None
    null_nll_W: Array | None = None
    history: pd.DataFrame = field(default_factory=pd.DataFrame)
    reference_NK: Array | None = None
    train_elbo_T: Array | None = None
    train_null_nll_T: Array | None = None
    labels_N: Array | None = None
    labels_key: str | None = None
    labels_conditioned: bool = False
    covariates: Mapping[str, Array] = field(default_factory=dict)
    fallback_groups_N: Array | None = None
    prior_mean_NK: Array | None = None
    prior_sd_NK: Array | None = None
    gaussian_prior: bool = True
    tempered_SW: Mapping[float, Array] = field(default_factory=dict)
    structure: Structure | None = None
    schedule_settled_epoch: float | None = None
    planned_epochs: int | None = None
    earlier_epochs: int = 0
    judged_W: Array | None = None
    cell_names_N: Array | None = None
    origin: str = "omicvae"
    base_measure: str = ""
    seed: int = 0
    words: str = ""
    run: Mapping[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if np.ndim(self.mean_NK) != 2 or 0 in np.shape(self.mean_NK):
            raise DataError(f"mean_NK must be cells × dimensions and not empty, got shape {np.shape(self.mean_NK)}.")
        (n_cells, n_latent), n_judged = self.mean_NK.shape, len(self.kl_WK)
        if n_judged == 0:
            raise DataError("A diagnosis needs at least one cell in kl_WK; pass the training cells' values instead.")
        sizes = {"NK": (n_cells, n_latent), "WK": (n_judged, n_latent), "W": (n_judged,), "N": (n_cells,)}
        for name in (*MODELLED, "null_nll_W", "judged_W", "cell_names_N", "prior_mean_NK", "prior_sd_NK"):
            shape, values = sizes[name.rsplit("_", 1)[1]], getattr(self, name)
            if np.shape(values) != shape and not (values is None and name not in LATENT):
                raise DataError(f"{name} must have shape {shape}, got {np.shape(values)}.")
        paired = {f"tempered_SW[{power:g}]": (values, n_judged) for power, values in self.tempered_SW.items()}
        if self.train_elbo_T is not None and self.train_null_nll_T is not None:
            paired["train_null_nll_T"] = self.train_null_nll_T, len(self.train_elbo_T)
        for name, (values, length) in paired.items():
            if np.shape(values) != (length,):
                raise DataError(f"{name} must have shape ({length},), got {np.shape(values)}.")
        for name in ("sd_NK", "prior_sd_NK"):
            if (values := getattr(self, name)) is not None and (np.asarray(values) < 0).any():
                raise DataError(f"{name} must not be negative, got {np.nanmin(values):.3g}; an SD, no log variance.")
        rows = np.zeros(1, np.int64) if self.judged_W is None else np.asarray(self.judged_W)
        if rows.dtype.kind not in "iu" or rows.min() < 0 or rows.max() >= n_cells:
            raise DataError(f"judged_W must be row numbers below {n_cells}, got {rows.dtype} up to {rows.max()}.")
        names = ("reference_NK", "labels_N", "fallback_groups_N")
        per_cell = {**{name: getattr(self, name) for name in names}, **self.covariates}
        for name, values in per_cell.items():
            if values is not None and len(values) != n_cells:
                raise DataError(f"{name} must have one row for each of the {n_cells} cells, got {len(values)}.")

    @property
    def standard_mean_NK(self) -> Array:
        """Posterior mean less the prior's mean, in units of the prior's SD: what a cell's profile says beyond c."""
        if self.prior_mean_NK is None or self.prior_sd_NK is None:
            return self.mean_NK
        return np.asarray((self.mean_NK - self.prior_mean_NK) / self.prior_sd_NK)

    @property
    def standard_sd_NK(self) -> Array:
        """Posterior SD in units of the prior's."""
        return self.sd_NK if self.prior_sd_NK is None else np.asarray(self.sd_NK / self.prior_sd_NK)

    @property
    def elbo_W(self) -> Array | None:
        """Bound at β = 1 of each validation cell, nats, higher is better: −NLL − Σ_j KL_j; None without an NLL."""
        return None if self.nll_W is None else np.asarray(-self.nll_W - self.kl_WK.sum(axis=1), dtype=np.float64)

    @property
    def train_gain_T(self) -> Array | None:
        """Bound of training cells less log p(x | c) of the z-free decoder, nats; None where it is not known."""
        if self.train_elbo_T is None or self.train_null_nll_T is None:
            return None
        return np.asarray(self.train_elbo_T + self.train_null_nll_T, dtype=np.float64)

    @property
    def null_nll(self) -> float:
        """Mean NLL of the z-free decoder, nats per cell; NaN where it is not known."""
        return float("nan") if self.null_nll_W is None else float(np.mean(self.null_nll_W, dtype=np.float64))

    @property
    def null_spread(self) -> float:
        """SD of the z-free decoder's NLL between cells, nats; inf where fewer than ten cells are known."""
        parts = [np.asarray(part) for part in (self.null_nll_W, self.train_null_nll_T) if part is not None]
        known = np.concatenate([[], *parts])
        return float(known.std()) if len(known) >= SPREAD_CELLS else float("inf")

    def _modelled(self) -> dict[str, Array]:
        return {name: getattr(self, name) for name in MODELLED if getattr(self, name) is not None}

    def non_finite(self) -> dict[str, int]:
        """Count the NaN and inf entries of each array that the model computed, where there are any."""
        counts = {name: int((~np.isfinite(values)).sum()) for name, values in self._modelled().items()}
        return {name: count for name, count in counts.items() if count}

    def unknown(self) -> Self:
        """Everything that the model computed as NaN, and nothing to probe it for."""
        unknown: dict[str, Any] = {name: np.full(np.shape(v), np.nan) for name, v in self._modelled().items()}
        unprobed: dict[str, Any] = {"labels_N": None, "fallback_groups_N": None, "covariates": {}, "tempered_SW": {}}
        return replace(self, gaussian_prior=False, **unknown, **unprobed)
