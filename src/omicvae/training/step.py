"""The training step in its eager form: the reference that faster forms must agree with."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from omicvae._core import Batch, SparseRows
from omicvae.module import ConditionalVAE, CovariateModel
from omicvae.objective import PlannedObjective, elbo_terms, total_correlation
from omicvae.training.adam import update
from omicvae.training.opponents import Player, StepView


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


class EagerStep:
    """One update of the cVAE on one minibatch, plain autograd, no synchronisation with the host.

    Parameters
    ----------
    n_cells
        Training cells.
    players
        Opponents; each updates itself after the cVAE, once its phase has begun.
    """

    def __init__(
        self,
        module: ConditionalVAE,
        optimizer: torch.optim.Optimizer,
        planned: PlannedObjective,
        n_cells: int,
        players: Sequence[Player] = (),
    ) -> None:
        self.module, self.optimizer, self.planned = module, optimizer, planned
        self.n_cells, self.players = n_cells, players
        norms = [layer for layer in module.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
        both = [value for norm in norms for value in (norm.running_mean, norm.running_var)]
        self._statistics = [value for value in both if value is not None]

    def parts(self, batch: Batch, sizes: Sequence[int]) -> list[Prepared]:
        """Cut ``batch`` into minibatches of the given sizes; each minibatch is prepared when it is used."""
        return [Prepared(part) for part in batch.cut(sizes)]

    def __call__(self, prepared: Prepared, step: int, rate: float, totals: StepTotals) -> None:
        """Train on a minibatch as update ``step`` (from 0) and add its loss to ``totals``."""
        batch, module, planned = prepared.batch, self.module, self.planned
        statistics = [value.clone() for value in self._statistics]
        posterior = module.encode(batch)
        z_BK = posterior.sample()
        heads = module.decode(z_BK, batch)
        kl_BK = module.prior_at(batch).kl(posterior, z_BK)
        terms = elbo_terms(-module.likelihood.cell_log_prob(batch, heads), kl_BK, control=planned.control, step=step)
        reconstruction, kl, loss = terms.reconstruction_B.mean(), kl_BK.detach().sum() / len(batch), terms.loss
        figures = {"recon": reconstruction, "kl": kl}
        if planned.objective.total_correlation:
            figures["total_correlation"] = total_correlation(z_BK, posterior, self.n_cells)
            loss = loss + planned.total_correlation_weight(step) * figures["total_correlation"]
        view = StepView(batch, z_BK, reconstruction)
        playing = [player for player in self.players if step >= player.phase.start_step]
        for player in playing:
            cost, figures[f"{player.name}_weight"] = player.cost(module, view, step)
            loss = loss + cost
        bad = update(self.optimizer, loss, rate)
        for value, before in zip(self._statistics, statistics, strict=True):
            value.copy_(torch.where(bad > 0, before, value))  # they moved before it was known that the step is bad
        for player in playing:
            figures[f"{player.name}_loss"] = player.learn(view)
        planned.control.observe(torch.where(bad > 0, torch.nan, kl))
        totals.add({"loss": loss, **figures}, len(batch), bad)


def null_update(model: CovariateModel, optimizer: torch.optim.Optimizer, batch: Batch, rate: float) -> None:
    """One update of the z-free null model: loss = mean_n −log p(x_n | c_n)."""
    update(optimizer, -model(batch).mean(), rate)
