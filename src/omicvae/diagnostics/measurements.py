"""All checks of one fit, measured once; the rules of the verdict read nothing else."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from omicvae.diagnostics.curve_statistics import CurveStatistics
from omicvae.diagnostics.decoder_use import DecoderUse, decoder_use
from omicvae.diagnostics.embedding import EmbeddingCheck, umap_check
from omicvae.diagnostics.evidence_table import Row
from omicvae.diagnostics.excess_kl import ExcessKL
from omicvae.diagnostics.information import Information, information
from omicvae.diagnostics.inputs import DiagnosisInputs
from omicvae.diagnostics.null_model import GainOverNull, gain_over_null
from omicvae.diagnostics.prior_mismatch import prior_mismatch
from omicvae.diagnostics.probing import Leakage, Probes, leakage, probe_latents
from omicvae.diagnostics.structure import Structure
from omicvae.diagnostics.tempering import tempering
from omicvae.diagnostics.thresholds import ONE_FACT, SETTLED_EPOCHS, STILL_WINNING_ANNEALED, STILL_WINNING_CONSTANT
from omicvae.diagnostics.usage import LatentUsage, latent_usage
from omicvae.metrics.labels import Array

#: Training reconstruction that ends this many between-cell SDs above the z-free decoder, and above its own
#: best, has blown up: collapse and overfitting never leave training cells worse off than no latent at all by
#: that much.
BLOW_UP_SD = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Measurements:
    """Results of the checks. Those of the latent are None where the model's arrays are not finite.

    Attributes
    ----------
    non_finite
        Array name → number of NaN and inf entries.
    null_nll
        NLL of the null model (the best decoder without z), nats per cell.
    null_sd
        SD of that NLL between cells; inf where too few are known.
    n_cells
        Cells of the data.
    """

    non_finite: dict[str, int]
    curves: CurveStatistics
    null_nll: float
    null_sd: float
    n_cells: int
    structure: Structure | None = None
    usage: LatentUsage | None = None
    use: DecoderUse | None = None
    gain: GainOverNull | None = None
    excess: ExcessKL | None = None
    information: Information | None = None
    probes: Probes | None = None
    umap: EmbeddingCheck | None = None
    leakage: Leakage | None = None
    planned_epochs: int | None = None

    @property
    def training_failed(self) -> bool:
        """Whether epochs were not finite, or training reconstruction ended far above its best and the null model's."""
        curves, limit = self.curves, BLOW_UP_SD * self.null_sd
        # comparisons with NaN (nothing recorded) are False, as they should be
        blown_up = (
            curves.reconstruction_end > self.null_nll + limit
            and curves.reconstruction_end > curves.reconstruction_best + limit
        )
        return curves.n_non_finite > 0 or blown_up

    @property
    def explains_nothing(self) -> bool:
        """Whether reconstruction is far worse than no latent, on new cells and at the end of training alike.

        After a few epochs it may be so because training has only begun.
        """
        if 0 < self.curves.n_epochs < SETTLED_EPOCHS:
            return False
        worse = -self.reconstruction_gain > BLOW_UP_SD * self.null_sd
        return worse and not self.curves.reconstruction_end < self.null_nll

    @property
    def reconstruction_gain(self) -> float:
        """What reconstruction gains on new cells, whatever its code costs: the ELBO's gain plus the rate, nats."""
        if self.gain is None or self.usage is None:
            return float("nan")
        return self.gain.gain.mean + self.usage.rate.mean

    @property
    def improvement_limit(self) -> float:
        """Nats that another quarter of a finished run may win at its final pace."""
        share = STILL_WINNING_ANNEALED if self.curves.annealed else STILL_WINNING_CONSTANT
        return float("nan") if self.gain is None else max(ONE_FACT, share * abs(self.gain.gain.mean))

    @property
    def bound_still_rises(self) -> bool:
        """Whether the bound still rises by a good part of what the latent has won.

        Not so for a silent encoder whose weight settled epochs ago: there the decoder polishes its means alone.
        """
        if self.usage is not None and self.usage.silent and self.curves.n_settled >= SETTLED_EPOCHS:
            return False
        return self.curves.still_improving and self.curves.improvement > self.improvement_limit

    @property
    def below_pca(self) -> bool:
        """Whether a draw tells labels well below PCA."""
        return self.probes is not None and self.gain is not None and self.probes.below_pca(self.gain.gain.mean)

    @property
    def information_lost(self) -> bool:
        """Whether it does, and telling more would not surely be too dear."""
        tempering = None if self.excess is None else self.excess.tempering
        return self.below_pca and not (tempering is not None and tempering.narrow_enough)

    def rows(self) -> Iterator[Row]:
        """Evidence of every check that was made, in reading order."""
        bad = sum(self.non_finite.values())
        where = f"in {', '.join(self.non_finite)}" if bad else "the model's output is finite"
        yield Row("non-finite entries", bad, "= 0", bad == 0, where)
        for check in (self.structure, self.usage, self.use, self.gain, self.excess, self.information):
            if check is not None:
                yield from check.rows()
        if self.probes is not None:
            yield from self.probes.rows(lost=self.information_lost)
        for shown_check in (self.umap, self.leakage):
            if shown_check is not None:
                yield from shown_check.rows()
        if self.curves.n_epochs:
            yield from self._curve_rows()

    def _curve_rows(self) -> Iterator[Row]:
        curves, limit = self.curves, self.improvement_limit
        yield Row(
            "epochs after warm-up",
            curves.n_settled,
            "≥ 1",
            curves.settled,
            f"of {curves.n_epochs} epochs with the final KL weight",
        )
        yield Row(
            "still improving",
            curves.improvement,
            f"≤ {limit:.2f}" if limit == limit else "",
            None if self.gain is None else not self.bound_still_rises,
            f"nats another quarter of the run would win at the final pace (± {curves.improvement_se:.2g})",
        )
        yield Row(
            "epochs not finite",
            curves.n_non_finite,
            "= 0",
            not self.training_failed,
            "training losses that were NaN or inf, or a reconstruction that blew up",
        )


