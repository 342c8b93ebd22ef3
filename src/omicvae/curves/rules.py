"""What curves alone can prove: the table of verdicts. Comparisons with NaN (not logged) are False, as they should."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from omicvae.curves.names import EPOCH
from omicvae.diagnostics import CurveStatistics, Remedy, Rule, number, remedies
from omicvae.diagnostics import thresholds as T
from omicvae.diagnostics.remedies import DEARER, ELBO, FREE_BITS, FRESH, LOWER_BETA, RAMP, SLOWER
from omicvae.diagnostics.verdict import SYMPTOMS


def diverged(s: CurveStatistics) -> bool:
    """Whether losses ended NaN or inf, or training ended above its start at one and the same KL weight."""
    return s.ends_non_finite or (s.rise > T.BLOWN_UP and not s.ramp_explains_rise)


def _diverged(s: CurveStatistics) -> str:
    if s.ends_non_finite:
        rows = f"{s.n_non_finite} of {s.n_epochs} {s.clocks}"
        return f"Training diverged: losses were NaN or infinite in {rows}, to the end."
    return f"Training diverged: {_where(s)}it ended {s.rise:.0%} above where it started, the reconstruction as well."


def _where(s: CurveStatistics) -> str:
    return "" if np.isnan(s.weight) else "at one and the same KL weight "


def unstable(s: CurveStatistics) -> bool:
    """Whether training once lost most of what its reconstruction had won, beyond the noise and at one KL weight."""
    limit = max(T.THROWN_BACK * s.change, T.THROWN_BACK_LEVEL * abs(s.reconstruction_best))
    beyond_noise = s.setback - 2 * T.STANDS_OUT * s.noise  # from the luckiest row to the unluckiest
    return s.settled is not False and not s.ramp_explains_rise and beyond_noise > limit


def _unstable(s: CurveStatistics) -> str:
    return (
        f"Training was unstable: {_where(s)}loss and reconstruction rose {number(s.setback)} above "
        "what they had reached, which steps do that are too large."
    )


def undertrained(s: CurveStatistics) -> bool:
    """Whether the KL weight was still moving at the end, or the curve had half of its way to go."""
    return s.settled is False or still_falling(s)


def still_falling(s: CurveStatistics) -> bool:
    """Whether another quarter of the run would add a good part of the fall so far.

    Not so where the KL fell silent or is not priced: more epochs cure neither.
    """
    share, share_se = s.pace
    return share > max(T.HALF_WAY, T.STANDS_OUT * share_se) and not collapsed(s) and not under_regularised(s)


def _undertrained(s: CurveStatistics) -> str:
    if s.settled is False:
        return (
            f"Undertrained: the KL weight was still moving in the last of {s.n_epochs} {s.clocks} (at "
            f"{number(s.weight)}); the run was cut off before its schedule had settled."
        )
    return (
        f"Undertrained: the {s.kind} still falls; another quarter of the run would win another {s.pace[0]:.0%} of "
        "all it has won so far."
    )


def collapsed(s: CurveStatistics) -> bool:
    """Whether the KL died: to a trace of its own peak and, both together, of what the reconstruction changed by.

    A KL above 0.05 never counts as dead: whatever its unit, summed or averaged, it is then no rounding error.
    """
    if s.n_epochs < 2:
        return False
    vanished = _has_faded(s) and s.kl_of_peak * s.kl_of_change <= T.VANISHED
    return (vanished and s.kl_end <= T.SILENT_RATE) or s.kl_peak <= T.NEVER_SPOKE * s.change


def _has_faded(s: CurveStatistics) -> bool:
    """Whether the KL ended as a small share of its own peak and of what the reconstruction changed by."""
    return s.kl_of_peak <= T.FADED and s.kl_of_change <= T.BOUGHT_LITTLE


def _collapsed(s: CurveStatistics) -> str:
    if s.kl_of_peak > T.FADED:
        return f"The latent space never came alive: its KL was {number(s.kl_peak)} at most."
    return (
        f"The latent space has collapsed: the KL fell from {number(s.kl_peak)} to {number(s.kl_last)}, "
        "so the encoder tells the decoder nothing."
    )


def overfit(s: CurveStatistics) -> bool:
    """Whether validation got worse again while the gap to training cells grew."""
    return s.worse > T.LOST_AGAIN and s.gap_growth > 0


def _overfit(s: CurveStatistics) -> str:
    return (
        f"The model overfits: validation has lost {s.worse:.0%} of what it had won again, and its gap to the "
        f"training cells grew by {number(s.gap_growth)}."
    )


def under_regularised(s: CurveStatistics) -> bool:
    """Whether the KL stays huge, near its peak, at a weight that is next to nothing in any convention."""
    unpressed = s.kl_end > T.EXCESSIVE_KL and s.kl_of_peak >= T.UNPRESSED
    return s.n_epochs > 1 and s.weight <= T.UNPRICED_WEIGHT and unpressed


def _under_regularised(s: CurveStatistics) -> str:
    return (
        f"The latent space is under-regularised: at a weight of {number(s.weight)} nothing holds the KL "
        f"({number(s.kl_first)} → {number(s.kl_last)}); this is an autoencoder, whose prior cannot be sampled, "
        "which is right only if it was meant."
    )


#: Said beside ``under_regularised``: some autoencoders are to have next to no KL.
MEANT = (
    "a KL weight of next to nothing is right if it was meant, as in the first stage of latent diffusion, where a "
    "second model learns how z is distributed and the KL only keeps z from drifting. You can tell by this: nothing "
    "samples z from its prior, validation reconstruction has come to rest, and z is scaled to unit variance before "
    "the second model. If all three hold, leave it as it is."
)
IF_SAMPLED = "If z is to be sampled from its prior, or compared between cells by distance"
SAMPLED = replace(RAMP, why=f"{IF_SAMPLED}: {RAMP.why}")
LIGHTER = replace(LOWER_BETA, why=f"{IF_SAMPLED}, and sharp reconstruction matters more: {LOWER_BETA.why}")
#: For steps or rows of another program, whose number is no number of epochs.
LONGER = Remedy(
    ELBO, "A longer run from new weights, under one learning-rate cycle, lets the bound come to rest.", FRESH
)


def doubts(s: CurveStatistics) -> Iterator[str]:
    """Why these curves do not show a healthy run; nothing where they do."""
    if s.kind is None:
        yield "the log holds a KL and no loss or reconstruction."
    if not np.isfinite(s.kl_end):
        yield "the log holds no KL, without which a falling loss proves nothing about the latent space."
    if s.n_epochs < T.SHAPED_ROWS:
        yield f"{s.n_epochs} {s.clocks} show no course; at least {T.SHAPED_ROWS} are needed."
    if s.fall <= 0:
        yield f"the {s.kind} never fell below where it started."
    if s.rise > T.BLOWN_UP:
        yield "training ended above its start, and nothing in the log tells a rising β from divergence."
    faint = s.kl_of_change <= T.BOUGHT_NOTHING and s.kl_end <= T.SILENT_RATE
    if faint or (_has_faded(s) and s.kl_end <= T.ONE_FACT):
        yield f"the KL ended at {number(s.kl_end)}, small, but not so small in any unit that it must have collapsed."
    if s.weight_source == "unknown" and s.kl_end > max(T.EXCESSIVE_KL, s.change) and s.kl_end >= 2 * s.kl_first:
        yield (
            f"the KL grew to {number(s.kl_end)}, more than all that reconstruction won; whether that is too much "
            "depends on its weight, which the log does not hold (pass kl_weight=)."
        )


def _healthy(s: CurveStatistics) -> str:
    return (
        f"Healthy as far as curves tell: losses are finite and came to rest, and the KL ended at "
        f"{number(s.kl_last)} ({number(s.kl_first)} at first; its unit is unknown)."
    )


def _longer(s: CurveStatistics) -> Remedy:
    counted = s.table.index.name == EPOCH
    return remedies.longer(int(np.ceil(s.epochs_E[-1]))) if counted else LONGER


#: In this order the first rule that holds is the verdict and every later one that holds is a finding.
HISTORY_RULES: tuple[Rule[CurveStatistics], ...] = (
    Rule("diverged", diverged, _diverged, lambda s: (SLOWER, RAMP), implies=SYMPTOMS),
    Rule("unstable", unstable, _unstable, lambda s: (SLOWER, RAMP), implies=SYMPTOMS),
    Rule("undertrained", undertrained, _undertrained, lambda s: (_longer(s),)),
    Rule("collapsed", collapsed, _collapsed, lambda s: (RAMP, FREE_BITS)),
    Rule("overfit", overfit, _overfit, lambda s: (RAMP, DEARER)),
    Rule("under_regularised", under_regularised, _under_regularised, lambda s: (SAMPLED, LIGHTER)),
    Rule("undecided", lambda s: any(doubts(s)), lambda s: f"Undecided: {next(doubts(s))}", tone="warning", alone=True),
    Rule("healthy", lambda s: True, _healthy, sound=True, tone="good", alone=True),
)
