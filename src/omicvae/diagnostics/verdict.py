"""The verdicts on a fit: an ordered table of rules over what was measured. The first that holds is the verdict.

Settings take no part: no rule sees β, a schedule, the architecture or the objective. Where the model's arrays are not
finite all readings of the latent are NaN, with which no comparison holds.
"""

from omicvae.diagnostics import remedies
from omicvae.diagnostics.decoder_use import IGNORED_COST
from omicvae.diagnostics.measurements import LARGEST_RATE, Measurements
from omicvae.diagnostics.remedies import DEARER, FREE_BITS, LOWER_BETA, RAMP, SLOWER, SMALLEST, Remedy
from omicvae.diagnostics.rules import Rule
from omicvae.diagnostics.thresholds import NAMES_EVERY_CELL, ONE_FACT, SETTLED_EPOCHS

#: Cells for each dimension: of fewer, a draw in half the dimensions tells more.
FEW_CELLS_PER_DIMENSION = 20


def _gain(m: Measurements) -> str:
    return f"gain over a decoder without z {f'{m.gain.gain.mean:+.3g}' if m.gain.gain.known else 'unknown'}"


def _is_diverged(m: Measurements) -> bool:
    """Whether the model's arrays are not finite, or training blew up and left no sound weights behind."""
    return bool(m.non_finite) or (m.gain.gain.mean <= 0 and (m.training_failed or m.explains_nothing))


def _diverged(m: Measurements) -> str:
    if m.non_finite:
        found = ", ".join(f"{count} entries of {name}" for name, count in m.non_finite.items())
        return f"Training diverged: the model's output is not finite ({found})."
    epochs = f"{m.curves.n_non_finite} epochs were not finite" if m.curves.n_non_finite else "reconstruction blew up"
    return (
        f"Training diverged: {epochs}, and the weights that were kept explain new cells no better than no latent (gain "
        f"{m.gain.gain.mean:+.3g} nats)."
    )


def _is_unstable(m: Measurements) -> bool:
    """Whether steps threw training back or were as large as weights, and the fit has an illness that this causes."""
    return (m.thrown_back or m.curves.peak_rate >= LARGEST_RATE) and any(
        holds(m) for holds in (_is_undertrained, _is_collapsed, _is_partially_collapsed, _is_overfit, _wastes_kl)
    )


def _unstable(m: Measurements) -> str:
    seen = f"at a learning rate of {m.curves.peak_rate:.3g} a step moves weights by more than they are large"
    if m.thrown_back:
        seen = (
            f"after the KL weight had settled its loss rose {m.curves.setback:.3g} nats per cell above what it had "
            "reached, which steps do that are too large"
        )
    return f"Training was unstable: {seen} (KL {m.usage.rate.mean:.3g}, {_gain(m)})."


def _is_without_signal(m: Measurements) -> bool:
    """Whether the data hold nothing to encode: no structure beyond the null model, and nobody found any.

    Neither this model on new cells nor, where labels are given, PCA: labels that it reads are something to encode.
    """
    readable = m.probes is not None and not m.probes.fallback and m.probes.learnable
    return m.without_structure and (m.gain.negligible or m.use.ignored) and not readable


def _no_signal(m: Measurements) -> str:
    assert m.structure is not None
    rate = m.usage.rate.mean
    spent = f"it is {rate:.2g} nats" if rate < ONE_FACT else f"here it is {rate:.2g} nats, which buy nothing"
    return (
        f"Nothing to encode was found in {m.structure.n_cells} cells: beyond covariates and depth the leading "
        f"directions across genes explain {m.structure.share:.2%} of the variance, in simulations without structure "
        f"{m.structure.by_chance:.2%}. A KL near 0 is right for such data ({spent})."
    )


def _is_undertrained(m: Measurements) -> bool:
    """Whether the schedule was cut off, the bound rises, the decoder lags, or it is too early to tell."""
    if m.non_finite or m.curves.n_epochs == 0:
        return False
    too_early = m.curves.n_settled < SETTLED_EPOCHS and m.gain.negligible
    return m.curves.settled is False or m.bound_still_rises or _lags_behind_null(m) or too_early


def _lags_behind_null(m: Measurements) -> bool:
    """Whether a latent in use still reconstructs worse than no latent, and not because of memorising.

    Then the decoder has not even learned what the null model knows; where training cells do no better (a gap of less
    than half of it), that is lack of training.
    """
    shortfall = -m.reconstruction_gain
    return m.usage.n_active > 0 and shortfall > m.gain.least and not m.gain.gap > shortfall / 2


