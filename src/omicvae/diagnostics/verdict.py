"""The verdict: an ordered table of rules over what was measured. The first that holds is the verdict.

Settings take no part: no rule sees β, a schedule, the architecture or the objective.
"""

from collections.abc import Callable
from dataclasses import dataclass

from omicvae.diagnostics import thresholds as T
from omicvae.diagnostics._statistics import Estimate
from omicvae.diagnostics.measurements import Measurements


@dataclass(frozen=True, slots=True)
class Rule:
    """A verdict, the condition under which it holds, and its sentence."""

    name: str
    holds: Callable[[Measurements], bool]
    headline: Callable[[Measurements], str]


def gain_is_negligible(gain: Estimate) -> bool:
    """Whether the gain may be nothing: within its 95 % interval of 0, or worth less than one yes/no fact."""
    return gain.mean <= max(gain.margin, T.ONE_FACT)


def is_diverged(m: Measurements) -> bool:
    """Whether the model's arrays are not finite, or training blew up and left no sound weights behind."""
    if m.non_finite:
        return True
    return m.gain is not None and m.gain.gain.mean <= 0 and (training_went_astray(m) or explains_nothing(m))


def explains_nothing(m: Measurements) -> bool:
    """Whether reconstruction is far worse than no latent, on new cells and at the end of training alike.

    After a few epochs it may be so because training has only begun.
    """
    if m.gain is None or m.usage is None or 0 < m.curves.n_epochs < T.SETTLED_EPOCHS:
        return False
    shortfall = -(m.gain.gain.mean + m.usage.rate.mean)
    return shortfall > T.BLOW_UP_SD * m.null_sd and not m.curves.reconstruction_end < m.null_nll


def training_went_astray(m: Measurements) -> bool:
    """Whether epochs were not finite, or training reconstruction ended far above its best and the null."""
    curves = m.curves
    limit = T.BLOW_UP_SD * m.null_sd
    # comparisons with NaN (nothing recorded) are False, as they should be
    blown_up = (
        curves.reconstruction_end > m.null_nll + limit
        and curves.reconstruction_end > curves.reconstruction_best + limit
    )
    return curves.n_non_finite > 0 or blown_up


def is_undertrained(m: Measurements) -> bool:
    """Whether the schedule was cut off, the bound rises, the decoder lags, or it is too early to tell."""
    curves, gain = m.curves, m.gain
    if gain is None or curves.n_epochs == 0:
        return False
    too_early = curves.n_settled < T.SETTLED_EPOCHS and gain_is_negligible(gain.gain)
    return curves.settled is False or still_winning(m) or lags_behind_null(m) or too_early


def still_winning(m: Measurements) -> bool:
    """Whether the bound still rises by a good part of what the latent has won.

    Not so for a silent encoder whose weight settled epochs ago: there the decoder polishes its means alone.
    """
    curves = m.curves
    if m.gain is None or (is_silent(m) and curves.n_settled >= T.SETTLED_EPOCHS):
        return False
    return curves.still_improving and curves.improvement > improvement_limit(m)


def improvement_limit(m: Measurements) -> float:
    """Nats that another quarter of a finished run may win at its final pace."""
    share = T.STILL_WINNING_ANNEALED if m.curves.annealed else T.STILL_WINNING_CONSTANT
    return max(T.ONE_FACT, share * abs(m.gain.gain.mean)) if m.gain is not None else float("nan")


def lags_behind_null(m: Measurements) -> bool:
    """Whether a latent in use still reconstructs worse than no latent, and not because of memorising.

    Reconstruction gains by the ELBO's gain plus the rate. Below 0 the decoder has not even learned what the
    z-free one knows; where training cells do no better (a gap of less than half of it), that is lack of
    training.
    """
    if m.usage is None or m.gain is None or not m.usage.n_active:
        return False
    shortfall = -(m.gain.gain.mean + m.usage.rate.mean)
    memorises = gap(m) > shortfall / 2  # not so where the gap is not known
    return shortfall > max(m.gain.gain.margin, T.ONE_FACT) and not memorises