def measure(inputs: DiagnosisInputs, *, seed: int = 0, umap: bool = True) -> Measurements:
    """Run every check; the same seed gives the same result."""
    curves = CurveStatistics.of_fit(inputs.history, settled_from=inputs.schedule_settled_epoch)
    null_W = np.asarray(inputs.null_nll_W, dtype=np.float64)
    always: dict[str, Any] = {
        "non_finite": inputs.non_finite(),
        "curves": curves,
        "null_nll": float(null_W.mean()),
        "null_sd": inputs.null_spread,
        "n_cells": len(inputs.mean_NK),
        "structure": inputs.structure,
        "planned_epochs": inputs.planned_epochs,
    }
    if always["non_finite"]:
        return Measurements(**always)
    mean_NK, sd_NK = inputs.standard_mean_NK, inputs.standard_sd_NK
    usage = latent_usage(mean_NK, inputs.kl_WK)
    gain = gain_over_null(inputs.elbo_W, -null_W, inputs.train_gain_T, bound_gap=curves.gap)
    mismatch = prior_mismatch(mean_NK, sd_NK, seed=seed) if inputs.gaussian_prior else None
    tempered = tempering(inputs.elbo_W, inputs.tempered_SW) if inputs.tempered_SW else None
    probes, labels_N = _probes(inputs, seed)
    latents = (inputs.draw_NK, inputs.mean_NK, inputs.reference_NK)
    return Measurements(
        **always,
        usage=usage,
        use=decoder_use(inputs.nll_W, inputs.nll_permuted_W),
        gain=gain,
        excess=ExcessKL(usage.rate.mean, gain.gain.mean, mismatch, tempered),
        information=information(inputs.mean_NK, inputs.sd_NK, seed=seed),
        probes=probes,
        umap=umap_check(*latents, labels_N=labels_N, seed=seed) if umap and labels_N is not None else None,
        leakage=leakage(inputs.draw_NK, inputs.covariates, seed=seed),
    )


def _probes(inputs: DiagnosisInputs, seed: int) -> tuple[Probes | None, Array | None]:
    """Probe the labels, or the classes that stand in where none can be probed; give those that were taken too."""
    latents = (inputs.draw_NK, inputs.mean_NK, inputs.reference_NK)
    labels_N, probes = inputs.labels_N, None
    if labels_N is not None:
        key, conditioned = inputs.labels_key or "labels", inputs.labels_conditioned
        probes = probe_latents(*latents, labels_N=labels_N, key=key, conditioned=conditioned, seed=seed)
    if probes is None and inputs.fallback_groups_N is not None:
        labels_N = inputs.fallback_groups_N
        probes = probe_latents(*latents, labels_N=labels_N, key="k-means classes", fallback=True, seed=seed)
    return probes, labels_N