def _undertrained(m: Measurements) -> str:
    curves, gain = m.curves, m.gain.gain.mean
    if curves.settled is False:
        return f"Undertrained: after {curves.n_epochs} epochs the KL weight had not reached its final value."
    if m.bound_still_rises:
        return (
            f"Undertrained: the bound still rises; another quarter of the run would win about "
            f"{curves.improvement[0]:.3g} nats per cell, and the latent has won {gain:+.3g} so far."
        )
    if _lags_behind_null(m):
        seen = ", those it has seen as well" if m.gain.gap == m.gain.gap else ""
        return (
            f"Undertrained: with its latent the model still explains cells worse than a decoder without one (gain "
            f"{gain:+.3g} nats per cell){seen}."
        )
    return f"Undertrained: {curves.n_epochs} epochs are too few to tell whether the latent comes alive."


def _is_collapsed(m: Measurements) -> bool:
    """Whether the latent carries nothing: encoder silent, z ignored by the decoder, or nothing to be read.

    The rate is no estimate that few cells blur, and the cost of a permuted z has a small error exactly where the
    decoder ignores z; so a wide gain of eight validation cells is no ground for this verdict. An encoder that says more
    than would name each of a billion cells has not fallen silent, whether or not the decoder listens.
    """
    no_gain, below_one_fact = m.gain.negligible, m.usage.rate.mean < ONE_FACT
    faint = m.usage.n_active == 0 and below_one_fact and (no_gain or m.use.cost.mean < IGNORED_COST)
    unreadable = m.probes is not None and m.probes.counts and m.probes.at_chance
    ignored = m.use.ignored and m.usage.rate.mean < NAMES_EVERY_CELL
    return m.usage.silent or ignored or faint or (below_one_fact and no_gain and unreadable)


def _collapsed(m: Measurements) -> str:
    how = "the decoder ignores it" if m.use.ignored and m.usage.rate.mean >= ONE_FACT else "it carries next to nothing"
    text = (
        f"The latent space has collapsed, {how}: KL {m.usage.rate.mean:.2g} nats per cell, {m.usage.n_active} of "
        f"{m.usage.n_latent} dimensions active"
    )
    text += f", a permuted z costs {m.use.cost.mean:.2g} nats" if m.use.cost.known else ""
    text += f", {_gain(m)}."
    if m.probes is not None and m.probes.counts and m.probes.at_chance:
        text += f" A posterior draw predicts {m.probes.key} no better than chance."
    return text


def _is_partially_collapsed(m: Measurements) -> bool:
    """Whether information is lost: a draw read well below PCA, posteriors too wide, or a faint latent without gain.

    Codes that memorise and buy nothing are read badly too, for another reason.
    """
    faint = m.usage.rate.mean < ONE_FACT and m.gain.negligible
    return _loses_information(m) or m.excess.too_wide or faint


def _loses_information(m: Measurements) -> bool:
    only_memorised = m.gain.gain.mean <= 0 and m.gain.memorised(0.0)
    return m.probes is not None and m.probes.information_lost and not only_memorised


def _partial(m: Measurements) -> str:
    if _loses_information(m):
        assert m.probes is not None
        return (
            f"The latent space is partly collapsed: a posterior draw predicts {m.probes.key} with balanced accuracy "
            f"{m.probes.draw.balanced_accuracy:.2f}, PCA with as many dimensions "
            f"{m.probes.reference.balanced_accuracy:.2f}."
        )
    if m.excess.too_wide:
        return (
            f"The latent space is partly collapsed: it holds {m.usage.rate.mean:.2g} nats per cell, and posteriors "
            f"that told more would raise the bound by {m.excess.narrowed.mean:.3g}."
        )
    return (
        "The latent space is nearly collapsed: it carries less than one yes/no fact per cell and buys nothing over a "
        f"decoder without z (gain {m.gain.gain.mean:+.3g} nats)."
    )


def _is_overfit(m: Measurements) -> bool:
    """Whether codes do not pay on new cells, or memorising costs over three times what they buy there.

    Codes that carry over and are only too dear, because they lie far from the prior, are no memory; nor are those that
    pay as little on the cells they were learnt from, or, where that is not known, that the decoder ignores.
    """
    gain, carried = m.gain.gain, m.reconstruction_gain
    if m.excess.too_much and carried > gain.margin and not m.gain.memorised(carried):
        return False
    if gain.mean > 0:
        return m.gain.memorised(gain.mean)
    known = m.gain.gap == m.gain.gap
    return gain.mean <= 0 and (m.gain.gap > -gain.mean / 2 if known else not m.use.ignored)


def _overfit(m: Measurements) -> str:
    gain, gap = m.gain.gain.mean, m.gain.gap
    known = f"train–validation gap {gap:.3g} nats per cell" if gap == gap else "gap unknown"
    what = "most of what it encodes" if gain > 0 else "what it encodes"
    return (
        f"The model overfits: {what} does not carry over to new cells (gain over a decoder without z {gain:+.3g} nats, "
        f"{known})."
    )


def _wastes_kl(m: Measurements) -> bool:
    """Whether too much of the KL buys nothing, or all of it where no other illness says why it does not pay."""
    unpaid = m.gain.gain.mean <= 0 or m.use.ignored
    others = (_is_undertrained, _is_collapsed, _is_partially_collapsed, _is_overfit)
    return m.excess.too_much or (unpaid and not any(holds(m) for holds in others))


