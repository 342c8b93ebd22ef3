"""Moving average of the weights over a run (Polyak & Juditsky 1992, with exponential weights)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


class WeightAverage:
    """w̄ ← d w̄ + (1 − d) w after each step, d = min(decay, (1 + t) / (10 + t)).

    Running statistics of batch normalisation are averages already and are used as they are.
    """

    def __init__(self, weights: Sequence[Tensor], decay: float) -> None:
        self._weights = [weight.detach() for weight in weights]
        self.decay = decay
        self.steps = 0
        self.averages = [weight.clone() for weight in self._weights]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the present weights."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        torch._foreach_lerp_(self.averages, self._weights, 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Put the averages in the weights' place for a while."""
        kept = [weight.clone() for weight in self._weights]
        torch._foreach_copy_(self._weights, self.averages)
        try:
            yield
        finally:
            torch._foreach_copy_(self._weights, kept)
