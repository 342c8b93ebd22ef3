"""The training step by autograd: covers everything, and is the reference for the explicit step."""

from collections.abc import Sequence

import torch
from torch import nn

from omicvae._core import Batch
from omicvae.module import ConditionalVAE
from omicvae.objective import ScheduledObjective, total_correlation
from omicvae.training.adam import update
from omicvae.training.adversaries import AdversaryTraining
from omicvae.training.step import Prepared, StepTotals


class AutogradStep:
    """One update of the cVAE on one minibatch, plain autograd, no synchronisation with the host.

    Parameters
    ----------
    n_cells
        Training cells.
    adversaries
        Their training; each updates itself after the cVAE, once its phase has begun.
    generator
        Draws z; None for torch's global one.
    """

    def __init__(
        self,
        module: ConditionalVAE,
        optimizer: torch.optim.Optimizer,
        scheduled: ScheduledObjective,
        n_cells: int,
        adversaries: Sequence[AdversaryTraining] = (),
        generator: torch.Generator | None = None,
    ) -> None:
        self.module, self.optimizer, self.scheduled = module, optimizer, scheduled
        self.n_cells, self.adversaries, self.generator = n_cells, adversaries, generator
        norms = [layer for layer in module.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
        both = [value for norm in norms for value in (norm.running_mean, norm.running_var)]
        self._statistics = [value for value in both if value is not None]

    def parts(self, batch: Batch, sizes: Sequence[int]) -> list[Prepared]:
        """Cut ``batch`` into minibatches of the given sizes; each minibatch is prepared when it is used."""
        return [Prepared(part) for part in batch.cut(sizes)]

    def __call__(self, prepared: Prepared, step: int, learning_rate: float, totals: StepTotals) -> None:
        """Train on a minibatch as update ``step`` (from 0) and add its loss to ``totals``."""
        batch, module, scheduled = prepared.batch, self.module, self.scheduled
        statistics = [value.clone() for value in self._statistics]
        posterior = module.encode(batch)
        z_BK = posterior.sample(self.generator)
        heads = module.decode(z_BK, batch)
        kl_BK = module.prior_at(batch).kl(posterior, z_BK)
        reconstruction, kl = -module.likelihood.cell_log_prob(batch, heads).mean(), kl_BK.detach().sum() / len(batch)
        loss = reconstruction + scheduled.control.cost(kl_BK, step)
        figures = {"recon": reconstruction, "kl": kl}
        if scheduled.objective.total_correlation:
            figures["total_correlation"] = total_correlation(z_BK, posterior, self.n_cells)
            loss = loss + scheduled.total_correlation_weight(step) * figures["total_correlation"]
        seen = (module, batch, z_BK, reconstruction)
        playing = [adversary for adversary in self.adversaries if step >= adversary.phase.start_step]
        for adversary in playing:
            _, its_weight, other_loss = adversary.figures
            cost, figures[its_weight], figures[other_loss] = adversary.cost(*seen, step)
            loss = loss + cost
        bad = update(self.optimizer, loss, learning_rate)
        for value, before in zip(self._statistics, statistics, strict=True):
            value.copy_(torch.where(bad > 0, before, value))  # they moved before it was known that the step is bad
        for adversary in playing:
            figures[adversary.figures[0]] = adversary.learn()
        scheduled.control.observe(torch.where(bad > 0, torch.nan, kl))
        totals.add({"loss": loss, **figures}, len(batch), bad)
