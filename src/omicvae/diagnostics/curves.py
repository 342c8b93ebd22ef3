"""What the loss curves of a run prove: settled, still improving, train–validation gap, divergence.

Only unweighted quantities are read (reconstruction and raw KL, nats per cell), so that neither β nor the
scale of the KL weight changes an answer.
"""

from dataclasses import dataclass, fields

import numpy as np
import pandas as pd

from omicvae.diagnostics import thresholds
from omicvae.metrics.labels import Array, FloatArray

FITTED_EPOCHS = 5


@dataclass(frozen=True, slots=True)
class CurveChecks:
    """Readings of the curves; NaN or None where the history cannot tell. Nats per cell.

    Attributes
    ----------
    n_epochs
        Rows of the history.
    n_non_finite
        Epochs whose training loss, reconstruction or KL is NaN or inf (validation: inf).
    settled_epoch
        Number of the first epoch from which the KL weight keeps its final value.
    settled
        Whether it had settled before the last epoch.
    n_settled
        Epochs from there to the end.
    improvement, improvement_se
        What another quarter of the run (at least one epoch) would win at the final pace: − slope of −ELBO
        over the last quarter (at least five epochs, settled ones only) times a quarter of the epochs. Runs
        with fewer than three settled epochs: the difference of the last two, without an error.
    annealed
        Whether the learning rate had fallen to a tenth of its peak.
    gap
        −ELBO of validation minus training cells at the epoch with the best validation ELBO.
    reconstruction_end, reconstruction_best
        Training reconstruction at the last epoch and at its best.
    """

    n_epochs: int
    n_non_finite: int
    settled_epoch: float
    settled: bool | None
    n_settled: int
    improvement: float
    improvement_se: float
    annealed: bool
    gap: float
    reconstruction_end: float
    reconstruction_best: float

    @property
    def still_improving(self) -> bool:
        """Whether the improvement stands out of the epochs' noise by three standard errors."""
        return bool(self.improvement > 3 * self.improvement_se)

    def to_frame(self) -> pd.DataFrame:
        """One row with every reading."""
        return pd.DataFrame([{entry.name: getattr(self, entry.name) for entry in fields(self)}])


def read_curves(history: pd.DataFrame, *, schedule_settled_epoch: float | None = None) -> CurveChecks:
    """Read one history.

    Parameters
    ----------
    history
        One row per epoch, index from 1, columns as :class:`FitEvidence` lists; each may be missing.
    schedule_settled_epoch
        Used only where the history holds no KL weight that shows it.
    """
    epochs_E = np.arange(1, len(history) + 1, dtype=np.float64)
    settled_epoch, settled = _settling(history, schedule_settled_epoch)
    # before the weight is final the network is another one: neither its pace nor its gap counts
    after_E = epochs_E >= (1.0 if np.isnan(settled_epoch) else settled_epoch)
    validation_E = _minus_elbo(history, "validation")
    train_E = _minus_elbo(history, "train")
    judged_E = validation_E if np.isfinite(validation_E).any() else train_E
    improvement, improvement_se = _improvement(epochs_E, judged_E, after_E)
    rate_E = _column(history, "lr")
    reconstruction_E = _column(history, "recon_train")
    finite_E = reconstruction_E[np.isfinite(reconstruction_E)]
    return CurveChecks(
        n_epochs=len(history),
        n_non_finite=_non_finite(history),
        settled_epoch=settled_epoch,
        settled=settled,
        n_settled=int(after_E.sum()),
        improvement=improvement,
        improvement_se=improvement_se,
        annealed=bool(len(rate_E) and rate_E[-1] <= thresholds.ANNEALED_RATE * np.max(rate_E)),
        gap=_gap(train_E[after_E], validation_E[after_E]),
        reconstruction_end=float(finite_E[-1]) if len(finite_E) else float("nan"),
        reconstruction_best=float(finite_E.min()) if len(finite_E) else float("nan"),
    )


def phases(history: pd.DataFrame) -> list[str]:
    """Say which opponents were off at first, so that nobody takes their zero loss for a fault."""
    remarks = []
    for name in ("adversary", "discriminator"):
        on_E = np.nan_to_num(_column(history, f"{name}_loss_train")) != 0
        if f"{name}_loss_train" in history.columns and len(on_E) and not on_E[0]:
            until = f"epoch {history.index[int(on_E.argmax())]}" if on_E.any() else "the end of this run"
            remarks.append(f"{name} off until {until}: a zero loss before is expected (phase 1).")
    return remarks


def _column(history: pd.DataFrame, name: str) -> FloatArray:
    if name not in history.columns:
        return np.full(len(history), np.nan)
    return history[name].to_numpy(dtype=np.float64, na_value=np.nan)


def _minus_elbo(history: pd.DataFrame, part: str) -> FloatArray:
    return _column(history, f"recon_{part}") + _column(history, f"kl_{part}")


def _non_finite(history: pd.DataFrame) -> int:
    bad_E = np.zeros(len(history), dtype=bool)
    for quantity in ("loss", "recon", "kl"):
        if f"{quantity}_train" in history.columns:
            bad_E |= ~np.isfinite(_column(history, f"{quantity}_train"))
        # validation may run every few epochs only: NaN there means "not measured"
        bad_E |= np.isinf(_column(history, f"{quantity}_validation"))
    return int(bad_E.sum())


def _settling(history: pd.DataFrame, announced: float | None) -> tuple[float, bool | None]:
    weight_E = _column(history, "kl_weight")
    known = len(weight_E) > 1 and bool(np.isfinite(weight_E).all())
    if known:
        off_E = np.abs(weight_E - weight_E[-1]) > thresholds.SETTLED_WEIGHT * np.abs(weight_E).max()
        first = 1 if not off_E.any() else int(np.flatnonzero(off_E)[-1]) + 2
        # a weight that moved until the last row has not been seen to stand still
        return float(first), first < len(weight_E) or not off_E.any()
    if announced is None:
        return float("nan"), None
    return float(announced), bool(announced <= len(history)) if len(history) else None


def _improvement(epochs_E: FloatArray, values_E: FloatArray, after_E: Array) -> tuple[float, float]:
    n_epochs = len(epochs_E)
    measured_E = np.isfinite(values_E)
    late_E = measured_E & after_E & (epochs_E > n_epochs - max(FITTED_EPOCHS, int(np.ceil(n_epochs / 4))))
    ahead = max(n_epochs / 4, 1.0)
    if late_E.sum() < 3:
        last = np.flatnonzero(measured_E)[-2:]
        if len(last) < 2:
            return float("nan"), float("nan")
        pace = (values_E[last[0]] - values_E[last[1]]) / (epochs_E[last[1]] - epochs_E[last[0]])
        return float(pace * ahead), 0.0
    time, value = epochs_E[late_E], values_E[late_E]
    centred = time - time.mean()
    spread = float((centred**2).sum())
    slope = float((centred * value).sum()) / spread
    residual = value - value.mean() - slope * centred
    slope_se = float(np.sqrt((residual**2).sum() / (len(time) - 2) / spread))
    return -slope * ahead, slope_se * ahead


def _gap(train_E: FloatArray, validation_E: FloatArray) -> float:
    both = np.isfinite(train_E) & np.isfinite(validation_E)
    if not both.any():
        return float("nan")
    best = np.flatnonzero(both)[np.argmin(validation_E[both])]
    return float(validation_E[best] - train_E[best])