def _under_regularised(m: Measurements) -> str:
    if not m.excess.too_much:
        return (
            f"Under-regularised: {m.usage.rate.mean:.3g} nats of KL do not pay for themselves ({_gain(m)}, a permuted "
            f"z costs {m.use.cost.mean:.2g})."
        )
    rate, far = m.usage.rate.mean, m.excess.from_distance
    narrow = min(m.excess.from_narrowness, rate - far)  # what they win of the reconstruction is no part of the KL
    return (
        f"Under-regularised: of {rate:.3g} nats of KL, {far + narrow:.3g} buy nothing ({far:.3g} for lying far from "
        f"the prior, {narrow:.3g} for posteriors that are too narrow; {_gain(m)}); draws from the prior miss where the "
        f"cells are."
    )


def _undecided(m: Measurements) -> str:
    return (
        f"Undecided: the encoder writes {m.usage.rate.mean:.3g} nats per cell in {m.usage.n_active} of "
        f"{m.usage.n_latent} dimensions; not judged, for want of −log p(x | z, c): {' and '.join(m.not_judged)}."
    )


def _healthy(m: Measurements) -> str:
    where = f" in {m.usage.n_active} of {m.usage.n_latent} dimensions" if m.usage.n_active else ""
    text = f"The latent space is alive: KL {m.usage.rate.mean:.3g} nats per cell{where}, "
    text += f"{_gain(m)} nats." if m.gain.gain.known else f"a permuted z costs {m.use.cost.mean:.3g}."
    if m.not_judged:
        text += f" Not judged: {' and '.join(m.not_judged)}."
    if m.probes is not None and m.probes.counts:
        text += (
            f" A posterior draw predicts {m.probes.key} with balanced accuracy {m.probes.draw.balanced_accuracy:.2f} "
            f"(PCA {m.probes.reference.balanced_accuracy:.2f})."
        )
    return text


def _longer(m: Measurements, *, kl_stays: bool = False) -> Remedy:
    return remedies.longer(max(m.curves.n_epochs, m.planned_epochs or 0), kl_stays=kl_stays)


def _smaller(m: Measurements, *, any_size: bool) -> tuple[Remedy, ...]:
    """Half the dimensions where there are few cells or for ``any_size``, two dimensions where there are few cells."""
    few = m.n_cells < FEW_CELLS_PER_DIMENSION * m.usage.n_latent
    half = remedies.smaller(m.usage.n_latent)
    return (half, SMALLEST) if few else (half,) if any_size else ()


def _adversary(m: Measurements) -> tuple[Remedy, ...]:
    return (remedies.adversary(m.leakage.leaking),) if m.leakage.leaking else ()


#: What steps that are too large leave behind.
SYMPTOMS = ("unstable", "undertrained", "collapsed", "partial_collapse", "overfit", "under_regularised")

#: In this order the first rule that holds is the verdict and every later one that holds is a finding.
RULES: tuple[Rule[Measurements], ...] = (
    Rule("diverged", _is_diverged, _diverged, lambda m: (SLOWER, RAMP), implies=SYMPTOMS),
    Rule("unstable", _is_unstable, _unstable, lambda m: (SLOWER, RAMP), implies=SYMPTOMS),
    # before "undertrained": no training finds what is not there
    Rule(
        "no_signal",
        _is_without_signal,
        _no_signal,
        implies=("undertrained", "collapsed", "partial_collapse"),
        sound=True,
        tone="warning",
    ),
    Rule(
        "undertrained",
        _is_undertrained,
        _undertrained,
        lambda m: (RAMP, _longer(m, kl_stays=True), SLOWER),
        tone="warning",
    ),
    Rule(
        "collapsed",
        _is_collapsed,
        _collapsed,
        lambda m: (RAMP, FREE_BITS, LOWER_BETA, remedies.target_rate(m.usage.n_latent)),
        implies=("partial_collapse", "overfit"),
    ),
    Rule(
        "partial_collapse",
        _is_partially_collapsed,
        _partial,
        lambda m: (RAMP, *_smaller(m, any_size=False), LOWER_BETA, _longer(m), FREE_BITS),
    ),
    Rule("overfit", _is_overfit, _overfit, lambda m: (RAMP, *_smaller(m, any_size=True), DEARER)),
    Rule("under_regularised", _wastes_kl, _under_regularised, lambda m: (RAMP, _longer(m), DEARER)),
    # a rate alone proves no use, and nothing else was measured
    Rule("undecided", lambda m: len(m.not_judged) == 2, _undecided, tone="warning", alone=True),
    # what remains; a gain at or below 0 never gets here: "overfit" holds then
    Rule("healthy", lambda m: True, _healthy, _adversary, sound=True, tone="good", alone=True),
)