def gap(m: Measurements) -> float:
    """By how much training cells are better off, nats per cell; NaN where it is not known."""
    return m.curves.gap if m.gain is None or m.gain.train is None else m.gain.gap


def gap_margin(m: Measurements) -> float:
    """Half width of the gap's 95 % interval, from that of the validation cells where the gap is one of bounds."""
    if m.gain is not None and m.gain.train is not None:
        return m.gain.gap_margin
    return float("nan") if m.elbo is None else m.elbo.margin


def lacks_signal(m: Measurements) -> bool:
    """Whether the data hold nothing to encode: no structure beyond the z-free model, and nobody found any.

    Neither this model on new cells nor, where labels are given, PCA: labels that it reads are something to encode.
    """
    if m.structure is None or m.structure.found or m.gain is None:
        return False
    readable = m.probes is not None and not m.probes.fallback and m.probes.learnable
    return (gain_is_negligible(m.gain.gain) or ignores_z(m)) and not readable


def ignores_z(m: Measurements) -> bool:
    """Whether a wrong z costs the decoder nothing: then no gain comes from z, but from a better use of covariates."""
    return m.use is not None and m.use.cost.high < T.IGNORED_COST


def is_silent(m: Measurements) -> bool:
    """Whether the encoder says nothing: no active unit, and draws that cannot be told from the prior's."""
    return m.usage is not None and m.usage.n_active == 0 and m.usage.rate.mean < T.SILENT_RATE


def is_collapsed(m: Measurements) -> bool:
    """Whether the latent carries nothing: encoder silent, decoder deaf, or nothing to be read.

    The rate is no estimate that few cells blur, and the cost of a wrong z has a small error exactly where the
    decoder ignores z; so eight validation cells with a wide gain convict nobody.
    """
    if m.usage is None or m.use is None or m.gain is None:
        return False
    rate, cost, gain = m.usage.rate.mean, m.use.cost, m.gain.gain
    no_gain, no_active = gain_is_negligible(gain), m.usage.n_active == 0
    faint = no_active and rate < T.ONE_FACT and (no_gain or cost.mean < T.IGNORED_COST)
    unreadable = rate < T.ONE_FACT and no_gain and probe_counts(m) and m.probes is not None and m.probes.at_chance
    return is_silent(m) or ignores_z(m) or faint or unreadable


def probe_counts(m: Measurements) -> bool:
    """Whether the probe may testify: labels the model was not given, which PCA reads better than chance."""
    return m.probes is not None and not m.probes.conditioned and m.probes.learnable


def probe_below_pca(m: Measurements) -> bool:
    """Whether the draw is read well below PCA: in share, in absolute terms, and beyond its error."""
    if m.probes is None or m.gain is None or not probe_counts(m):
        return False
    lost = m.probes.lost
    clear = lost.low > 0 and lost.mean > T.LOST_ACCURACY
    if m.probes.fallback:
        # classes cut from noise are lost by every model; without a gain that is overfitting and not a loss
        return clear and m.gain.gain.mean > 0 and m.probes.retained < T.RETAINED_SHARE_FALLBACK
    return clear and m.probes.retained < T.RETAINED_SHARE


def probe_lost(m: Measurements) -> bool:
    """Whether it is, and telling more would not surely be too dear."""
    return probe_below_pca(m) and not is_narrow_enough(m)


def is_partially_collapsed(m: Measurements) -> bool:
    """Whether information is lost: a draw read well below PCA, posteriors too wide, or a faint latent without gain.

    Codes that memorise and buy nothing are read badly too, for another reason.
    """
    if m.usage is None or m.gain is None:
        return False
    memory = m.gain.gain.mean <= 0 and _memorised(m, 0.0)
    return (
        (probe_lost(m) and not memory)
        or is_too_wide(m)
        or (m.usage.rate.mean < T.ONE_FACT and gain_is_negligible(m.gain.gain))
    )


