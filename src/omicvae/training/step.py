"""The training step in its eager form: the reference that faster forms must agree with."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from omicvae._core import Batch
from omicvae.module import ConditionalVAE, CovariateModel
from omicvae.objective import PlannedObjective, elbo_terms


@dataclass(frozen=True, slots=True)
class StepTotals:
    """Sums over the cells of the steps so far; they stay on the device until they are read."""

    loss: Tensor
    reconstruction: Tensor
    kl: Tensor
    cells: Tensor
    skipped: Tensor

    @classmethod
    def zero(cls, device: torch.device) -> "StepTotals":
        """Start of an epoch."""
        return cls(*(torch.zeros((), dtype=torch.float64, device=device) for _ in range(5)))

    def means(self) -> dict[str, float]:
        """Means per cell in nats over the steps that counted, and the number of skipped ones; reads the device once."""
        loss, reconstruction, kl, cells, skipped = torch.stack(
            [self.loss, self.reconstruction, self.kl, self.cells, self.skipped]
        ).tolist()
        n = cells or math.nan
        return {"loss": loss / n, "recon": reconstruction / n, "kl": kl / n, "skipped": skipped}


def adam(module: nn.Module, rate: float) -> torch.optim.Adam:
    """Adam (Kingma & Ba 2015) in its fused form, which also skips an update when told that it is not finite."""
    return torch.optim.Adam(module.parameters(), lr=rate, betas=(0.9, 0.999), eps=1e-8, fused=True)


def update(optimizer: torch.optim.Optimizer, loss: Tensor, rate: float) -> Tensor:
    """Back-propagate and update; a loss or gradient that is not finite leaves the weights as they were.

    Returns
    -------
    1.0 if the update was skipped, else 0.0, on the device (no synchronisation).
    """
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = [p.grad for p in optimizer.param_groups[0]["params"] if p.grad is not None]
    # one number that is finite only if the loss and every gradient are
    size = torch.stack(torch._foreach_norm(gradients)).sum() + loss.detach()
    bad = (~torch.isfinite(size)).float()
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.found_inf = bad  # type: ignore[attr-defined]  # read by fused Adam
    optimizer.step()
    return bad


class EagerStep:
    """One update of the cVAE on one minibatch, plain autograd, no synchronisation with the host."""

    def __init__(self, module: ConditionalVAE, optimizer: torch.optim.Optimizer, planned: PlannedObjective) -> None:
        self.module = module
        self.optimizer = optimizer
        self.planned = planned

    def __call__(self, batch: Batch, step: int, rate: float, totals: StepTotals) -> None:
        """Train on ``batch`` as update ``step`` (from 0) and add its loss to ``totals``."""
        objective = self.planned.objective
        posterior = self.module.encode(batch)
        terms = elbo_terms(
            self.module.reconstruction(posterior.sample(), batch),
            self.module.prior.kl(posterior),
            kl_weight=self.planned.kl_weight(step),
            free_bits=objective.free_bits,
            free_bits_mode=objective.free_bits_mode,
        )
        bad = update(self.optimizer, terms.loss, rate)
        with torch.no_grad():
            n = len(batch) * (1 - bad)  # a skipped step counts for nothing
            totals.loss.add_(terms.loss.detach().nan_to_num(0.0, 0.0, 0.0) * n)
            totals.reconstruction.add_(terms.reconstruction_B.detach().mean().nan_to_num(0.0, 0.0, 0.0) * n)
            totals.kl.add_(terms.kl_BK.detach().sum(1).mean().nan_to_num(0.0, 0.0, 0.0) * n)
            totals.cells.add_(n)
            totals.skipped.add_(bad)


def null_update(model: CovariateModel, optimizer: torch.optim.Optimizer, batch: Batch, rate: float) -> None:
    """One update of the z-free null model: loss = mean_n −log p(x_n | c_n)."""
    update(optimizer, -model(batch).mean(), rate)
