"""What curves show, of our own fits and of any program's: numbers only, no verdict.

Another program's losses may be nats or bits, sums or averages. So all readings but those of our own fits (nats per
cell) are ratios, counts, signs, or in the log's unit.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import pandas as pd
from scipy.stats import linregress

from omicvae.diagnostics import thresholds
from omicvae.metrics.labels import Array, FloatArray

#: The curve that is judged where it is known: the objective at its final weight. It compares the epochs of a ramp, in
#: which the logged loss rises with β although nothing gets worse.
OBJECTIVE = "recon + weight · KL"
#: Quantities that are judged: a value that is not finite counts.
LOSSES = ("loss", "recon", "kl", "elbo", "minus_elbo")
LATE_SHARE = 0.25
#: Epochs of our own fits to which a line is fitted at least.
FITTED_EPOCHS = 5
#: Rows from which on single epochs are smoothed.
SMOOTHED_ROWS = 9
UNKNOWN = (float("nan"), float("nan"))


@dataclass(frozen=True, eq=False)
class CurveStatistics:
    """Readings of one table of curves; NaN or None where it cannot tell.

    Attributes
    ----------
    table
        E rows, one an epoch; columns as ``loss_train … kl_weight lr``, or fewer. NaN is "not logged", inf "not finite".
    known_weight_E
        KL weight of the epochs for which it is known, else NaN; None: as the column ``kl_weight`` has it.
    weight_source
        Where it is known from: ``"logged"``, ``"given"``, ``"implied"`` by other columns, or ``"unknown"``.
    settled_from
        Number of the first epoch with the final KL weight, used where the table does not hold the weight.
    in_nats
        Whether losses are nats per cell: only then is −ELBO (the objective at a weight of 1) known and judged.
    earlier_epochs
        Rows of earlier runs, whose setbacks and rates are past.
    """

    table: pd.DataFrame
    known_weight_E: FloatArray | None = None
    weight_source: str = "logged"
    settled_from: float | None = None
    in_nats: bool = False
    earlier_epochs: int = 0

    @classmethod
    def of_fit(cls, history: pd.DataFrame, *, settled_from: float | None = None, earlier_epochs: int = 0) -> Self:
        """Read the history of one of our own fits, whose training losses are NaN only if they were so."""
        trained = [name for name in ("loss_train", "recon_train", "kl_train") if name in history.columns]
        table = history.assign(**{name: history[name].astype(float).fillna(np.inf) for name in trained})
        return cls(table, settled_from=settled_from, in_nats=True, earlier_epochs=earlier_epochs)

    @property
    def n_epochs(self) -> int:
        """Rows."""
        return len(self.table)

    @property
    def clocks(self) -> str:
        """What the rows are; where the log does not count, each is taken for an epoch."""
        return "logged steps" if self.table.index.name == "step" else "epochs"

    @cached_property
    def epochs_E(self) -> FloatArray:
        """Epochs (steps, rows) as they are counted in the log."""
        return self.table.index.to_numpy(dtype=np.float64)

    @cached_property
    def _non_finite_E(self) -> Array:
        losses = self.table.filter([f"{loss}_{part}" for loss in LOSSES for part in ("train", "validation")])
        return np.asarray(np.isinf(losses.to_numpy(dtype=np.float64)).any(axis=1))

    @property
    def n_non_finite(self) -> int:
        """Epochs in which a loss, reconstruction or KL was logged and not finite."""
        return int(self._non_finite_E.sum())

    @property
    def ends_non_finite(self) -> bool:
        """Whether any of the last quarter of the epochs was not finite."""
        return bool(self._non_finite_E[-max(1, int(self.n_epochs * LATE_SHARE)) :].any())

    # the weight of the KL

    @cached_property
    def _logged_weight_E(self) -> FloatArray:
        return self._column("kl_weight") if self.known_weight_E is None else self.known_weight_E

    @cached_property
    def weight_E(self) -> FloatArray:
        """KL weight of every epoch; gaps filled from the epoch before."""
        return np.asarray(pd.Series(self._logged_weight_E).ffill().bfill(), dtype=np.float64)

    @property
    def weight(self) -> float:
        """Final KL weight."""
        return float(self.weight_E[-1]) if self.n_epochs else float("nan")

    @cached_property
    def _settling(self) -> tuple[bool | None, float]:
        """Whether the weight stood still at its end, and the position of the first epoch with the final weight."""
        seen = _finite(self._logged_weight_E)
        if len(seen) > 1:
            slack = thresholds.SETTLED_WEIGHT * np.abs(self.weight_E).max()
            off_E = np.abs(self.weight_E - self.weight) > slack
            return bool(abs(seen[-2] - self.weight) <= slack), int(np.flatnonzero(off_E)[-1]) + 1 if off_E.any() else 0
        if self.settled_from is None:  # a single value shows no schedule
            return None, 0
        return self.settled_from <= self.n_epochs if self.n_epochs else None, self.settled_from - 1

    @property
    def settled(self) -> bool | None:
        """Whether the weight was seen to stand still at its end; None where it is unknown."""
        return self._settling[0]

    @property
    def settled_at(self) -> float:
        """Position of the first epoch with the final weight; 0 where the weight is unknown."""
        return self._settling[1]

    @property
    def n_settled(self) -> int:
        """Epochs with the final weight."""
        return int((np.arange(self.n_epochs) >= self.settled_at).sum())

    @property
    def peak_rate(self) -> float:
        """Highest learning rate of the last run; NaN if it was not logged."""
        return float(np.fmax.reduce(self._column("lr")[self.earlier_epochs :], initial=np.nan))

    @property
    def annealed(self) -> bool:
        """Whether the learning rate had fallen to a tenth of its peak."""
        lr_E = self._column("lr")
        return bool(len(lr_E) and lr_E[-1] <= thresholds.ANNEALED_RATE * np.max(lr_E))

    # the judged curve

    @cached_property
    def _curves(self) -> dict[str, dict[str, FloatArray]]:
        """Part of the cells → kind → curve that may be judged, best first, as far as they are known."""
        return {part: self._curves_of(part) for part in ("train", "validation")}

    def _curves_of(self, part: str) -> dict[str, FloatArray]:
        recon_E, minus_elbo_E = self._column(f"recon_{part}"), self._column(f"minus_elbo_{part}")
        curves = {OBJECTIVE: recon_E + (1.0 if self.in_nats else self.weight) * self._column(f"kl_{part}")}
        if not self.in_nats:
            # scvi-tools logs a positive −ELBO as "elbo"
            elbo_E = self._column(f"elbo_{part}")
            if not _known(minus_elbo_E):
                minus_elbo_E = elbo_E if np.nanmedian(np.append(elbo_E, 0)) > 0 else -elbo_E
            curves |= {"loss": self._column(f"loss_{part}"), "−ELBO": minus_elbo_E, "recon": recon_E}
        return {kind: curve_E for kind, curve_E in curves.items() if _known(curve_E)}

    @property
    def kind(self) -> str | None:
        """Which curve is judged: the best that validation cells have, else training cells."""
        return next(iter(self._curves["validation"] or self._curves["train"]), None)

    @cached_property
    def judged_E(self) -> FloatArray:
        """The judged curve of validation cells, else of training cells; lower is better."""
        return self._curves["validation"].get(self.kind or "", self.train_E)

    @cached_property
    def train_E(self) -> FloatArray:
        """The same curve of training cells; NaN where they do not have it."""
        return self._curves["train"].get(self.kind or "", np.full(self.n_epochs, np.nan))

    @property
    def has_validation(self) -> bool:
        """Whether any loss of validation cells was logged."""
        return bool(self._curves["validation"])

    @cached_property
    def after_E(self) -> Array:
        """Epochs that may be compared: those with the final weight, of other programs all where that was not seen."""
        return np.arange(self.n_epochs) >= (0 if self.settled is False and not self.in_nats else self.settled_at)

    @cached_property
    def fall(self) -> float:
        """How far the judged curve fell from its first value to its best."""
        # at its final weight the objective compares the epochs of a ramp as well
        values = _finite(self.judged_E[self.after_E | (self.kind == OBJECTIVE)])
        return float(values[0] - values.min()) if len(values) > 1 else float("nan")

    @cached_property
    def pace(self) -> tuple[float, float]:
        """Share of that fall which another quarter of the run would add at the final pace; its standard error."""
        seen_E = np.isfinite(self.judged_E) & self.after_E
        if seen_E.sum() < 3 or self.fall <= 0:
            return UNKNOWN
        time, quarter = self.epochs_E[seen_E], LATE_SHARE * np.ptp(self.epochs_E)
        won, error = _descent(time, self.judged_E[seen_E], time >= self.epochs_E[-1] - quarter, quarter)
        return won / self.fall, error / self.fall

    @cached_property
    def improvement(self) -> tuple[float, float]:
        """What another quarter of the run (at least one epoch) would win at the final pace, nats per cell; its SE.

        The line is fitted to the last quarter (at least five epochs, settled ones only).
        """
        seen_E = np.isfinite(self.judged_E)
        if seen_E.sum() < 2:
            return UNKNOWN
        row_E = np.arange(1.0, self.n_epochs + 1)
        late_E = self.after_E & (row_E > self.n_epochs - max(FITTED_EPOCHS, int(np.ceil(self.n_epochs * LATE_SHARE))))
        return _descent(row_E[seen_E], self.judged_E[seen_E], late_E[seen_E], max(self.n_epochs * LATE_SHARE, 1.0))

    @property
    def still_improving(self) -> bool:
        """Whether the improvement stands out of the epochs' noise by three standard errors."""
        return self.improvement[0] > thresholds.STANDS_OUT * self.improvement[1]

    @cached_property
    def rise(self) -> float:
        """How far training ended above its start at one weight, as a share of its start; 0 within the noise.

        Of reconstruction and objective the smaller: either alone may rise for a good reason, the reconstruction to pay
        for a KL that falls, the objective for a weight that is unknown.
        """
        curves = [*list(self._curves["train"].values())[:1], self._column("recon_train")]
        compared = [values for curve_E in curves if len(values := _finite(curve_E[self.after_E])) > 2]
        rises = (_beyond_noise(values[-1] - values[0], values, abs(values[0])) for values in compared)
        return min(rises, default=float("nan"))

    @cached_property
    def setback(self) -> float:
        """How far training loss and reconstruction rose together above their best so far in a run, at one weight."""
        judged_E = self.after_E & (np.arange(self.n_epochs) >= self.earlier_epochs)
        loss, recon, kl = (self._column(f"{name}_train")[judged_E] for name in ("loss", "recon", "kl"))
        rise = np.minimum(loss - np.fmin.accumulate(loss), recon - np.fmin.accumulate(recon))
        if np.isnan(self.weight):  # of a β that may rise again there are signs: a KL that falls meanwhile
            best = np.maximum.accumulate(np.where(recon <= np.fmin.accumulate(recon), np.arange(len(recon)), 0))
            rise = np.where(kl < kl[best], 0.0, rise)
        return float(np.fmax.reduce(rise, initial=np.nan))

    @property
    def noise(self) -> float:
        """SD of the noise of training reconstruction at one weight."""
        return _noise(_finite(self._column("recon_train")[self.after_E]))

    @property
    def ramp_explains_rise(self) -> bool:
        """Whether a rising loss may be a rising β: weight not at rest or unknown, and no sign to the contrary."""
        at_one_weight = self.settled or OBJECTIVE in self._curves["train"]
        return not (at_one_weight or (_known(self._column("recon_train")) and self.kl_end >= self.kl_first))

    @cached_property
    def worse(self) -> float:
        """How far validation ended above its best, as a share of its fall; 0 unless it stands out of the noise."""
        values = _finite(self.judged_E[self.after_E])
        if not self.has_validation or len(values) < 3:
            return float("nan")
        return _beyond_noise((smooth := _smooth(values))[-1] - smooth.min(), values, self.fall)

    @property
    def gap(self) -> float:
        """Judged curve of validation minus training cells at the best validation epoch, in the log's unit."""
        return self._gaps[0]

    @property
    def gap_growth(self) -> float:
        """Growth of that gap from there to the last epoch that has one."""
        return self._gaps[1] - self._gaps[0]

    @cached_property
    def _gaps(self) -> tuple[float, float]:
        seen_E = np.isfinite(self.judged_E) & np.isfinite(self.train_E) & self.after_E
        if not self.has_validation or not seen_E.any():
            return UNKNOWN
        gap = (self.judged_E - self.train_E)[seen_E]
        return float(gap[np.argmin(self.judged_E[seen_E])]), float(gap[-1])

    @property
    def reconstruction_end(self) -> float:
        """Training reconstruction at the last epoch."""
        return _last(self._column("recon_train"))

    @property
    def reconstruction_best(self) -> float:
        """Training reconstruction at its best."""
        return float(np.fmin.reduce(self._column("recon_train"), initial=np.nan))

    @property
    def reconstruction_worst(self) -> float:
        """Reconstruction at its worst, of training or validation cells."""
        both = [self._column(f"recon_{part}") for part in self._curves]
        return float(np.fmax.reduce(both, axis=None, initial=np.nan))

    @cached_property
    def change(self) -> float:
        """Range of the reconstruction over the run; of the judged curve where there is none."""
        values_E = next(filter(_known, (self._column(f"recon_{part}") for part in self._curves)), self.judged_E)
        return float(np.fmax.reduce(values_E, initial=np.nan) - np.fmin.reduce(values_E, initial=np.nan))

    @cached_property
    def kl_E(self) -> FloatArray:
        """KL of training cells, else of validation cells."""
        train_E = self._column("kl_train")
        return train_E if _known(train_E) else self._column("kl_validation")

    @cached_property
    def kl_end(self) -> float:
        """Median KL of the last quarter of the epochs that have one."""
        seen = _finite(self.kl_E)
        return float(np.median(seen[-max(1, int(len(seen) * LATE_SHARE)) :])) if len(seen) else float("nan")

    @property
    def kl_last(self) -> float:
        """KL of the last epoch that has one."""
        return _last(self.kl_E)

    @property
    def kl_peak(self) -> float:
        """Largest KL of any epoch."""
        return float(np.fmax.reduce(self.kl_E, initial=np.nan))

    @property
    def kl_first(self) -> float:
        """First KL at the final weight."""
        return _last(self.kl_E[self.after_E][::-1])

    @property
    def kl_of_peak(self) -> float:
        """Final KL as a share of its peak."""
        return _ratio(self.kl_end, self.kl_peak) if self.kl_peak else 0.0

    @property
    def kl_of_change(self) -> float:
        """Final KL as a share of the reconstruction's change."""
        return 0.0 if self.kl_end == 0 else _ratio(self.kl_end, self.change)

    def _column(self, name: str) -> FloatArray:
        return finite_column(self.table, name)


