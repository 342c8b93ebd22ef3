"""What curves of unknown units show: every reading is a ratio, a count or a sign.

Losses may be nats or bits, sums or averages over genes, and the KL a sum or an average over dimensions. So
nothing here compares a loss with a number; :mod:`omicvae.diagnostics.history` does so with ratios only.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from omicvae.diagnostics import thresholds
from omicvae.metrics.labels import Array, FloatArray

#: What may be judged, best first. The first is the objective at its final weight: it compares epochs of a
#: ramp, in which the logged loss rises with β although nothing gets worse.
KINDS = ("recon + weight · KL", "loss", "−ELBO", "recon")
LATE_SHARE = 0.25
#: Rows from which on single epochs are smoothed.
SMOOTHED_ROWS = 9
#: A KL weight worked out of loss, reconstruction and KL must be this even to count as one, relatively.
EVEN = 0.05


@dataclass(frozen=True)
class HistoryReadings:
    """Readings of a table that :func:`omicvae.diagnostics.logs.read_log` made; NaN or None where unknown.

    ``table`` holds E rows; ``given_weight`` is the KL weight where the caller knows it and the log does not.
    """

    table: pd.DataFrame
    given_weight: float | None = None

    @property
    def n_epochs(self) -> int:
        """Rows of the table."""
        return len(self.table)

    @cached_property
    def epochs_E(self) -> FloatArray:
        """Epochs (steps, rows) as they are counted in the log."""
        return self.table.index.to_numpy(dtype=np.float64)

    def column(self, name: str) -> FloatArray:
        """Values of a column; NaN where there are none, and where they are not finite."""
        if name not in self.table:
            return np.full(self.n_epochs, np.nan)
        values_E = self.table[name].to_numpy(dtype=np.float64)
        return np.asarray(np.where(np.isfinite(values_E), values_E, np.nan), dtype=np.float64)

    @cached_property
    def n_non_finite(self) -> int:
        """Epochs in which a loss, reconstruction or KL was logged and not finite."""
        judged = [name for name in self.table if str(name).split("_")[0] in ("loss", "recon", "kl", "elbo", "minus")]
        judged = [name for name in judged if name != "kl_weight"]
        return int(np.isinf(self.table[judged].to_numpy(dtype=np.float64)).any(axis=1).sum())

    @cached_property
    def ends_non_finite(self) -> bool:
        """Whether any of the last quarter of the epochs was not finite."""
        late = self.table.iloc[-max(1, int(self.n_epochs * LATE_SHARE)) :]
        return HistoryReadings(late).n_non_finite > 0 if self.n_non_finite else False

    # the KL weight

    @cached_property
    def weight_source(self) -> str:
        """``"logged"``, ``"given"``, ``"implied"`` by (loss − recon) / KL, or ``"unknown"``."""
        return next((source for source, weight_E in self._weights.items() if np.isfinite(weight_E).any()), "unknown")

    @cached_property
    def weight_E(self) -> FloatArray:
        """KL weight of every epoch; gaps filled from the epoch before."""
        return np.asarray(pd.Series(self._known_weight_E).ffill().bfill(), dtype=np.float64)

    @property
    def weight(self) -> float:
        """Final KL weight."""
        return float(self.weight_E[-1]) if self.n_epochs else float("nan")

    @cached_property
    def settled_at(self) -> int:
        """Position of the first epoch with the final weight; 0 where the weight is unknown."""
        off_E = np.abs(self.weight_E - self.weight) > self._same_weight
        return int(np.flatnonzero(off_E)[-1]) + 1 if off_E.any() else 0

    @property
    def settled(self) -> bool | None:
        """Whether the weight was seen to stand still at its end; None where it is unknown."""
        seen = self._known_weight_E[np.isfinite(self._known_weight_E)]
        return bool(abs(seen[-1] - seen[-2]) <= self._same_weight) if len(seen) > 1 else None

    @property
    def _same_weight(self) -> float:
        return float(thresholds.SETTLED_WEIGHT * np.abs(self.weight_E).max(initial=0))

    @cached_property
    def _known_weight_E(self) -> FloatArray:
        return self._weights.get(self.weight_source, np.full(self.n_epochs, np.nan))

    @cached_property
    def _weights(self) -> dict[str, FloatArray]:
        """Where the weight may be known from, best first; a single logged value shows no schedule."""
        logged_E = self.column("kl_weight")
        given = np.nan if self.given_weight is None else self.given_weight
        once = np.isfinite(logged_E).sum() == 1
        weights = {"logged": logged_E, "given": np.full(self.n_epochs, given), "implied": self._implied_E}
        return {**{source: weights[source] for source in ("given", "implied") if once}, **weights}

    @cached_property
    def _implied_E(self) -> FloatArray:
        """(loss − recon) / KL, where it is one even weight or a smooth ramp to one; NaN elsewhere."""
        unknown_E = np.full(self.n_epochs, np.nan)
        kl_E = self.column("kl_train")
        # opponents and near-zero KLs leave no weight in the difference
        if any(self._has(f"{name}_loss_train") for name in ("discriminator", "adversary")) or not self._has("kl_train"):
            return unknown_E
        loss_E = self.column("loss_train")
        difference_E = loss_E - self.column("recon_train")
        # differences of rounded numbers that say nothing; a weight of 0 in a ramp says something
        rounding = 2 * _resolution(loss_E[np.isfinite(loss_E)])
        usable_E = (kl_E > 0) & (np.abs(kl_E) * EVEN > rounding)
        weight_E = np.divide(difference_E, kl_E, out=unknown_E.copy(), where=usable_E)
        seen = weight_E[np.isfinite(weight_E)]
        if len(seen) < 2 or seen[-1] <= 0:
            return unknown_E
        slack = EVEN * np.abs(seen).max()
        if np.ptp(seen) <= slack:
            return np.full(self.n_epochs, np.median(seen))
        rising = bool((np.diff(seen) > -slack).all() and seen.min() > -slack and np.isfinite(weight_E[-1]))
        return weight_E if rising else unknown_E

    # the curve that is judged

    @cached_property
    def kind(self) -> str | None:
        """Which of ``KINDS`` is judged: the best that validation cells have, else training cells."""
        return self._first_kind("validation") or self._first_kind("train")

    @cached_property
    def judged_E(self) -> FloatArray:
        """The judged curve of validation cells, else of training cells; lower is better."""
        validation_E = self._curve(self.kind, "validation")
        return validation_E if np.isfinite(validation_E).any() else self.train_E

    @cached_property
    def train_E(self) -> FloatArray:
        """The same curve of training cells; NaN where they do not have it."""
        return self._curve(self.kind, "train")

    @property
    def has_validation(self) -> bool:
        """Whether any loss of validation cells was logged."""
        return self._first_kind("validation") is not None

    @cached_property
    def after_E(self) -> Array:
        """Epochs that may be compared: all where the weight is unknown, else those from which it is final."""
        return np.arange(self.n_epochs) >= (self.settled_at if self.settled else 0)

    def _first_kind(self, part: str) -> str | None:
        return next((kind for kind in KINDS if np.isfinite(self._curve(kind, part)).sum() > 0), None)

    def _curve(self, kind: str | None, part: str) -> FloatArray:
        recon_E, kl_E = self.column(f"recon_{part}"), self.column(f"kl_{part}")
        minus_E = self.column(f"minus_elbo_{part}")
        curves = dict(
            zip(
                KINDS,
                (
                    recon_E + self.weight * kl_E,
                    self.column(f"loss_{part}"),
                    minus_E if np.isfinite(minus_E).any() else self._minus_elbo(part),
                    recon_E,
                ),
                strict=True,
            )
        )
        return np.full(self.n_epochs, np.nan) if kind is None else curves[kind]

    def _minus_elbo(self, part: str) -> FloatArray:
        """−ELBO from what is logged as "elbo": scvi-tools logs a positive −ELBO under that name."""
        elbo_E = self.column(f"elbo_{part}")
        return elbo_E if np.nanmedian(np.append(elbo_E, 0)) > 0 else -elbo_E

    def _has(self, name: str) -> bool:
        return bool(np.isfinite(self.column(name)).any())

    # readings

    @cached_property
    def fall(self) -> float:
        """How far the judged curve fell from its first value to its best."""
        # at its final weight the objective compares the epochs of a ramp as well
        whole = self.kind == KINDS[0]
        values = self.judged_E[np.isfinite(self.judged_E)] if whole else self._compared(self.judged_E)
        return float(values[0] - values.min()) if len(values) > 1 else float("nan")

    @cached_property
    def pace(self) -> tuple[float, float]:
        """Share of that fall which another quarter of the run would add at the final pace; its standard error."""
        seen_E = np.isfinite(self.judged_E) & self.after_E
        time, value = self.epochs_E[seen_E], self.judged_E[seen_E]
        if len(time) < 3 or self.fall <= 0:
            return float("nan"), float("nan")
        quarter = LATE_SHARE * np.ptp(self.epochs_E)
        late = time >= self.epochs_E[-1] - quarter
        if late.sum() < 3:
            return float((value[-2] - value[-1]) / (time[-1] - time[-2]) * quarter / self.fall), 0.0
        slope, slope_se = _line(time[late], value[late])
        return -slope * quarter / self.fall, slope_se * quarter / self.fall

    @cached_property
    def rise(self) -> float:
        """How far training ended above its start at one weight, as a share of where it started.

        Of reconstruction and objective the smaller, because either alone may rise for a good reason: the
        reconstruction pays for a KL that falls, the objective for a weight that is unknown. 0 unless it
        stands out of the noise.
        """
        curves = [self._curve(self._first_kind("train"), "train"), self.column("recon_train")]
        compared = [values for curve in curves if len(values := self._compared(curve)) > 2]
        return min((_rise(values) for values in compared), default=float("nan"))

    @property
    def ramp_explains_rise(self) -> bool:
        """Whether a rising loss may be a rising β: weight not at rest or unknown, and no sign to the contrary."""
        at_one_weight = self.settled is True or self._first_kind("train") == KINDS[0]
        both_rise = self._has("recon_train") and self.kl_end >= self.kl_first
        return not (at_one_weight or both_rise)

    @cached_property
    def kl_E(self) -> FloatArray:
        """KL of training cells, else of validation cells."""
        return self.column("kl_train") if self._has("kl_train") else self.column("kl_validation")

    @cached_property
    def kl_end(self) -> float:
        """Median KL of the last quarter of the epochs that have one."""
        seen = self.kl_E[np.isfinite(self.kl_E)]
        return float(np.median(seen[-max(1, int(len(seen) * LATE_SHARE)) :])) if len(seen) else float("nan")

    @property
    def kl_last(self) -> float:
        """KL of the last epoch that has one."""
        seen = self.kl_E[np.isfinite(self.kl_E)]
        return float(seen[-1]) if len(seen) else float("nan")

    @property
    def kl_peak(self) -> float:
        """Largest KL of any epoch."""
        return float(np.nanmax(self.kl_E)) if np.isfinite(self.kl_E).any() else float("nan")

    @property
    def kl_first(self) -> float:
        """First KL at the final weight."""
        values = self._compared(self.kl_E)
        return float(values[0]) if len(values) else float("nan")

    @property
    def kl_of_peak(self) -> float:
        """Final KL as a share of its peak."""
        return _ratio(self.kl_end, self.kl_peak) if self.kl_peak else 0.0

    @cached_property
    def change(self) -> float:
        """Range of the reconstruction over the run; of the judged curve where there is none."""
        part = "train" if self._has("recon_train") else "validation"
        recon_E = self.column(f"recon_{part}")
        values_E = recon_E if np.isfinite(recon_E).any() else self.judged_E
        return float(np.nanmax(values_E) - np.nanmin(values_E)) if np.isfinite(values_E).any() else float("nan")

    @property
    def kl_of_change(self) -> float:
        """Final KL as a share of that range."""
        return 0.0 if self.kl_end == 0 else _ratio(self.kl_end, self.change)

    @cached_property
    def worse(self) -> float:
        """How far validation ended above its best, as a share of its fall; 0 unless it stands out of the noise."""
        values = self._compared(self.judged_E)
        if not self.has_validation or len(values) < 3:
            return float("nan")
        smooth = _smooth(values)
        rise = float(smooth[-1] - smooth.min())
        if rise <= thresholds.STANDS_OUT * _noise(values):
            return 0.0
        return _ratio(rise, self.fall)

    @cached_property
    def gap_growth(self) -> float:
        """Growth of the validation − training gap since the best validation epoch, in the log's unit."""
        seen_E = np.isfinite(self.judged_E) & np.isfinite(self.train_E) & self.after_E
        if not self.has_validation or not seen_E.any():
            return float("nan")
        gap = (self.judged_E - self.train_E)[seen_E]
        return float(gap[-1] - gap[int(np.argmin(self.judged_E[seen_E]))])

    def _compared(self, values_E: FloatArray) -> FloatArray:
        return np.asarray(values_E[self.after_E & np.isfinite(values_E)], dtype=np.float64)


