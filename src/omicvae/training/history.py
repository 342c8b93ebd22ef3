"""The training history: one row per epoch."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
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


def epoch_index(first: int, n: int) -> "pd.Index[int]":
    """Return the numbers of ``n`` epochs; no ``RangeIndex``, to whose numbers reticulate adds 1 in R."""
    return pd.Index(np.arange(first, first + n), name="epoch")


def history_frame(rows: Sequence[Mapping[str, float]], first_epoch: int = 1) -> pd.DataFrame:
    """Table with a row per epoch, index ``epoch`` from ``first_epoch``; all losses in nats per cell.

    ``loss`` = recon + cost of the KL + further terms. ``elbo_validation`` is the β = 1 bound, higher is better. Columns
    beside the usual ten stand where a run has them: of a capacity or target rate, total correlation and adversaries,
    and ``skipped_steps`` where there were any.
    """
    index = epoch_index(first_epoch, len(rows))
    further = dict.fromkeys(name for row in rows for name in row if name not in COLUMNS)
    frame = pd.DataFrame(list(rows), index=index, columns=[*COLUMNS, *further], dtype=float)
    return frame.fillna({"skipped_steps": 0.0})


def epoch_line(epoch: int, row: Mapping[str, float], notes: Sequence[str] = ()) -> str:
    """One line for the log: ``epoch 010 | train loss=… recon=… kl=… | val loss=… recon=… kl=… | kl_weight=…``."""

    def part(which: str) -> str:
        return " ".join(f"{name}={row.get(f'{name}_{which}', math.nan):.4f}" for name in ("loss", "recon", "kl"))

    weight = f"kl_weight={row['kl_weight']:.4g}"
    return " | ".join([f"epoch {epoch:03d}", f"train {part('train')}", f"val {part('validation')}", weight, *notes])


def short_line(epoch: int, row: Mapping[str, float]) -> str:
    """Say the same beside a bar: ``epoch 010 train 123.45 val 125.67 KL 8.901``, at most 57 characters."""
    named = (("train", "loss_train", 5), ("val", "loss_validation", 5), ("KL", "kl_train", 4))
    parts = [f"{name} {row[key]:.{digits}g}" for name, key, digits in named if not math.isnan(row.get(key, math.nan))]
    return " ".join([f"epoch {epoch:03d}", *parts])