def finite_column(table: pd.DataFrame, name: str) -> FloatArray:
    """Values of a column; NaN where there are none, and where they are not finite."""
    if name not in table:
        return np.full(len(table), np.nan)
    values_E = table[name].to_numpy(dtype=np.float64, na_value=np.nan)
    return np.asarray(np.where(np.isfinite(values_E), values_E, np.nan), dtype=np.float64)


def _finite(values_E: FloatArray) -> FloatArray:
    return np.asarray(values_E[np.isfinite(values_E)], dtype=np.float64)


def _known(values_E: FloatArray) -> bool:
    return bool(np.isfinite(values_E).any())


def _last(values_E: FloatArray) -> float:
    return float(next(iter(_finite(values_E)[::-1]), np.nan))


def _ratio(value: float, unit: float) -> float:
    return float(value / unit) if unit > 0 else float(np.sign(value) * np.inf) if value else 0.0


def _beyond_noise(rise: float, values: FloatArray, unit: float) -> float:
    """Rise in units; 0 unless it stands out of the noise of the values."""
    return _ratio(rise, unit) if rise > thresholds.STANDS_OUT * _noise(values) else 0.0


def _descent(time: FloatArray, value: FloatArray, late: Array, ahead: float) -> tuple[float, float]:
    """Fall over the time ``ahead`` along a line through the late points (fewer than three: the last two); its SE."""
    if late.sum() < 3:
        return float((value[-2] - value[-1]) / (time[-1] - time[-2])) * ahead, 0.0
    line = linregress(time[late], value[late])
    return -float(line.slope) * ahead, float(line.stderr) * ahead


def _smooth(values: FloatArray) -> FloatArray:
    """Take running medians of three: a lucky epoch is no best, a bad one no end."""
    if len(values) < SMOOTHED_ROWS:
        return values
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(values, 3), axis=1), dtype=np.float64)


def _noise(values: FloatArray) -> float:
    """SD of the noise around a smooth curve: second differences have √6 times it, medians of deviations 1 / 1.48."""
    late = values[-max(4, len(values) // 2) :]
    if len(late) < 4:
        return float(np.median(np.abs(np.diff(values)))) if len(values) > 1 else 0.0
    return float(1.4826 * np.median(np.abs(np.diff(late, n=2))) / np.sqrt(6))
