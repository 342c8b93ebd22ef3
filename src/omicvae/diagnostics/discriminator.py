"""Adversaries by their losses: which were off at first, and whether the discriminator of a VAE-GAN has won."""

import numpy as np
import pandas as pd

from omicvae.diagnostics.curve_statistics import LATE_SHARE, finite_column
from omicvae.diagnostics.evidence import number
from omicvae.diagnostics.thresholds import DISCRIMINATOR_WON, SHAPED_ROWS
from omicvae.metrics.labels import FloatArray


def discriminator_won(history: pd.DataFrame) -> list[str]:
    """Say that the discriminator hardly ever errs any more, while the generator's loss did not fall; empty otherwise.

    Judged are the epochs from its first on. A critic (Wasserstein), whose loss is negative, has no errors.
    """
    loss_E, generator_E = (finite_column(history, f"{name}_loss_train") for name in ("discriminator", "generator"))
    known_E = np.isfinite(loss_E)
    loss, generator = loss_E[known_E], generator_E[known_E]
    on = np.maximum.accumulate(loss != 0)
    loss, generator = loss[on], generator[on & np.isfinite(generator)]
    if len(loss) < SHAPED_ROWS or loss.min() < 0:
        return []
    end, other = _late(loss), _late(generator) if len(generator) else None
    least, share, chance = DISCRIMINATOR_WON
    fallen = share * min(float(loss.max()), chance)
    # alone it may be logged with a weight, of which only its fall is free
    if end > (fallen if other is None else max(least, fallen)) or (other is not None and other <= generator[0]):
        return []
    beside = "" if other is None else f", and the generator's rose from {number(generator[0])} to {number(other)}"
    return [
        f"the discriminator has won: its loss ended at {number(end)} (0.25 to 2 where it can but guess){beside}. It "
        "tells nearly all generated cells and teaches the decoder little; a slower one lets the decoder keep up."
    ]


def _late(values: FloatArray) -> float:
    return float(np.median(values[-max(1, int(len(values) * LATE_SHARE)) :]))


def late_starts(history: pd.DataFrame) -> list[str]:
    """Say which adversaries were off at first, so that nobody takes their zero loss for a fault."""
    remarks = []
    for name in ("adversary", "discriminator"):
        on_E = np.nan_to_num(finite_column(history, f"{name}_loss_train")) != 0
        if f"{name}_loss_train" in history.columns and len(on_E) and not on_E[0]:
            until = f"epoch {history.index[int(on_E.argmax())]}" if on_E.any() else "the end of this run"
            remarks.append(f"{name} off until {until}: a zero loss before is expected (phase 1).")
    return remarks
