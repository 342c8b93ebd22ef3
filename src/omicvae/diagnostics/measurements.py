"""All checks of one fit, measured once; the rules of the verdict read nothing else."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from omicvae.diagnostics.curve_statistics import CurveStatistics
from omicvae.diagnostics.decoder_use import DecoderUse, decoder_use
from omicvae.diagnostics.evidence import Row
from omicvae.diagnostics.excess_kl import ExcessKL, excess_kl
from omicvae.diagnostics.information import Information, information
from omicvae.diagnostics.inputs import DiagnosisInputs
from omicvae.diagnostics.null_model import GainOverNull, gain_over_null
from omicvae.diagnostics.prior_mismatch import prior_mismatch
from omicvae.diagnostics.probing import DRAW, MEANS, PCA, Leakage, Probes, leakage, probe_latents
from omicvae.diagnostics.structure import Structure
from omicvae.diagnostics.thresholds import ONE_FACT, SETTLED_EPOCHS, STILL_WINNING_ANNEALED, STILL_WINNING_CONSTANT
from omicvae.diagnostics.umap import EmbeddingCheck, umap_check
from omicvae.diagnostics.usage import LatentUsage, latent_usage

#: Training reconstruction that ends this many between-cell SDs above the z-free decoder, and above its own
#: best, has blown up: collapse and overfitting never leave training cells worse off than no latent at all by
#: that much.
BLOW_UP_SD = 3.0

#: Between-cell SDs by which training may fall behind its best at one KL weight. Learning rates up to 0.1 came to 0.6 at
#: most, rates from 1 on to 3.4 or more; what lies between is a fault only where the fit is ill.
THROWN_BACK_SD = 1.0
#: A step of Adam moves a weight by about the rate, and weights of a hundred inputs start with an SD of 0.06.
LARGEST_RATE = 0.05

#: Cells without structure differ by noise alone, in deep counts by less than a decoder misses that is off by 1 %. There
#: a part of all that training won must be lost too: by replicates of 10⁴ to 10⁶ counts a gene 0.6 % at most.
BLOW_UP_SHARE = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class Measurements:
    """Results of the checks. Those of the latent hold NaN where the model's arrays are not finite.

    Attributes
    ----------
    non_finite
        Array name → number of NaN and inf entries.
    null_nll
        NLL of the null model (the best decoder without z), nats per cell; NaN where it is not known.
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
    planned_epochs: int | None
    structure: Structure | None
    usage: LatentUsage
    use: DecoderUse
    gain: GainOverNull
    excess: ExcessKL
    information: Information | None
    probes: Probes | None
    umap: EmbeddingCheck | None
    leakage: Leakage

    @property
    def not_judged(self) -> tuple[str, ...]:
        """Name what a verdict rests on and this one could not, as its input was not given."""
        if self.non_finite:
            return ()
        lacking = {
            "whether the decoder uses z": not self.use.cost.known,
            "what z buys over a decoder without it": not self.gain.gain.known,
        }
        return tuple(what for what, lacks in lacking.items() if lacks)

    @property
    def without_structure(self) -> bool:
        """Whether the data were found to hold no structure beyond the null model."""
        return self.structure is not None and not self.structure.found

    def much(self, n_sd: float) -> float:
        """Nats that so many between-cell SDs are, one fact at least."""
        won = self.curves.change if self.without_structure else 0.0
        return float(np.fmax.reduce([ONE_FACT, n_sd * self.null_sd, BLOW_UP_SHARE * won]))

    @property
    def thrown_back(self) -> bool:
        """Whether the last run once rose so far above its best that steps were too large."""
        return self.curves.setback > self.much(THROWN_BACK_SD)

    @property
    def training_failed(self) -> bool:
        """Whether epochs were not finite, or training reconstruction ended far above its best and the null model's."""
        curves, limit = self.curves, self.much(BLOW_UP_SD)
        # comparisons with NaN (nothing recorded) are False, as they should be
        blown_up = (
            curves.reconstruction_end > self.null_nll + limit
            and curves.reconstruction_end > curves.reconstruction_best + limit
        )
        return curves.n_non_finite > 0 or blown_up

    @property
    def explains_nothing(self) -> bool:
        """Whether reconstruction is far worse than no latent, on new cells and at the end of training alike.

        After a few epochs it may be so because training has only begun, and somewhere along a curve that fell all the
        way because it has not ended.
        """
        curves, shortfall, limit = self.curves, -self.reconstruction_gain, self.much(BLOW_UP_SD)
        along_the_curve = self.null_nll + shortfall < curves.reconstruction_worst + limit
        unfinished = curves.setback <= self.much(THROWN_BACK_SD) and along_the_curve
        if 0 < curves.n_epochs < SETTLED_EPOCHS or unfinished:
            return False
        return shortfall > limit and not curves.reconstruction_end < self.null_nll

    @property
    def reconstruction_gain(self) -> float:
        """What reconstruction gains on new cells, whatever its code costs: the ELBO's gain plus the rate, nats."""
        return self.gain.gain.mean + self.usage.rate.mean

    @property
    def improvement_limit(self) -> float:
        """Nats that another quarter of a finished run may win at its final pace.

        A share of what the latent has won, or where that is not known of all that training has; NaN without a curve.
        """
        share = STILL_WINNING_ANNEALED if self.curves.annealed else STILL_WINNING_CONSTANT
        won = abs(self.gain.gain.mean) if self.gain.gain.known else self.curves.change
        return float(np.maximum(ONE_FACT, share * won))

    @property
    def bound_still_rises(self) -> bool:
        """Whether the bound still rises by a good part of what the latent has won.

        Not so for a silent encoder whose weight settled epochs ago: there the decoder polishes its means alone. Where
        the curves are of training cells alone, what these are better off may be what they won of late.
        """
        if self.usage.silent and self.curves.n_settled >= SETTLED_EPOCHS:
            return False
        memorised = 0.0 if self.curves.has_validation else float(np.fmax(self.gain.gap, 0.0))
        return self.curves.still_improving and self.curves.improvement[0] - memorised > self.improvement_limit

    def rows(self) -> Iterator[Row]:
        """Evidence of every check that was made, in reading order."""
        bad = sum(self.non_finite.values())
        where = f"in {', '.join(self.non_finite)}" if bad else "the model's output is finite"
        yield Row("non-finite entries", bad, where, "= 0", bad == 0)
        latent = (self.usage, self.use, self.gain, self.excess, self.information, self.probes, self.umap, self.leakage)
        for check in (self.structure, *(() if bad else latent)):
            if check is not None:
                yield from check.rows()
        if self.curves.n_epochs:
            yield from self._curve_rows()

    def _curve_rows(self) -> Iterator[Row]:
        curves, limit = self.curves, self.improvement_limit
        meaning = f"of {curves.n_epochs} epochs with the final KL weight"
        yield Row("epochs after warm-up", curves.n_settled, meaning, "≥ 1", curves.settled)
        won, error = curves.improvement
        cells = "" if curves.has_validation or self.gain.gap != self.gain.gap else " on training cells"
        meaning = f"nats another quarter of the run would win{cells} at the final pace (± {error:.2g})"
        judged = not self.non_finite and limit == limit and won == won
        verdict = (f"≤ {limit:.2f}", not self.bound_still_rises) if judged else ("", None)
        yield Row("still improving", won, meaning, *verdict)
        meaning = "training losses that were NaN or inf, or a reconstruction that blew up"
        yield Row("epochs not finite", curves.n_non_finite, meaning, "= 0", not self.training_failed)