def is_overfit(m: Measurements) -> bool:
    """Whether codes do not pay on new cells, or memorising costs over three times what they buy there.

    Codes that carry over and are only too dear, because they lie far from the prior, are no memory.
    """
    if m.gain is None or m.usage is None:
        return False
    gain = m.gain.gain.mean
    carried = gain + m.usage.rate.mean  # what reconstruction gains on new cells, whatever its code costs
    if is_under_regularised(m) and carried > m.gain.gain.margin and not _memorised(m, carried):
        return False
    return gain <= 0 or _memorised(m, gain)


def _memorised(m: Measurements, bought: float) -> bool:
    """Whether training cells are better off than new ones by over three times what is bought on new ones."""
    return gap(m) - gap_margin(m) > T.GAP_PER_GAIN * max(bought, T.ONE_FACT)


def is_under_regularised(m: Measurements) -> bool:
    """Whether rate that buys nothing is most of it, or eats the gain.

    Shifting and scaling z would save the distance from the prior, and wider posteriors what narrow ones cost too much.
    """
    if m.usage is None or m.gain is None:
        return False
    overpaid, gain, rate = m.overpaid, m.gain.gain.mean, m.usage.rate.mean
    eats = overpaid > T.OVERPAID_RATE * rate and overpaid > T.OVERPAID_GAIN * (gain + overpaid)
    return overpaid > T.ONE_FACT and (eats or overpaid > T.MOST_OF_RATE * rate)


def is_narrow_enough(m: Measurements) -> bool:
    """Whether narrower posteriors would surely lose: then a draw tells less than PCA because more is not worth it."""
    return m.tempering is not None and m.tempering.narrowed.high < 0


def is_too_wide(m: Measurements) -> bool:
    """Whether narrower posteriors would win more than the whole rate, and then pay: more is used than is told."""
    if m.usage is None or m.tempering is None or m.gain is None:
        return False
    narrowed = m.tempering.narrowed
    return narrowed.low > max(m.usage.rate.mean, T.ONE_FACT) and m.gain.gain.mean + narrowed.mean > 0


def _diverged(m: Measurements) -> str:
    if m.non_finite:
        found = ", ".join(f"{count} entries of {name}" for name, count in m.non_finite.items())
        return f"Training diverged: the model's output is not finite ({found})."
    epochs = f"{m.curves.n_non_finite} epochs were not finite" if m.curves.n_non_finite else "reconstruction blew up"
    return (
        f"Training diverged: {epochs}, and the weights that were kept explain new cells no better than no latent (gain "
        f"{_gain(m):+.3g} nats)."
    )


def _undertrained(m: Measurements) -> str:
    curves = m.curves
    if curves.settled is False:
        return f"Undertrained: after {curves.n_epochs} epochs the KL weight had not reached its final value."
    if still_winning(m):
        return (
            f"Undertrained: the bound still rises; another quarter of the run would win about "
            f"{curves.improvement:.3g} nats per cell, and the latent has won {_gain(m):+.3g} so far."
        )
    if lags_behind_null(m):
        return (
            "Undertrained: with its latent the model still explains cells worse than a decoder without one "
            "(gain "
            f"{_gain(m):+.3g} nats per cell), those it has seen as well."
        )
    return f"Undertrained: {curves.n_epochs} epochs are too few to tell whether the latent comes alive."


def _collapsed(m: Measurements) -> str:
    assert m.usage is not None
    assert m.use is not None
    text = (
        f"The latent space has collapsed: KL {m.usage.rate.mean:.2g} nats per cell, {m.usage.n_active} of "
        f"{m.usage.n_latent} dimensions active, a wrong z costs {m.use.cost.mean:.2g} nats, gain over a "
        f"decoder "
        f"without z {_gain(m):+.3g}."
    )
    if m.probes is not None and probe_counts(m) and m.probes.at_chance:
        text += f" A posterior draw predicts {m.probes.key} no better than chance."
    return text


