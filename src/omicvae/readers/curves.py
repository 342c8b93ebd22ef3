"""Curves of other programs in the columns of our own histories."""

from typing import Any

import numpy as np
import pandas as pd

from omicvae.curves import known_weight, read_log
from omicvae.diagnostics import finite_column

#: A curve is in nats per cell if an epoch comes as near as this to what was measured, as a share or in nats.
NEAR_SHARE, NEAR = 0.5, 1.0
#: columns in another unit that are of no use then
IN_NATS = ("loss_", "recon_", "kl_train", "kl_validation", "elbo_")


def history_of(source: Any) -> pd.DataFrame:
    """Read curves of any form that ``diagnose_history`` reads; ``elbo_validation`` is higher for better, as is ours.

    The weight of the KL is that of the log, or follows from loss, reconstruction and KL.
    """
    table = read_log(source)
    weight_E, where_from = known_weight(table)
    kept = [name for name in table.columns if not str(name).startswith(("elbo_", "minus_elbo_"))]
    table = table[kept]
    if where_from != "unknown":  # gaps between epochs for which it was logged
        table = table.assign(kl_weight=pd.Series(weight_E, table.index).interpolate(limit_area="inside"))
    parts = {"recon_validation", "kl_validation"}
    if parts <= set(kept):
        table = table.assign(elbo_validation=-table[sorted(parts)].sum(axis=1, skipna=False))
    return table


def in_nats(history: pd.DataFrame, recon: float, rate: float) -> tuple[pd.DataFrame, str]:
    """Leave out losses that are in another unit than nats per cell, and say so.

    ``recon`` and ``rate`` are what was measured; some epoch comes near to them where the unit is the same.
    """
    for name, what, value in (("recon", "reconstruction", recon), ("kl", "KL", rate)):
        seen = np.concatenate([finite_column(history, f"{name}_{part}") for part in ("train", "validation")])
        seen = seen[np.isfinite(seen)]
        away = np.abs(seen - value) > np.maximum(NEAR, NEAR_SHARE * np.maximum(np.abs(seen), abs(value)))
        if len(seen) and away.all():
            kept = [column for column in history.columns if not str(column).startswith(IN_NATS)]
            return history[kept], (
                f"the curves are not in nats per cell (their {what} ends at {seen[-1]:.3g}, measured was {value:.3g}) "
                "and were not judged here; ov.diagnose_history judges them by themselves."
            )
    return history, ""
