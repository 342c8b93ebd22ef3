"""The seam of training: what a step is, what it gets, and where it adds what it found."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from omicvae._core import Batch, SparseRows


class StepTotals:
    """Sums over the cells of the steps so far; they stay on the device until they are read.

    Parameters
    ----------
    further
        Names of figures beside loss, reconstruction and KL.
    """

    def __init__(self, device: torch.device, further: Sequence[str] = ()) -> None:
        self._names = ("loss", "recon", "kl", *further)
        self._sums = torch.zeros(len(self._names) + 1, dtype=torch.float64, device=device)
        self._host_sums = [0.0] * len(self._sums)
        self._bad: list[Tensor | float] = []

    def add(self, figures: Mapping[str, Tensor], n_cells: int, bad: Tensor) -> None:
        """Count a step; one that was skipped (``bad`` is 1) for nothing."""
        zero = self._sums.new_zeros(())
        means = torch.stack([figures[name].detach().double() if name in figures else zero for name in self._names])
        n = n_cells * (1 - bad.double())
        self._sums += torch.cat([means.nan_to_num(0.0, 0.0, 0.0) * n, n[None]])
        self._bad.append(bad)

    def add_numbers(self, loss: float, reconstruction: float, kl: float, n_cells: int) -> None:
        """Count a step on the host that was not skipped."""
        for i, mean in enumerate((loss, reconstruction, kl, 1.0)):
            self._host_sums[i] += mean * n_cells
        self._bad.append(0.0)

    def skip(self) -> None:
        """Count a step on the host that was skipped."""
        self._bad.append(1.0)

    def means(self) -> dict[str, float]:
        """Means per cell over the steps that counted, losses in nats; reads the device once."""
        *sums, cells = (here + there for here, there in zip(self._host_sums, self._sums.tolist(), strict=True))
        return {name: value / (cells or math.nan) for name, value in zip(self._names, sums, strict=True)}

    def bad_steps(self) -> list[int]:
        """Return which of the steps since the last call were skipped; reads the device once."""
        flags = torch.stack([torch.as_tensor(bad, device=self._sums.device).double() for bad in self._bad])
        self._bad.clear()
        return torch.nonzero(flags).flatten().tolist()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A minibatch and, where they are made ahead, the data and the covariates as the network sees them."""

    batch: Batch
    x: Tensor | SparseRows | None = None
    c_BC: Tensor | None = None


class Step(Protocol):
    """One update of the cVAE on one minibatch; :func:`omicvae.training.choice.choose_step` picks the form for a run."""

    def parts(self, batch: Batch, sizes: Sequence[int]) -> list[Prepared]:
        """Cut ``batch`` into minibatches of the given sizes, and prepare what is made faster at one go."""
        ...

    def __call__(self, prepared: Prepared, step: int, learning_rate: float, totals: StepTotals) -> None:
        """Train on a minibatch as update ``step`` (from 0) and add its loss to ``totals``."""
        ...