def measure(inputs: DiagnosisInputs, *, seed: int | None = None, umap: bool = True) -> Measurements:
    """Run every check; the same seed, that of the inputs for None, gives the same result."""
    seed = inputs.seed if seed is None else seed
    non_finite = inputs.non_finite()
    if non_finite:  # then the latent proves nothing
        inputs = inputs.unknown()
    settled, earlier = inputs.schedule_settled_epoch, inputs.earlier_epochs
    curves = CurveStatistics.of_fit(inputs.history, settled_from=settled, earlier_epochs=earlier)
    mean_NK, sd_NK = inputs.standard_mean_NK, inputs.standard_sd_NK
    usage = latent_usage(mean_NK, inputs.kl_WK)
    gain = gain_over_null(inputs.elbo_W, inputs.null_nll_W, inputs.train_gain_T, bound_gap=curves.gap)
    mismatch = prior_mismatch(mean_NK, sd_NK, seed=seed) if inputs.gaussian_prior else None
    excess = excess_kl(usage.rate.mean, gain.gain.mean, mismatch, inputs.elbo_W, inputs.tempered_SW)
    draw_NK, reference = inputs.draw_NK, {} if inputs.reference_NK is None else {PCA: inputs.reference_NK}
    probed = {DRAW: draw_NK, MEANS: inputs.mean_NK, **reference}
    mapped = {DRAW: draw_NK, "means": inputs.mean_NK, **reference}  # UMAP scales nothing
    against: dict[str, Any] = {"gain": gain.gain.mean, "narrow_enough": excess.narrow_enough, "seed": seed}
    labels_N, probes = inputs.labels_N, None
    if labels_N is not None:
        key, given = inputs.labels_key or "labels", inputs.labels_conditioned
        probes = probe_latents(probed, labels_N, key=key, conditioned=given, **against)
    if probes is None and inputs.fallback_groups_N is not None:
        labels_N = inputs.fallback_groups_N
        probes = probe_latents(probed, labels_N, key="k-means classes", fallback=True, **against)
    return Measurements(
        non_finite=non_finite,
        curves=curves,
        null_nll=inputs.null_nll,
        null_sd=inputs.null_spread,
        n_cells=len(mean_NK),
        planned_epochs=inputs.planned_epochs,
        structure=inputs.structure,
        usage=usage,
        use=decoder_use(inputs.nll_W, inputs.nll_permuted_W),
        gain=gain,
        excess=excess,
        information=None if non_finite else information(inputs.mean_NK, inputs.sd_NK, seed=seed),
        probes=probes,
        umap=umap_check(mapped, labels_N, seed=seed) if umap and labels_N is not None else None,
        leakage=leakage(draw_NK, inputs.covariates, seed=seed),
    )
