"""Where the positive counts of a minibatch are, and how to work on those alone.

Expression data are mostly zeros. A zero needs one log1p; a positive count needs some sixty operations. So
the kernels treat zeros densely and gather the rest, unless most entries are positive (bulk) or the data are
on a GPU, where a gather of unknown length would stop the queue: there everything is computed densely.
"""

import torch
from torch import Tensor

_MOSTLY_POSITIVE = 0.4
# Temporaries of this many entries stay in a core's cache: at 128 x 20,000 that is several times faster.
_BLOCK = 1 << 16


def positive_entries(x_BG: Tensor, nonzero_M: Tensor | None) -> Tensor | None:
    """Return flat positions of the positive counts, or None if all entries are best treated alike."""
    if x_BG.device.type != "cpu":
        return None
    if nonzero_M is None:
        nonzero_M = x_BG.reshape(-1).nonzero().squeeze(1)
    return None if nonzero_M.numel() > _MOSTLY_POSITIVE * x_BG.numel() else nonzero_M


def take(values: Tensor, positions_M: Tensor) -> Tensor:
    """Gather from a (B, G) tensor; shape (M,)."""
    return values.reshape(-1).index_select(0, positions_M)


def take_by_gene(values: Tensor, positions_M: Tensor, columns_M: Tensor) -> Tensor:
    """Gather from a (G,) or (B, G) tensor; shape (M,)."""
    return values.index_select(0, columns_M) if values.dim() == 1 else take(values, positions_M)


def put(target_BG: Tensor, positions_M: Tensor, values_M: Tensor) -> None:
    """Write (M,) values into a contiguous (B, G) tensor, in place."""
    target_BG.view(-1).scatter_(0, positions_M, values_M)


def sum_to_shape(gradient_BG: Tensor, like: Tensor) -> Tensor:
    """Sum over cells where the parameter is one per gene."""
    return gradient_BG.sum(0) if like.dim() < gradient_BG.dim() else gradient_BG


def blocks(values: Tensor) -> list[slice]:
    """Cut the first axis so that one piece fits a CPU's cache; one piece on other devices."""
    length = values.shape[0]
    step = length
    if values.device.type == "cpu":
        step = max(1, _BLOCK * length // max(1, values.numel()))
    return [slice(start, start + step) for start in range(0, length, max(1, step))]


def rows_of(parameter: Tensor, rows: slice) -> Tensor:
    """Cells ``rows`` of a (B, G) parameter; a (G,) parameter as it is."""
    return parameter if parameter.dim() == 1 else parameter[rows]


def zero_mask(x_BG: Tensor) -> Tensor:
    """1 where the count is zero, else 0, in the dtype of the data."""
    return torch.eq(x_BG, 0).to(x_BG.dtype)
