"""Small helpers of the log-probabilities that torch computes entry by entry."""

from torch import Tensor


def sum_to_shape(gradient_BG: Tensor, like: Tensor) -> Tensor:
    """Sum over cells where the parameter is one per gene."""
    return gradient_BG.sum(0) if like.dim() < gradient_BG.dim() else gradient_BG


def zero_mask(x_BG: Tensor) -> Tensor:
    """1 where the count is zero, else 0, in the dtype of the data."""
    return (x_BG == 0).to(x_BG.dtype)
