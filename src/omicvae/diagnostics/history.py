"""``diagnose_history``: what the curves of any program prove, and what they cannot."""

from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import pandas as pd

from omicvae._core.arguments import real
from omicvae.diagnostics import thresholds as T
from omicvae.diagnostics._diagnosis import _plain, _records
from omicvae.diagnostics._rows import COLUMNS, Row
from omicvae.diagnostics._text import as_html, as_text, number
from omicvae.diagnostics.curves import phases
from omicvae.diagnostics.history_readings import HistoryReadings
from omicvae.diagnostics.log_names import EPOCH
from omicvae.diagnostics.logs import read_log
from omicvae.diagnostics.remedies import RAMP, Remedy

UNDECIDED, HEALTHY = "undecided", "healthy"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class HistoryDiagnosis:
    """What curves alone say about a run.

    Attributes
    ----------
    verdict
        ``"diverged"``, ``"undertrained"``, ``"collapsed"``, ``"overfit"``, ``"under_regularised"``,
        ``"healthy"``, or ``"undecided"`` where the curves cannot tell.
    headline
        The verdict in a sentence.
    findings
        Names of further verdicts whose conditions hold as well.
    remarks
        Sentences that changed nothing, such as a discriminator that had not started.
    cannot_tell
        What these curves leave open, a sentence each.
    evidence
        Columns ``check``, ``value``, ``threshold`` (text), ``passed`` (True, False, or None: shown, not judged)
        and ``meaning``.
    remedies
        Ranked; each is a mapping that omicvae's ``model.train(objective=...)`` takes, its reason holds anywhere.
    history
        The curves as they were read: a row per epoch, omicvae's column names; NaN is "not logged", inf
        "logged and not finite".
    """

    verdict: str
    headline: str
    findings: tuple[str, ...]
    remarks: tuple[str, ...]
    cannot_tell: tuple[str, ...]
    evidence: pd.DataFrame
    remedies: tuple[Remedy, ...]
    history: pd.DataFrame

    def to_frame(self) -> pd.DataFrame:
        """Return a copy of the evidence."""
        return self.evidence.copy()

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON takes; what is NaN or infinite becomes None."""
        return {
            "verdict": self.verdict,
            "headline": self.headline,
            "findings": list(self.findings),
            "remarks": list(self.remarks),
            "cannot_tell": list(self.cannot_tell),
            "evidence": _records(self.evidence),
            "remedies": [remedy.to_dict() for remedy in self.remedies],
            "history": {
                str(self.history.index.name): [_plain(value) for value in self.history.index],
                **{str(name): [_plain(value) for value in column] for name, column in self.history.items()},
            },
        }

    def __str__(self) -> str:
        return as_text(self.headline, self.verdict, self.evidence, self.remedies, self._notes())

    def __repr__(self) -> str:
        return f"<HistoryDiagnosis: {self.verdict}>"

    def _repr_html_(self) -> str:
        return as_html(" ".join([self.headline, *self._notes()]), self.verdict, self.evidence, self.remedies)

    def _notes(self) -> tuple[str, ...]:
        also = (f"also found: {', '.join(self.findings)}.",) if self.findings else ()
        return (*also, *self.remarks, *(f"curves cannot tell {text}" for text in self.cannot_tell))


@dataclass(frozen=True, slots=True)
class HistoryRule:
    """A verdict, the condition under which curves prove it, its sentence and its remedies."""

    name: str
    holds: Callable[[HistoryReadings], bool]
    headline: Callable[[HistoryReadings], str]
    remedies: Callable[[HistoryReadings], tuple[Remedy, ...]]


def diagnose_history(source: Any, *, kl_weight: float | None = None) -> HistoryDiagnosis:
    """Judge the loss curves of a VAE that any program trained.

    Parameters
    ----------
    source
        A DataFrame, a mapping of columns (Keras' ``history.history``, ``model.history`` of scvi-tools), a list
        of rows; or a path, or its text: CSV (Lightning's ``metrics.csv`` too), JSON, a TensorBoard event file
        or folder (needs ``omicvae[tensorboard]``), a log with a line per epoch, Keras' progress lines, tqdm's
        bars. Losses in any unit.
    kl_weight
        Weight of the KL in the loss (β), for logs that hold it neither as a column nor as loss, reconstruction
        and KL, from which it follows.

    Returns
    -------
    HistoryDiagnosis
        A verdict with evidence, and what the curves cannot tell. ``healthy`` means "as far as curves tell":
        they show that a KL is paid, not that the decoder uses it.

    Raises
    ------
    DataError
        If the source cannot be read; the message shows how it begins and lists what is read.
    NotSupportedError
        If a TensorBoard log is given and ``tensorboard`` is not installed.
    """
    weight = None if kl_weight is None else real("kl_weight", kl_weight, minimum=0)
    return judge_readings(HistoryReadings(read_log(source), weight))


def judge_readings(readings: HistoryReadings) -> HistoryDiagnosis:
    """Apply the table of rules, in the order of the package's verdicts."""
    holding = [rule for rule in HISTORY_RULES if rule.holds(readings)]
    doubts = tuple(doubts_of(readings))
    if holding:
        verdict, headline, remedies = holding[0].name, holding[0].headline(readings), holding[0].remedies(readings)
    elif doubts:
        verdict, headline, remedies = UNDECIDED, f"Undecided: {doubts[0]}", ()
    else:
        verdict, headline, remedies = HEALTHY, _healthy(readings), ()
    rows = [astuple(row) for row in _evidence(readings)]
    return HistoryDiagnosis(
        verdict=verdict,
        headline=headline,
        findings=tuple(rule.name for rule in holding[1:]),
        remarks=tuple(_remarks(readings)),
        cannot_tell=tuple(_open_questions(readings)),
        evidence=pd.DataFrame(rows, columns=list(COLUMNS)).astype({"value": float, "passed": object}),
        remedies=remedies,
        history=readings.table,
    )


# the rules; comparisons with NaN (not logged) are False, as they should be


def is_diverged(r: HistoryReadings) -> bool:
    """Whether losses ended NaN or inf, or training ended above its start at one and the same KL weight."""
    return r.ends_non_finite or (r.rise > T.BLOWN_UP and not r.ramp_explains_rise)


def is_undertrained(r: HistoryReadings) -> bool:
    """Whether the KL weight was still moving at the end, or the curve had half of its way to go."""
    return r.settled is False or still_winning(r)


def still_winning(r: HistoryReadings) -> bool:
    """Whether another quarter of the run would add a good part of the fall so far.

    Not so where the KL fell silent or is not priced: more epochs cure neither.
    """
    share, share_se = r.pace
    return share > max(T.HALF_WAY, T.STANDS_OUT * share_se) and not is_collapsed(r) and not is_under_regularised(r)


def is_collapsed(r: HistoryReadings) -> bool:
    """Whether the KL died: to a trace of its own peak and, both together, of what the reconstruction changed by.

    In addition a KL above 0.05 acquits: whatever its unit, summed or averaged, it is then no rounding error.
    """
    if r.n_epochs < 2:
        return False
    vanished = has_faded(r) and r.kl_of_peak * r.kl_of_change <= T.VANISHED
    return (vanished and r.kl_end <= T.SILENT_RATE) or r.kl_peak <= T.NEVER_SPOKE * r.change


def has_faded(r: HistoryReadings) -> bool:
    """Whether the KL ended as a small share of its own peak and of what the reconstruction changed by."""
    return r.kl_of_peak <= T.FADED and r.kl_of_change <= T.BOUGHT_LITTLE


def is_overfit(r: HistoryReadings) -> bool:
    """Whether validation got worse again while the gap to training cells grew."""
    return r.worse > T.LOST_AGAIN and r.gap_growth > 0


def is_under_regularised(r: HistoryReadings) -> bool:
    """Whether the KL stays huge, near its peak, at a weight that is next to nothing in any convention."""
    if r.n_epochs < 2:
        return False
    return r.weight <= T.UNPRICED_WEIGHT and r.kl_end > T.EXCESSIVE_KL and r.kl_of_peak >= T.UNPRESSED


def doubts_of(r: HistoryReadings) -> Iterator[str]:
    """Why these curves acquit nobody; nothing where they do."""
    if r.kind is None:
        yield "the log holds a KL and no loss or reconstruction."
    if not np.isfinite(r.kl_end):
        yield "the log holds no KL, without which a falling loss proves nothing about the latent space."
    if r.n_epochs < T.SHAPED_ROWS:
        yield f"{r.n_epochs} epochs show no course; at least {T.SHAPED_ROWS} are needed."
    if r.fall <= 0:
        yield f"the {r.kind} never fell below where it started."
    if r.rise > T.BLOWN_UP:
        yield "training ended above its start, and nothing in the log tells a rising β from divergence."
    faint = r.kl_of_change <= T.BOUGHT_NOTHING and r.kl_end <= T.SILENT_RATE
    if faint or (has_faded(r) and r.kl_end <= T.ONE_FACT):
        yield f"the KL ended at {number(r.kl_end)}, small, but not so small in any unit that it must have collapsed."
    if r.weight_source == "unknown" and r.kl_end > max(T.EXCESSIVE_KL, r.change) and r.kl_end >= 2 * r.kl_first:
        yield (
            f"the KL grew to {number(r.kl_end)}, more than all that reconstruction won; whether that is too much "
            "depends on its weight, which the log does not hold (pass kl_weight=)."
        )


def _diverged(r: HistoryReadings) -> str:
    if r.ends_non_finite:
        return f"Training diverged: losses were NaN or infinite in {r.n_non_finite} of {r.n_epochs} epochs, to the end."
    return (
        f"Training diverged: at one and the same KL weight it ended {r.rise:.0%} above where it started, the "
        "reconstruction as well."
    )


def _undertrained(r: HistoryReadings) -> str:
    if r.settled is False:
        return (
            f"Undertrained: the KL weight was still moving in the last of {r.n_epochs} epochs (at "
            f"{number(r.weight)}); the run was cut off before its schedule had settled."
        )
    return (
        f"Undertrained: the {r.kind} still falls; another quarter of the run would win another {r.pace[0]:.0%} of "
        "all it has won so far."
    )


def _collapsed(r: HistoryReadings) -> str:
    if r.kl_of_peak > T.FADED:
        return f"The latent space never came alive: its KL was {number(r.kl_peak)} at most."
    return (
        f"The latent space has collapsed: the KL fell from {number(r.kl_peak)} to {number(r.kl_last)}, "
        "so the encoder tells the decoder nothing."
    )


def _overfit(r: HistoryReadings) -> str:
    return (
        f"The model overfits: validation has lost {r.worse:.0%} of what it had won again, and its gap to the "
        f"training cells grew by {number(r.gap_growth)}."
    )


def _under_regularised(r: HistoryReadings) -> str:
    return (
        f"The latent space is under-regularised: at a weight of {number(r.weight)} nothing holds the KL "
        f"({number(r.kl_first)} → {number(r.kl_last)}); this is an autoencoder, whose prior cannot be sampled."
    )


def _healthy(r: HistoryReadings) -> str:
    return (
        f"Healthy as far as curves tell: losses are finite and came to rest, and the KL ended at "
        f"{number(r.kl_last)} ({number(r.kl_first)} at first; its unit is unknown)."
    )


def _remarks(r: HistoryReadings) -> Iterator[str]:
    yield f"read as {r.table.attrs.get('form', 'a table')}, {r.n_epochs} rows, {', '.join(map(str, r.table.columns))}."
    if r.weight_source == "implied":
        yield f"the KL weight, {number(r.weight)} at the end, follows from loss, reconstruction and KL."
    if r.n_non_finite and not r.ends_non_finite:
        yield f"{r.n_non_finite} epochs were not finite, and training recovered."
    if r.settled and r.settled_at > 0:
        yield f"the KL weight settled at {r.table.index.name} {number(r.epochs_E[r.settled_at])}."
    if r.settled is not False and not still_winning(r) and r.pace[0] > T.STILL_WINNING_CONSTANT:
        yield f"the {r.kind} still falls a little: another quarter of the run would win {r.pace[0]:.0%} more."
    if r.kl_end > r.kl_first:
        yield "the KL rose: the latent took something up; that alone is no proof of health."
    opponents = [name for name in ("discriminator_loss_train", "adversary_loss_train") if name in r.table]
    # what was not logged in an epoch was not zero there
    yield from phases(r.table[opponents].bfill())


def _open_questions(r: HistoryReadings) -> Iterator[str]:
    if np.isfinite(r.kl_end):
        yield "the unit of the KL: nats or bits, summed or averaged over dimensions, so its size alone proves nothing."
        yield "whether the decoder uses z, which costs KL before it pays: model.diagnose() measures the use."
        yield "how many dimensions are active, and whether z holds the classes that you care about."
    if r.settled is None:
        yield "whether a schedule of the KL weight had settled: the weight was not logged."
    if not r.has_validation:
        yield "whether the model overfits: no losses of validation cells were logged."
    elif np.isnan(r.gap_growth):
        yield "the train–validation gap: the two were not logged in the same terms."


def _evidence(r: HistoryReadings) -> Iterator[Row]:
    yield Row(
        "epochs not finite",
        r.n_non_finite,
        "= 0 at the end",
        not r.ends_non_finite,
        f"of {r.n_epochs} epochs with a loss, reconstruction or KL that was NaN or inf",
    )
    if not np.isnan(r.rise):
        passed = False if is_diverged(r) and not r.ends_non_finite else None if r.rise > T.BLOWN_UP else True
        meaning = "how far training ended above its start at one KL weight, reconstruction and objective alike"
        yield Row("training above its start", r.rise, f"≤ {T.BLOWN_UP:g}", passed, meaning)
    if r.settled is not None:
        meaning = f"of {r.n_epochs} epochs with the final KL weight ({number(r.weight)}, {r.weight_source})"
        yield Row("epochs after warm-up", r.n_epochs - r.settled_at, "≥ 2", r.settled, meaning)
    if not np.isnan(r.pace[0]):
        meaning = f"share of its fall that the {r.kind} would add in another quarter of the run (± {r.pace[1]:.2g})"
        yield Row("still improving", r.pace[0], f"≤ {T.HALF_WAY:.2f}", not still_winning(r), meaning)
    yield from _kl_evidence(r)
    if not np.isnan(r.worse):
        meaning = "share of its fall that validation lost again; 0 within the noise"
        yield Row("validation past its best", r.worse, f"≤ {T.LOST_AGAIN:g}", not is_overfit(r), meaning)
    if not np.isnan(r.gap_growth):
        meaning = "of the train–validation gap since the best validation epoch, in the log's unit"
        yield Row("growth of the gap", r.gap_growth, "", None, meaning)


def _kl_evidence(r: HistoryReadings) -> Iterator[Row]:
    if not np.isfinite(r.kl_end):
        return
    collapsed = is_collapsed(r)
    meaning = f"KL at the end ({number(r.kl_end)}) against its largest ({number(r.kl_peak)})"
    yield Row("KL, share of its peak", r.kl_of_peak, f"> {T.FADED:g}", not collapsed, meaning)
    if np.isfinite(r.kl_of_change):
        meaning = f"KL at the end against what reconstruction changed by ({number(r.change)}); judged with the peak"
        yield Row("KL, share of the change", r.kl_of_change, f"> {T.BOUGHT_LITTLE:g}", not collapsed, meaning)
    if np.isfinite(r.weight):
        passed = None if r.settled is False else not is_under_regularised(r)
        meaning = "smaller is β < 1 even if the loss is an average; an illness where the KL is huge and unpressed"
        yield Row("KL weight", r.weight, f"> {T.UNPRICED_WEIGHT:g}", passed, meaning)


FREE_BITS = Remedy({**RAMP, "free_bits": 0.1}, "Free bits leave the first 0.1 nats of each dimension unpunished.")
RAMPED = Remedy(
    RAMP,
    "β = 1 with reconstruction and KL both summed (neither averaged over features nor over dimensions), and the KL "
    "ramped in, so that the decoder learns to use z before z has to pay for itself.",
)
SMALLER_STEPS = Remedy(
    {**RAMP, "warmup": 0.5},
    "A lower learning rate, clipped gradients and a longer ramp keep the first steps small; start from fresh weights.",
    {"learning_rate": 1e-3},
)
STOPPED = Remedy(RAMP, "Stop at the best validation epoch and keep its weights.", {"early_stopping": True})
DEARER = Remedy({**RAMP, "beta": 2.0}, "A KL twice as dear, fewer dimensions or more dropout memorise less.")


def _longer(r: HistoryReadings) -> tuple[Remedy, ...]:
    counted = r.table.index.name == EPOCH
    epochs = {"max_epochs": 2 * int(np.ceil(r.epochs_E[-1]))} if counted and r.epochs_E[-1] >= 1 else {}
    return (Remedy(RAMP, "Twice the epochs, with a ramp that ends well before them, bring the curve to rest.", epochs),)


#: In this order the first rule that holds is the verdict and every later one that holds is a finding.
HISTORY_RULES: tuple[HistoryRule, ...] = (
    HistoryRule("diverged", is_diverged, _diverged, lambda r: (SMALLER_STEPS,)),
    HistoryRule("undertrained", is_undertrained, _undertrained, _longer),
    HistoryRule("collapsed", is_collapsed, _collapsed, lambda r: (RAMPED, FREE_BITS)),
    HistoryRule("overfit", is_overfit, _overfit, lambda r: (STOPPED, DEARER)),
    HistoryRule("under_regularised", is_under_regularised, _under_regularised, lambda r: (RAMPED,)),
)
