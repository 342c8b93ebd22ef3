"""The verdicts on a fit: an ordered table of rules over what was measured. The first that holds is the verdict.

Settings take no part: no rule sees β, a schedule, the architecture or the objective.
"""

from omicvae.diagnostics import remedies
from omicvae.diagnostics.decoder_use import IGNORED_COST
from omicvae.diagnostics.measurements import Measurements
from omicvae.diagnostics.remedies import Remedy
from omicvae.diagnostics.rules import Rule
from omicvae.diagnostics.thresholds import ONE_FACT, SETTLED_EPOCHS


def is_diverged(m: Measurements) -> bool:
    """Whether the model's arrays are not finite, or training blew up and left no sound weights behind."""
    if m.non_finite:
        return True
    return m.gain is not None and m.gain.gain.mean <= 0 and (m.training_failed or m.explains_nothing)


def _diverged(m: Measurements) -> str:
    if m.non_finite:
        found = ", ".join(f"{count} entries of {name}" for name, count in m.non_finite.items())
        return f"Training diverged: the model's output is not finite ({found})."
    epochs = f"{m.curves.n_non_finite} epochs were not finite" if m.curves.n_non_finite else "reconstruction blew up"
    return (
        f"Training diverged: {epochs}, and the weights that were kept explain new cells no better than no latent (gain "
        f"{_gain(m):+.3g} nats)."
    )


def lacks_signal(m: Measurements) -> bool:
    """Whether the data hold nothing to encode: no structure beyond the null model, and nobody found any.

    Neither this model on new cells nor, where labels are given, PCA: labels that it reads are something to encode.
    """
    if m.structure is None or m.structure.found or m.gain is None or m.use is None:
        return False
    readable = m.probes is not None and not m.probes.fallback and m.probes.learnable
    return (m.gain.negligible or m.use.ignored) and not readable


def _no_signal(m: Measurements) -> str:
    assert m.structure is not None
    return (
        f"Nothing to encode was found in {m.structure.n_cells} cells: beyond covariates and depth the leading "
        f"directions across genes explain {m.structure.share:.2%} of the variance, in simulations without structure "
        f"{m.structure.by_chance:.2%}. A KL near 0 is right for such data (it is {_rate(m):.2g} nats)."
    )


def is_undertrained(m: Measurements) -> bool:
    """Whether the schedule was cut off, the bound rises, the decoder lags, or it is too early to tell."""
    if m.gain is None or m.curves.n_epochs == 0:
        return False
    too_early = m.curves.n_settled < SETTLED_EPOCHS and m.gain.negligible
    return m.curves.settled is False or m.bound_still_rises or lags_behind_null(m) or too_early


def lags_behind_null(m: Measurements) -> bool:
    """Whether a latent in use still reconstructs worse than no latent, and not because of memorising.

    Then the decoder has not even learned what the null model knows; where training cells do no better (a gap of less
    than half of it), that is lack of training.
    """
    if m.usage is None or m.gain is None or not m.usage.n_active:
        return False
    shortfall = -m.reconstruction_gain
    memorises = m.gain.gap > shortfall / 2  # not so where the gap is not known
    return shortfall > m.gain.least and not memorises


def _undertrained(m: Measurements) -> str:
    curves = m.curves
    if curves.settled is False:
        return f"Undertrained: after {curves.n_epochs} epochs the KL weight had not reached its final value."
    if m.bound_still_rises:
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


def is_collapsed(m: Measurements) -> bool:
    """Whether the latent carries nothing: encoder silent, z ignored by the decoder, or nothing to be read.

    The rate is no estimate that few cells blur, and the cost of a permuted z has a small error exactly where the
    decoder ignores z; so a wide gain of eight validation cells is no ground for this verdict.
    """
    if m.usage is None or m.use is None or m.gain is None:
        return False
    no_gain, below_one_fact = m.gain.negligible, m.usage.rate.mean < ONE_FACT
    faint = m.usage.n_active == 0 and below_one_fact and (no_gain or m.use.cost.mean < IGNORED_COST)
    unreadable = m.probes is not None and m.probes.counts and m.probes.at_chance
    return m.usage.silent or m.use.ignored or faint or (below_one_fact and no_gain and unreadable)


def _collapsed(m: Measurements) -> str:
    assert m.usage is not None
    assert m.use is not None
    text = (
        f"The latent space has collapsed: KL {m.usage.rate.mean:.2g} nats per cell, {m.usage.n_active} of "
        f"{m.usage.n_latent} dimensions active, a permuted z costs {m.use.cost.mean:.2g} nats, gain over a "
        f"decoder "
        f"without z {_gain(m):+.3g}."
    )
    if m.probes is not None and m.probes.counts and m.probes.at_chance:
        text += f" A posterior draw predicts {m.probes.key} no better than chance."
    return text