def _resolution(values: FloatArray) -> float:
    """Last decimal that the values were logged with, and no finer than single precision."""
    digits = next((d for d in range(8) if np.allclose(np.round(values, d), values, rtol=1e-9, atol=0)), 8)
    return float(max(10.0**-digits, 1e-6 * np.abs(values).max(initial=0)))


def _ratio(value: float, unit: float) -> float:
    if unit > 0:
        return float(value / unit)
    return float(np.sign(value) * np.inf) if value else 0.0


def _rise(values: FloatArray) -> float:
    rise = float(values[-1] - values[0])
    return _ratio(rise, abs(float(values[0]))) if rise > thresholds.STANDS_OUT * _noise(values) else 0.0


def _line(time: FloatArray, value: FloatArray) -> tuple[float, float]:
    """Slope of the straight line through the points, and its standard error."""
    centred = time - time.mean()
    spread = float((centred**2).sum())
    slope = float((centred * value).sum()) / spread
    residual = value - value.mean() - slope * centred
    return slope, float(np.sqrt((residual**2).sum() / (len(time) - 2) / spread))


def _smooth(values: FloatArray) -> FloatArray:
    """Take running medians of three where there are rows enough: a lucky epoch is no best, a bad one no end."""
    if len(values) < SMOOTHED_ROWS:
        return values
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(values, 3), axis=1), dtype=np.float64)


def _noise(values: FloatArray) -> float:
    """SD of the noise around a smooth curve, from second differences over the later half.

    A second difference of independent noise has √6 times its SD; 1.48 turns a median of deviations into an SD.
    """
    late = values[-max(4, len(values) // 2) :]
    if len(late) < 4:
        return float(np.median(np.abs(np.diff(values)))) if len(values) > 1 else 0.0
    return float(1.4826 * np.median(np.abs(np.diff(late, n=2))) / np.sqrt(6))
