"""All checks of one fit, measured once; the rules of the verdict read nothing else."""

from dataclasses import dataclass

import numpy as np

from omicvae.diagnostics._statistics import Estimate
from omicvae.diagnostics.curve_statistics import CurveStatistics
from omicvae.diagnostics.decoder_use import DecoderUse, decoder_use
from omicvae.diagnostics.embedding import EmbeddingCheck, umap_check
from omicvae.diagnostics.evidence import FitEvidence
from omicvae.diagnostics.information import Information, information
from omicvae.diagnostics.mismatch import PriorMismatch, prior_mismatch
from omicvae.diagnostics.null import GainOverNull, gain_over_null
from omicvae.diagnostics.probing import Probes, leakage, probe_latents
from omicvae.diagnostics.structure import Structure
from omicvae.diagnostics.tempering import Tempering, tempering
from omicvae.diagnostics.usage import LatentUsage, latent_usage
from omicvae.metrics.classification import ProbeScore


@dataclass(frozen=True, slots=True, eq=False)
class Measurements:
    """Results of the checks. Those of the latent are None where the model's arrays are not finite.

    Attributes
    ----------
    non_finite
        Array name → number of NaN and inf entries.
    null_nll
        NLL of the z-free decoder, nats per cell.
    null_sd
        SD of that NLL between cells; inf where too few are known.
    n_cells
        Cells of the data.
    elbo
        Bound at β = 1 of the validation cells, nats per cell.
    """

    non_finite: dict[str, int]
    curves: CurveStatistics
    null_nll: float
    null_sd: float
    n_cells: int
    usage: LatentUsage | None = None
    use: DecoderUse | None = None
    gain: GainOverNull | None = None
    elbo: Estimate | None = None
    mismatch: PriorMismatch | None = None
    tempering: Tempering | None = None
    information: Information | None = None
    structure: Structure | None = None
    probes: Probes | None = None
    umap: EmbeddingCheck | None = None
    leakage: dict[str, ProbeScore] | None = None
    planned_epochs: int | None = None

    @property
    def overpaid(self) -> float:
        """Nats of the rate that buy nothing: for distance from the prior, and for posteriors that are too narrow."""
        far = 0.0 if self.mismatch is None else self.mismatch.waste
        return far + (0.0 if self.tempering is None else self.tempering.overpaid)


def measure(inputs: FitEvidence, *, seed: int = 0, umap: bool = True) -> Measurements:
    """Run every check; the same seed gives the same result."""
    curves = CurveStatistics.of_fit(inputs.history, settled_from=inputs.schedule_settled_epoch)
    null_W = np.asarray(inputs.null_nll_W, dtype=np.float64)
    null_nll, null_sd = float(null_W.mean()), inputs.null_spread
    non_finite = inputs.non_finite()
    if non_finite:
        return Measurements(
            non_finite,
            curves,
            null_nll,
            null_sd,
            len(inputs.mean_NK),
            structure=inputs.structure,
            planned_epochs=inputs.planned_epochs,
        )
    mean_NK, sd_NK = inputs.standard_mean_NK, inputs.standard_sd_NK
    latents = (inputs.draw_NK, inputs.mean_NK, inputs.reference_NK)
    labels_N, key, fallback = inputs.labels_N, inputs.labels_key or "labels", False
    probes = None
    if labels_N is not None:
        probes = probe_latents(*latents, labels_N=labels_N, key=key, conditioned=inputs.labels_conditioned, seed=seed)
    if probes is None and inputs.fallback_groups_N is not None:
        labels_N, key, fallback = inputs.fallback_groups_N, "k-means classes", True
        probes = probe_latents(*latents, labels_N=labels_N, key=key, fallback=fallback, seed=seed)
    return Measurements(
        non_finite=non_finite,
        curves=curves,
        null_nll=null_nll,
        null_sd=null_sd,
        n_cells=len(mean_NK),
        usage=latent_usage(mean_NK, inputs.kl_WK),
        use=decoder_use(inputs.nll_W, inputs.nll_permuted_W),
        gain=gain_over_null(inputs.elbo_W, -null_W, inputs.train_gain_T),
        elbo=Estimate.of(inputs.elbo_W),
        mismatch=prior_mismatch(mean_NK, sd_NK, seed=seed) if inputs.gaussian_prior else None,
        tempering=tempering(inputs.elbo_W, inputs.tempered_SW) if inputs.tempered_SW else None,
        information=information(inputs.mean_NK, inputs.sd_NK, seed=seed),
        structure=inputs.structure,
        probes=probes,
        umap=umap_check(*latents, labels_N=labels_N, seed=seed) if umap and labels_N is not None else None,
        leakage=leakage(inputs.draw_NK, inputs.covariates, seed=seed),
        planned_epochs=inputs.planned_epochs,
    )
