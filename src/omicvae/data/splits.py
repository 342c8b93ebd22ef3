"""Which cells train, which validate, and how an epoch is cut into minibatches."""

from numbers import Real

import numpy as np
import pandas as pd

from omicvae._core import SettingError, integral


def train_validation_split(
    n_cells: int, *, train_size: float = 0.9, strata: np.ndarray | None = None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Split cells at random: sorted int64 indices of those that train and of those that validate.

    They are disjoint, and together all cells. A validation loss of five cells says little, so small data give more: at
    least min(10, n // 5) cells validate unless ``train_size``, the share in (0, 1] that trains, is 1. One cell trains
    and nothing validates.

    ``strata`` are codes (n,) or (n, D) of categorical covariates. Validation cells are spread over their joint levels
    in proportion, every level that has two cells keeps one to train, and levels of 5 cells or more come first when
    there are few validation cells.

    Raises
    ------
    SettingError
        If ``train_size`` lies outside (0, 1] or the shapes disagree.
    """
    n_cells = integral("n_cells", n_cells, minimum=1)
    if isinstance(train_size, bool) or not isinstance(train_size, Real) or not 0 < train_size <= 1:
        raise SettingError(f"train_size must lie in (0, 1], got {train_size!r}.")
    n_validation = 0
    if train_size < 1:
        n_validation = max(round((1 - float(train_size)) * n_cells), min(10, n_cells // 5))
    n_validation = min(n_validation, n_cells - 1)
    groups = _joint_groups(n_cells, strata)
    order = rng.permutation(n_cells)
    quota = _quotas(np.bincount(groups), n_validation, rng)
    # rank of each cell among the shuffled cells of its group
    shuffled = groups[order]
    rank = pd.Series(shuffled).groupby(shuffled).cumcount().to_numpy()
    chosen = rank < quota[shuffled]
    # groups of one cell leave room that others could not take
    chosen[np.flatnonzero(~chosen)[: n_validation - int(chosen.sum())]] = True
    return np.sort(order[~chosen]), np.sort(order[chosen])


def minibatch_sizes(n_cells: int, batch_size: int) -> np.ndarray:
    """Cut an epoch into nearly equal minibatches, ⌈n / batch_size⌉ of them, so that no cell is left alone.

    BatchNorm has no variance of a single cell. Sizes differ by at most 1 and add up to ``n_cells``; they
    exceed ``batch_size`` (by one) only where a minibatch of one cell would be left otherwise. Only ``n_cells
    = 1`` gives [1].
    """
    n_cells = integral("n_cells", n_cells, minimum=1)
    batch_size = integral("batch_size", batch_size, minimum=1)
    n_batches = min(-(-n_cells // batch_size), max(1, n_cells // 2))
    sizes = np.full(n_batches, n_cells // n_batches, dtype=np.int64)
    sizes[: n_cells % n_batches] += 1
    return sizes


def _joint_groups(n_cells: int, strata: np.ndarray | None) -> np.ndarray:
    if strata is None or np.size(strata) == 0:
        return np.zeros(n_cells, dtype=np.int64)
    table = np.asarray(strata)
    table = table[:, None] if table.ndim == 1 else table
    if table.ndim != 2 or len(table) != n_cells:
        raise SettingError(f"strata must have one row per cell: {n_cells} cells, shape {np.shape(strata)}.")
    _, groups = np.unique(table, axis=0, return_inverse=True)
    return groups.reshape(-1).astype(np.int64)


def _quotas(sizes: np.ndarray, total: int, rng: np.random.Generator) -> np.ndarray:
    """Count validation cells of each group: proportional, at most all but one, largest remainders first."""
    share = total * sizes / sizes.sum()
    quota: np.ndarray = np.floor(share).astype(np.int64)  # below the size, since fewer than all cells validate
    while (left := total - int(quota.sum())) > 0 and (open_ := np.flatnonzero(quota < sizes - 1)).size:
        unserved = (quota[open_] == 0) & (sizes[open_] >= 5)
        priority = np.lexsort((rng.random(open_.size), quota[open_] - share[open_], ~unserved))
        quota[open_[priority[:left]]] += 1
    return quota
