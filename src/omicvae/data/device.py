"""The cells of a store in the memory of a GPU: minibatches are made there, and only row numbers cross over."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from omicvae._core import Batch, SparseRows

#: share of a GPU's free memory that the cells may take
_MOST_MEMORY = 0.5


def has_room(nbytes: int, device: torch.device) -> bool:
    """Whether the device is a GPU with memory enough, and to spare, for a store of this size."""
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return 2 * nbytes < _MOST_MEMORY * free  # counts may be wider there


class DeviceCells:
    """Row pointers, columns and values of a store's non-zeros on a device, and what a minibatch holds beside them.

    They take 3 to 8 bytes a non-zero there; the host does not wait for the device.
    """

    def __init__(
        self,
        indptr: np.ndarray,
        columns: np.ndarray,
        values: np.ndarray,
        *,
        n_genes: int,
        per_cell: Sequence[np.ndarray],
        device: torch.device,
    ) -> None:
        self._device, self._n_genes, self._indptr = device, n_genes, indptr
        self._starts = torch.from_numpy(indptr).to(device)
        self._columns, self._values = _on_device(columns, device), _on_device(values, device)
        self._cells = [torch.from_numpy(array).to(device) for array in per_cell]

    def batch(self, rows: np.ndarray) -> Batch:
        """Return the cells ``rows`` (int64), in that order, as a minibatch made of their non-zeros."""
        given = torch.from_numpy(rows)
        rows_B = (given.pin_memory() if self._device.type == "cuda" else given).to(self._device, non_blocking=True)
        n_entries = int((self._indptr[rows + 1] - self._indptr[rows]).sum())
        length_B = self._starts[rows_B + 1] - self._starts[rows_B]
        end_B = length_B.cumsum(0)
        # place in the store = place in the minibatch + shift of the row
        shift_M = (self._starts[rows_B] - end_B + length_B).repeat_interleave(length_B, output_size=n_entries)
        place_M = shift_M + torch.arange(n_entries, device=self._device)
        columns_M, values_M = _numbers(self._columns[place_M]).int(), _numbers(self._values[place_M]).float()
        x = SparseRows(torch.cat([end_B.new_zeros(1), end_B]), columns_M, values_M, self._n_genes)
        library_B1, categories_BD, continuous_BV = (tensor[rows_B] for tensor in self._cells)
        return Batch(x, library_B1, categories_BD, continuous_BV)


def _on_device(array: np.ndarray, device: torch.device) -> Tensor:
    """Return the array on a device, uint16 as its bits: few operations of torch take it."""
    return torch.from_numpy(array.view(np.int16) if array.dtype == np.uint16 else array).to(device)


def _numbers(entries: Tensor) -> Tensor:
    return entries.int() & 0xFFFF if entries.dtype == torch.int16 else entries
