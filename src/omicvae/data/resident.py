"""The cells of a store in the memory of a GPU: minibatches are made there, and only row numbers cross over."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from omicvae._core import Batch

if TYPE_CHECKING:
    from omicvae.data.store import CellStore

#: share of a GPU's free memory that the cells may take
_MOST_MEMORY = 0.5


class ResidentCells:
    """The arrays of a store on a device, 3 to 8 bytes a non-zero.

    Every row is read as far as the longest one reaches, so shapes depend on the number of rows alone and nothing waits
    for the device.
    """

    def __init__(self, store: "CellStore", device: torch.device) -> None:
        values = store.values
        if len(store.large_values):
            values = values.astype(np.uint16)
            values[store.large_positions] = store.large_values
        self._n_genes, self._device = store.n_genes, device
        self._starts = torch.from_numpy(store.indptr).to(device)
        self._columns, self._values = _on_device(store.columns, device), _on_device(values, device)
        self._steps = torch.arange(int(np.diff(store.indptr).max()), device=device)
        self._cells = [torch.from_numpy(array).to(device) for array in store.per_cell()]

    @staticmethod
    def fit(store: "CellStore", device: torch.device) -> bool:
        """Whether the device is a GPU with memory enough and to spare."""
        if device.type != "cuda":
            return False
        free, _ = torch.cuda.mem_get_info(device)
        return 2 * store.nbytes < _MOST_MEMORY * free  # counts may be wider there

    def batch(self, rows: np.ndarray) -> Batch:
        """Return the cells ``rows`` (int64), in that order, as a dense minibatch."""
        rows_B = torch.from_numpy(rows).to(self._device)
        x_BG = torch.zeros(len(rows), self._n_genes, device=self._device)
        if len(self._values):
            place_BL = self._starts[rows_B, None] + self._steps
            used_BL = place_BL < self._starts[rows_B + 1, None]
            place_BL.clamp_(max=len(self._values) - 1)
            value_BL = torch.where(used_BL, _numbers(self._values[place_BL]).float(), 0.0)
            # what lies beyond the end of a row adds 0 to some gene
            x_BG.scatter_add_(1, _numbers(self._columns[place_BL]).long(), value_BL)
        return Batch(x_BG, *(tensor[rows_B] for tensor in self._cells))


def _on_device(array: np.ndarray, device: torch.device) -> Tensor:
    """Return the array on a device, uint16 as its bits: few operations of torch take it."""
    return torch.from_numpy(array.view(np.int16) if array.dtype == np.uint16 else array).to(device)


def _numbers(entries: Tensor) -> Tensor:
    return entries.int() & 0xFFFF if entries.dtype == torch.int16 else entries
