"""``diagnose_history``: what the curves of any program prove, and what they cannot."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from omicvae._core.arguments import real
from omicvae._core.errors import SettingError
from omicvae.curves import rules
from omicvae.curves.kl_weight import EVEN, implied_weight, known_weight, unexplained
from omicvae.curves.read import read_log
from omicvae.diagnostics import BaseDiagnosis, CurveStatistics, Row, finite_column, late_starts, number, plain
from omicvae.diagnostics import thresholds as T


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class HistoryDiagnosis(BaseDiagnosis):
    """What curves alone say about a run.

    The verdict is ``"diverged"``, ``"unstable"``, ``"undertrained"``, ``"collapsed"``, ``"overfit"``,
    ``"under_regularised"``, ``"healthy"``, or ``"undecided"`` where the curves cannot tell. Remedies are mappings that
    omicvae's ``model.train(objective=...)`` takes; their reasons hold anywhere.

    Attributes
    ----------
    cannot_tell
        What these curves leave open, a sentence each.
    history
        The curves as they were read: a row per epoch, omicvae's column names; NaN is "not logged", inf
        "logged and not finite".
    """

    cannot_tell: tuple[str, ...]
    history: pd.DataFrame

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON takes, the history by columns; what is NaN or infinite becomes None."""
        history = self.history.reset_index()
        columns = {str(name): plain(column) for name, column in history.items()}
        return {**BaseDiagnosis.to_dict(self), "history": columns}

    @property
    def notes(self) -> tuple[str, ...]:
        """What is said below the evidence: findings, remarks, then what the curves cannot tell."""
        open_questions = (f"curves cannot tell {text}" for text in self.cannot_tell)
        return (*super(HistoryDiagnosis, self).notes, *open_questions)  # a class with slots is made twice


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
    SettingError
        If ``kl_weight`` is negative, or the log's own arithmetic gives another.
    """
    given = None if kl_weight is None else real("kl_weight", kl_weight, minimum=0)
    table = read_log(source)
    if given is not None:
        _refuse_contradiction(given, table)
    table, placeholders = _without_placeholders(table)
    # of tiny and huge losses a ratio may be infinite, which the rules take as it is
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        statistics = CurveStatistics(table, *known_weight(table, given))
        return HistoryDiagnosis.of(
            rules.HISTORY_RULES,
            statistics,
            _evidence(statistics),
            remarks=(*_remarks(statistics), *placeholders),
            curves=table,
            cannot_tell=tuple(_open_questions(statistics)),
            history=table,
        )


def _refuse_contradiction(given: float, table: pd.DataFrame) -> None:
    """Refuse a weight of the caller's where loss, reconstruction and KL leave no doubt about another."""
    implied_E = implied_weight(table)
    implied = implied_E[np.isfinite(implied_E)]
    if len(implied) and abs(implied[-1] - given) > EVEN * max(given, implied[-1]):
        raise SettingError(
            f"kl_weight={given:g} contradicts the log, in which (loss − reconstruction) / KL ends at "
            f"{number(implied[-1])}. Leave kl_weight out, or give the loss and KL that it belongs to."
        )


