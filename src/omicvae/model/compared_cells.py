"""The cells of two groups that are to be compared, and the replicates that they come from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from omicvae._core import DataError, SettingError, real
from omicvae.data import column_levels


@dataclass(frozen=True, slots=True)
class ComparedCells:
    """Cells of both groups: rows, whether of the group, and code of the replicate (empty without)."""

    rows: NDArray[np.int64]
    group_N: NDArray[np.bool_]
    replicate_N: NDArray[np.int64]
    levels: tuple[Any, Any]

    def units(self) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]:
        """Return the unit of each cell, a replicate in a group; whether a unit is of the group; whose it is."""
        found_U, unit_N = np.unique(2 * self.replicate_N + self.group_N, return_inverse=True)
        return unit_N, found_U % 2 == 1, found_U // 2


def compared_cells(
    adata: AnnData,
    numeric: bool,
    groupby: str,
    replicate_key: str | None,
    groups: Sequence[Any] | None,
    within: Mapping[str, Any] | None,
) -> ComparedCells:
    """Find the cells to compare.

    Raises
    ------
    SettingError, DataError
        Where there are none, or columns and levels are not known.
    """
    chosen_N = np.ones(adata.n_obs, dtype=bool)
    if within is not None and not isinstance(within, Mapping):
        raise SettingError(f"within must be a mapping from column to level or levels, got {within!r}.")
    for key, wanted in (within or {}).items():
        levels, codes_N = column_levels(adata, key)
        names = [wanted] if np.ndim(wanted) == 0 else list(wanted)
        chosen_N &= np.isin(codes_N, [levels.require_code(name, "within") for name in names])
    if groups is not None and (isinstance(groups, str) or len(groups) != 2):
        raise SettingError(f"groups must be two levels, the group and its reference, got {groups!r}.")
    if numeric:
        return _all_cells(groupby, replicate_key, groups, chosen_N)
    levels, codes_N = column_levels(adata, groupby)
    if groups is None:
        present = np.unique(codes_N[chosen_N & (codes_N >= 0)])
        if len(present) != 2:
            shown = [levels.levels[code] for code in present[:20]]
            raise SettingError(f"obs[{groupby!r}] has {len(present)} levels here; pass groups=, two of {shown}.")
        pair = int(present[1]), int(present[0])
    else:
        first, second = (levels.require_code(name, "groups") for name in groups)
        pair = first, second
        if first == second:
            raise SettingError(f"groups names {groups[0]!r} twice; a group is compared with another.")
    chosen_N &= np.isin(codes_N, pair)
    replicate_N = np.zeros(0, np.int64)
    if replicate_key is not None:
        _, replicate_N = column_levels(adata, replicate_key)
        chosen_N &= replicate_N >= 0
        replicate_N = replicate_N[chosen_N]
    group_N = codes_N[chosen_N] == pair[0]
    if group_N.all() or not group_N.any():
        raise DataError(
            f"No cell of {levels.levels[pair[int(group_N.any())]]!r} takes part; look at within= and at missing values."
        )
    return ComparedCells(
        np.flatnonzero(chosen_N), group_N, replicate_N, (levels.levels[pair[0]], levels.levels[pair[1]])
    )


def _all_cells(
    groupby: str, replicate_key: str | None, groups: Sequence[Any] | None, chosen_N: NDArray[np.bool_]
) -> ComparedCells:
    """Cells to decode at two values of a numeric covariate; of neither group."""
    if replicate_key is not None:
        raise SettingError(
            f"{groupby!r} is numeric, and replicates are tested between two groups: cut it into two, "
            "such as adata.obs['old'] = adata.obs['age'] > 60, and pass that column."
        )
    if groups is None:
        raise SettingError(f"{groupby!r} is numeric: pass groups=, two values at which cells are decoded.")
    if not chosen_N.any():
        raise DataError("No cell takes part; look at within=.")
    values = real("groups[0]", groups[0]), real("groups[1]", groups[1])
    rows = np.flatnonzero(chosen_N)
    return ComparedCells(rows, np.zeros(len(rows), bool), np.zeros(0, np.int64), values)