def is_partially_collapsed(m: Measurements) -> bool:
    """Whether information is lost: a draw read well below PCA, posteriors too wide, or a faint latent without gain.

    Codes that memorise and buy nothing are read badly too, for another reason.
    """
    if m.usage is None or m.gain is None or m.excess is None:
        return False
    only_memorised = m.gain.gain.mean <= 0 and m.gain.memorised(0.0)
    faint = m.usage.rate.mean < ONE_FACT and m.gain.negligible
    return (m.information_lost and not only_memorised) or m.excess.too_wide or faint


def _partial(m: Measurements) -> str:
    if m.probes is not None and m.information_lost:
        return (
            f"The latent space is partly collapsed: a posterior draw predicts {m.probes.key} with balanced "
            f"accuracy "
            f"{m.probes.draw.balanced_accuracy:.2f}, PCA with as many dimensions "
            f"{m.probes.reference.balanced_accuracy:.2f}."
        )
    if m.excess is not None and m.excess.tempering is not None and m.excess.too_wide:
        return (
            f"The latent space is partly collapsed: it holds {_rate(m):.2g} nats per cell, and posteriors that told "
            f"more would raise the bound by {m.excess.tempering.narrowed.mean:.3g}."
        )
    return (
        "The latent space is nearly collapsed: it carries less than one yes/no fact per cell and buys "
        "nothing over a "
        f"decoder without z (gain {_gain(m):+.3g} nats)."
    )


def is_overfit(m: Measurements) -> bool:
    """Whether codes do not pay on new cells, or memorising costs over three times what they buy there.

    Codes that carry over and are only too dear, because they lie far from the prior, are no memory.
    """
    if m.gain is None:
        return False
    gain, carried = m.gain.gain, m.reconstruction_gain
    if is_under_regularised(m) and carried > gain.margin and not m.gain.memorised(carried):
        return False
    return gain.mean <= 0 or m.gain.memorised(gain.mean)


def _overfit(m: Measurements) -> str:
    gap = float("nan") if m.gain is None else m.gain.gap
    known = f"train–validation gap {gap:.3g} nats per cell" if gap == gap else "gap unknown"
    return (
        "The model overfits: what it encodes does not carry over to new cells (gain over a decoder without z "
        f"{_gain(m):+.3g} nats, {known})."
    )


def is_under_regularised(m: Measurements) -> bool:
    """Whether rate that buys nothing is most of it, or eats the gain."""
    return m.excess is not None and m.excess.too_much


def _under_regularised(m: Measurements) -> str:
    assert m.excess is not None
    return (
        f"Under-regularised: of {_rate(m):.3g} nats of KL, {m.excess.total:.3g} buy nothing "
        f"({m.excess.from_distance:.3g} for lying far from the prior, {m.excess.from_narrowness:.3g} for posteriors "
        f"that are too narrow; gain over a decoder without z {_gain(m):+.3g}); "
        f"draws from the prior miss where the cells are."
    )


def _healthy(m: Measurements) -> str:
    assert m.usage is not None
    text = (
        f"The latent space is alive: KL {m.usage.rate.mean:.3g} nats per cell in {m.usage.n_active} of "
        f"{m.usage.n_latent} dimensions, gain over a decoder without z {_gain(m):+.3g} nats."
    )
    if m.probes is not None and m.probes.counts:
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
RULES: tuple[Rule[Measurements, Remedy], ...] = (
    Rule("diverged", is_diverged, _diverged, remedies.diverged),
    # before "undertrained": no training finds what is not there
    Rule(
        "no_signal",
        lacks_signal,
        _no_signal,
        implies=("undertrained", "collapsed", "partial_collapse"),
        sound=True,
        tone="warning",
    ),
    Rule("undertrained", is_undertrained, _undertrained, remedies.undertrained, tone="warning"),
    Rule("collapsed", is_collapsed, _collapsed, remedies.collapsed, implies=("partial_collapse", "overfit")),
    Rule("partial_collapse", is_partially_collapsed, _partial, remedies.partial_collapse),
    Rule("overfit", is_overfit, _overfit, remedies.overfit),
    Rule("under_regularised", is_under_regularised, _under_regularised, remedies.under_regularised),
    # what remains; a gain at or below 0 never gets here: "overfit" holds then
    Rule("healthy", lambda m: True, _healthy, remedies.healthy, sound=True, tone="good", alone=True),
)
