"""Whether the discriminator of a VAE-GAN has won, by the losses of both players."""

import numpy as np
import pandas as pd

from omicvae.diagnostics.curve_statistics import LATE_SHARE, finite_column
from omicvae.diagnostics.evidence import number
from omicvae.diagnostics.thresholds import DISCRIMINATOR_WON, SHAPED_ROWS


def discriminator_won(history: pd.DataFrame) -> list[str]:
    """Say that the discriminator hardly ever errs any more, while the generator's loss did not fall; empty otherwise.

    Judged are the epochs from its first on. A critic (Wasserstein), whose loss is negative, has no errors.
    """
    loss_E, generator_E = (finite_column(history, f"{name}_loss_train") for name in ("discriminator", "generator"))
    known_E = np.isfinite(loss_E)
    loss, generator = loss_E[known_E], generator_E[known_E]
    on = np.maximum.accumulate(loss != 0)
    loss, generator = loss[on], generator[on]
    late = slice(-max(1, int(len(loss) * LATE_SHARE)), None)
    if len(loss) < SHAPED_ROWS or loss.min() < 0:
        return []
    end, other = float(np.median(loss[late])), float(np.median(generator[late]))
    least, share, chance = DISCRIMINATOR_WON
    if end > max(least, share * min(float(loss.max()), chance)) or other <= generator[0]:
        return []
    beside = "" if np.isnan(other) else f", and the generator's rose from {number(generator[0])} to {number(other)}"
    return [
        f"the discriminator has won: its loss ended at {number(end)} (0.25 to 2 where it can but guess){beside}. It "
        "tells nearly all generated cells and teaches the decoder little; a slower one lets the decoder keep up."
    ]