def _without_placeholders(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Take validation losses of exactly 0 for not logged, where the training cells' are not 0; say so."""
    remarks = []
    cleaned = table.copy()
    for quantity in ("loss", "recon", "elbo", "minus_elbo"):
        zero_E = finite_column(table, f"{quantity}_validation") == 0
        if zero_E.any() and (finite_column(table, f"{quantity}_train") != 0).any():
            cleaned.loc[zero_E, f"{quantity}_validation"] = np.nan
            remarks.append(
                f"{int(zero_E.sum())} values of {quantity}_validation are exactly 0, as where nothing was measured, "
                "and count as not logged."
            )
    return cleaned, remarks


def _remarks(s: CurveStatistics) -> Iterator[str]:
    yield f"read as {s.table.attrs.get('form', 'a table')}, {s.n_epochs} rows, {', '.join(map(str, s.table.columns))}."
    if left_out := s.table.attrs.get("left_out"):
        yield left_out
    # in the first row with the final weight it still rose
    at_rest = slice(int(s.settled_at) + (s.settled_at > 0), None if s.settled is not False else 0)
    if rest := np.nan_to_num(unexplained(s.table.iloc[at_rest], s.weight_E[at_rest])):
        yield (
            f"the loss is not reconstruction + {number(s.weight)} · KL: {number(rest)} of it is neither; it holds "
            "further terms, or the KL or its weight is logged in another unit."
        )
    if rules.under_regularised(s):
        yield rules.MEANT
    if s.weight_source == "implied":
        yield f"the KL weight, {number(s.weight)} at the end, follows from loss, reconstruction and KL."
    if s.n_non_finite and not s.ends_non_finite:
        yield f"{s.n_non_finite} {s.clocks} were not finite, and training recovered."
    if s.settled and s.settled_at > 0:
        yield f"the KL weight settled at {s.table.index.name} {number(s.epochs_E[s.n_epochs - s.n_settled])}."
    if s.settled is not False and not rules.still_falling(s) and s.pace[0] > T.STILL_WINNING_CONSTANT:
        yield f"the {s.kind} still falls a little: another quarter of the run would win {s.pace[0]:.0%} more."
    if s.kl_end > s.kl_first:
        yield "the KL rose: the latent took something up; that alone is no proof of health."
    adversaries = [name for name in ("discriminator_loss_train", "adversary_loss_train") if name in s.table]
    # what was not logged in an epoch was not zero there
    yield from late_starts(s.table[adversaries].bfill())


def _open_questions(s: CurveStatistics) -> Iterator[str]:
    if np.isfinite(s.kl_end):
        yield (
            "the unit of the KL: nats or bits, summed or averaged over dimensions, so its size alone proves nothing: "
            "rules such as 'healthy between 0.1 and 1' are for a KL averaged over dimensions (a sum: times their "
            "number)."
        )
        yield "whether the decoder uses z, which costs KL before it pays: model.diagnose() measures the use."
        yield "how many dimensions are active, and whether z holds the classes that you care about."
    if s.settled is None:
        logged = f"only {number(s.weight)} was logged, once" if np.isfinite(s.weight) else "the weight was not logged"
        yield f"whether a schedule of the KL weight had settled: {logged}."
    if not s.has_validation:
        yield "whether the model overfits: no losses of validation cells were logged."
    elif np.isnan(s.gap_growth):
        yield "the train–validation gap: the two were not logged in the same terms."


def _evidence(s: CurveStatistics) -> Iterator[Row]:
    meaning = f"of {s.n_epochs} {s.clocks} with a loss, reconstruction or KL that was NaN or inf"
    yield Row("epochs not finite", s.n_non_finite, meaning, "= 0 at the end", not s.ends_non_finite)
    if not np.isnan(s.rise):
        passed = False if rules.diverged(s) and not s.ends_non_finite else None if s.rise > T.BLOWN_UP else True
        meaning = "how far training ended above its start at one KL weight, reconstruction and objective alike"
        yield Row("training above its start", s.rise, meaning, f"≤ {T.BLOWN_UP:g}", passed)
    if s.settled is not None:
        meaning = f"of {s.n_epochs} {s.clocks} with the final KL weight ({number(s.weight)}, {s.weight_source})"
        yield Row("epochs after warm-up", s.n_settled, meaning, "≥ 2", s.settled)
    if not np.isnan(s.pace[0]):
        meaning = f"share of its fall that the {s.kind} would add in another quarter of the run (± {s.pace[1]:.2g})"
        yield Row("still improving", s.pace[0], meaning, f"≤ {T.HALF_WAY:.2f}", not rules.still_falling(s))
    if np.isfinite(s.kl_end):
        yield from _kl_evidence(s)
    if not np.isnan(s.worse):
        meaning = "share of its fall that validation lost again; 0 within the noise"
        yield Row("validation past its best", s.worse, meaning, f"≤ {T.LOST_AGAIN:g}", not rules.overfit(s))
    if not np.isnan(s.gap_growth):
        meaning = "of the train–validation gap since the best validation epoch, in the log's unit"
        yield Row("growth of the gap", s.gap_growth, meaning)


def _kl_evidence(s: CurveStatistics) -> Iterator[Row]:
    collapsed = rules.collapsed(s)
    meaning = f"KL at the end ({number(s.kl_end)}) against its largest ({number(s.kl_peak)})"
    yield Row("KL, share of its peak", s.kl_of_peak, meaning, f"> {T.FADED:g}", not collapsed)
    if np.isfinite(s.kl_of_change):
        meaning = f"KL at the end against what reconstruction changed by ({number(s.change)}); judged with the peak"
        yield Row("KL, share of the change", s.kl_of_change, meaning, f"> {T.BOUGHT_LITTLE:g}", not collapsed)
    if np.isfinite(s.weight):
        passed = None if s.settled is False else not rules.under_regularised(s)
        meaning = "smaller is β < 1 even if the loss is an average; a fault where the KL is huge and unpressed"
        yield Row("KL weight", s.weight, meaning, f"> {T.UNPRICED_WEIGHT:g}", passed)
