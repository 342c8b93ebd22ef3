"""The training history: one row per epoch."""

import math
from collections.abc import Mapping, Sequence

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


def history_frame(rows: Sequence[Mapping[str, float]], first_epoch: int = 1) -> pd.DataFrame:
    """Table with a row per epoch, index ``epoch`` from ``first_epoch``; all losses in nats per cell.

    ``loss`` = recon + cost of the KL + further terms. ``elbo_validation`` is the β = 1 bound, higher is better. Columns
    beside the usual ten stand where a run has them: of a capacity or target rate, total correlation and adversaries,
    and ``skipped_steps`` where there were any.
    """
    index = pd.RangeIndex(first_epoch, first_epoch + len(rows), name="epoch")
    further = dict.fromkeys(name for row in rows for name in row if name not in COLUMNS)
    frame = pd.DataFrame(list(rows), index=index, columns=[*COLUMNS, *further], dtype=float)
    return frame.fillna({"skipped_steps": 0.0})


def epoch_line(epoch: int, row: Mapping[str, float], notes: Sequence[str] = ()) -> str:
    """One line for the log: ``epoch 010 | train loss=… recon=… kl=… | val loss=… recon=… kl=… | kl_weight=…``."""

    def part(which: str) -> str:
        return " ".join(f"{name}={row.get(f'{name}_{which}', math.nan):.4f}" for name in ("loss", "recon", "kl"))

    weight = f"kl_weight={row['kl_weight']:.4g}"
    return " | ".join([f"epoch {epoch:03d}", f"train {part('train')}", f"val {part('validation')}", weight, *notes])
