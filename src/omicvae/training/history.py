"""The training history: one row per epoch."""

import math
from collections.abc import Mapping

import pandas as pd

COLUMNS = (
    "loss_train",
    "recon_train",
    "kl_train",
    "loss_validation",
    "recon_validation",
    "kl_validation",
    "elbo_validation",
    "kl_weight",
    "lr",
    "cells_per_second",
)


def history_frame(rows: list[dict[str, float]], first_epoch: int = 1) -> pd.DataFrame:
    """Table with a row per epoch, index ``epoch`` from ``first_epoch``; all losses in nats per cell.

    ``loss`` = recon + kl_weight · regularised KL. ``elbo_validation`` is the β = 1 bound, higher is better.
    """
    index = pd.RangeIndex(first_epoch, first_epoch + len(rows), name="epoch")
    return pd.DataFrame(rows, index=index, columns=list(COLUMNS), dtype=float)


def epoch_line(epoch: int, row: Mapping[str, float]) -> str:
    """One line for the log: ``epoch 010 | train loss=… recon=… kl=… | val loss=… recon=… kl=… | kl_weight=…``."""

    def part(which: str) -> str:
        return " ".join(f"{name}={row.get(f'{name}_{which}', math.nan):.4f}" for name in ("loss", "recon", "kl"))

    weight = row["kl_weight"]
    return f"epoch {epoch:03d} | train {part('train')} | val {part('validation')} | kl_weight={weight:.4g}"