def _partial(m: Measurements) -> str:
    if m.probes is not None and probe_lost(m):
        return (
            f"The latent space is partly collapsed: a posterior draw predicts {m.probes.key} with balanced "
            f"accuracy "
            f"{m.probes.draw.balanced_accuracy:.2f}, PCA with as many dimensions "
            f"{m.probes.reference.balanced_accuracy:.2f}."
        )
    if m.tempering is not None and is_too_wide(m):
        return (
            f"The latent space is partly collapsed: it holds {_rate(m):.2g} nats per cell, and posteriors that told "
            f"more would raise the bound by {m.tempering.narrowed.mean:.3g}."
        )
    return (
        "The latent space is nearly collapsed: it carries less than one yes/no fact per cell and buys "
        "nothing over a "
        f"decoder without z (gain {_gain(m):+.3g} nats)."
    )


def _overfit(m: Measurements) -> str:
    known = f"train–validation gap {gap(m):.3g} nats per cell" if gap(m) == gap(m) else "gap unknown"
    return (
        "The model overfits: what it encodes does not carry over to new cells (gain over a decoder without z "
        f"{_gain(m):+.3g} nats, {known})."
    )


def _no_signal(m: Measurements) -> str:
    assert m.structure is not None
    return (
        f"Nothing to encode was found in {m.structure.n_cells} cells: beyond covariates and depth the leading "
        f"directions across genes explain {m.structure.share:.2%} of the variance, in simulations without structure "
        f"{m.structure.by_chance:.2%}. A KL near 0 is right for such data (it is {_rate(m):.2g} nats)."
    )


def _under_regularised(m: Measurements) -> str:
    far = 0.0 if m.mismatch is None else m.mismatch.waste
    return (
        f"Under-regularised: of {_rate(m):.3g} nats of KL, {m.overpaid:.3g} buy nothing ({far:.3g} for lying far from "
        f"the prior, {m.overpaid - far:.3g} for posteriors that are too narrow; gain over a decoder without z "
        f"{_gain(m):+.3g}); draws from the prior miss where the cells are."
    )


def _healthy(m: Measurements) -> str:
    assert m.usage is not None
    text = (
        f"The latent space is alive: KL {m.usage.rate.mean:.3g} nats per cell in {m.usage.n_active} of "
        f"{m.usage.n_latent} dimensions, gain over a decoder without z {_gain(m):+.3g} nats."
    )
    if m.probes is not None and probe_counts(m):
        text += (
            f" A posterior draw predicts {m.probes.key} with balanced accuracy "
            f"{m.probes.draw.balanced_accuracy:.2f} "
            f"(PCA {m.probes.reference.balanced_accuracy:.2f})."
        )
    return text


def _rate(m: Measurements) -> float:
    return float("nan") if m.usage is None else m.usage.rate.mean


def _gain(m: Measurements) -> float:
    return float("nan") if m.gain is None else m.gain.gain.mean


#: In this order the first rule that holds is the verdict and every later one that holds is a finding.
RULES: tuple[Rule, ...] = (
    Rule("diverged", is_diverged, _diverged),
    Rule("no_signal", lacks_signal, _no_signal),  # before "undertrained": no training finds what is not there
    Rule("undertrained", is_undertrained, _undertrained),
    Rule("collapsed", is_collapsed, _collapsed),
    Rule("partial_collapse", is_partially_collapsed, _partial),
    Rule("overfit", is_overfit, _overfit),
    Rule("under_regularised", is_under_regularised, _under_regularised),
)
#: What remains when no illness is found. A gain at or below 0 never gets here: ``overfit`` holds then.
HEALTHY = Rule("healthy", lambda m: True, _healthy)


#: What follows from a verdict anyway and would only confuse beside it.
IMPLIED: dict[str, tuple[str, ...]] = {
    "no_signal": ("undertrained", "collapsed", "partial_collapse"),
    "collapsed": ("partial_collapse", "overfit"),
}


@dataclass(frozen=True, slots=True)
class Judgement:
    """Verdict, its sentence, and the names of the other rules that hold."""

    verdict: str
    headline: str
    findings: tuple[str, ...]


def judge(measurements: Measurements) -> Judgement:
    """Apply the table."""
    holding = [rule for rule in RULES if rule.holds(measurements)] or [HEALTHY]
    first, *others = (rule for rule in holding if rule.name not in IMPLIED.get(holding[0].name, ()))
    return Judgement(first.name, first.headline(measurements), tuple(rule.name for rule in others))
