"""The training step in its eager form: the reference that faster forms must agree with."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from omicvae._core import Batch, LossTerms, SparseRows
from omicvae.module import ConditionalVAE, CovariateModel
from omicvae.objective import PlannedObjective, elbo_terms
from omicvae.training.adam import update


class StepTotals:
    """Sums over the cells of the steps so far; they stay on the device until they are read."""

    def __init__(self, device: torch.device) -> None:
        # loss, reconstruction, KL, cells, skipped steps
        self._sums = torch.zeros(5, dtype=torch.float64, device=device)

    def add(self, terms: LossTerms, n_cells: int, skipped: Tensor) -> None:
        """Count a step; a skipped one for nothing."""
        parts = (terms.loss, terms.reconstruction_B.mean(), terms.kl_BK.sum() / n_cells)
        means = torch.stack([part.detach().double() for part in parts]).nan_to_num(0.0, 0.0, 0.0)
        n = n_cells * (1 - skipped.double())
        self._sums += torch.cat([means * n, torch.stack([n, skipped.double()])])

    def add_numbers(self, loss: float, reconstruction: float, kl: float, n_cells: int) -> None:
        """Count a step on the host whose loss is finite."""
        self._sums += torch.tensor(
            [loss * n_cells, reconstruction * n_cells, kl * n_cells, n_cells, 0.0], dtype=torch.float64
        )

    def skip(self) -> None:
        """Count a step that was skipped."""
        self._sums[4] += 1

    def means(self) -> dict[str, float]:
        """Means per cell in nats over the steps that counted, and the number of skipped ones; reads the device once."""
        loss, reconstruction, kl, cells, skipped = self._sums.tolist()
        n = cells or math.nan
        return {"loss": loss / n, "recon": reconstruction / n, "kl": kl / n, "skipped": skipped}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A minibatch and, where they are made ahead, the data and the covariates as the network sees them."""

    batch: Batch
    x: Tensor | SparseRows | None = None
    c_BC: Tensor | None = None


def ranges(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield start and stop of consecutive ranges of the given sizes."""
    return pairwise(accumulate(sizes, initial=0))


class EagerStep:
    """One update of the cVAE on one minibatch, plain autograd, no synchronisation with the host."""

    def __init__(self, module: ConditionalVAE, optimizer: torch.optim.Optimizer, planned: PlannedObjective) -> None:
        self.module = module
        self.optimizer = optimizer
        self.planned = planned

    def parts(self, batch: Batch, sizes: Sequence[int]) -> list[Prepared]:
        """Cut ``batch`` into minibatches of the given sizes; each minibatch is prepared when it is used."""
        return [Prepared(batch.part(start, stop)) for start, stop in ranges(sizes)]

    def __call__(self, prepared: Prepared, step: int, rate: float, totals: StepTotals) -> None:
        """Train on a minibatch as update ``step`` (from 0) and add its loss to ``totals``."""
        batch = prepared.batch
        objective = self.planned.objective
        posterior = self.module.encode(batch)
        z_BK = posterior.sample()
        terms = elbo_terms(
            self.module.reconstruction(z_BK, batch),
            self.module.prior_at(batch).kl(posterior, z_BK),
            kl_weight=self.planned.kl_weight(step),
            free_bits=objective.free_bits,
            free_bits_mode=objective.free_bits_mode,
        )
        bad = update(self.optimizer, terms.loss, rate)
        totals.add(terms, len(batch), bad)


def null_update(model: CovariateModel, optimizer: torch.optim.Optimizer, batch: Batch, rate: float) -> None:
    """One update of the z-free null model: loss = mean_n −log p(x_n | c_n)."""
    update(optimizer, -model(batch).mean(), rate)
