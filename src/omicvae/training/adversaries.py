"""The networks that play against the cVAE during training: what they cost it, and how they learn."""

from abc import ABC, abstractmethod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from omicvae._core import Batch, NotSupportedError, SettingError
from omicvae._core.noise import DrawingFrom
from omicvae.data import CellStore
from omicvae.module import ConditionalVAE
from omicvae.networks import LatentClassifier, RealnessScore
from omicvae.objective import Adversary, Phase, ScheduledObjective, adaptive_weight, confusion_loss, hinge_loss
from omicvae.training.adam import adam, update
from omicvae.training.budget import Optimisation


class AdversaryTraining(nn.Module, ABC):
    """A network with an optimiser of its own, that acts and learns from the first step of its phase on.

    Parameters
    ----------
    network, settings, phase
        What learns, how, and when.

    Attributes
    ----------
    name
        Field of the objective; its columns in the history begin with it.
    other
        Who plays against it on the cVAE's side, whose loss without the weight stands beside its own.
    """

    name: str
    other: str
    optimizer: torch.optim.Optimizer

    def __init__(self, network: nn.Module, settings: Adversary, phase: Phase) -> None:
        super().__init__()
        self.network, self.settings, self.phase = network, settings, phase

    @property
    def figures(self) -> tuple[str, str, str]:
        """Names of its figures in the history: its loss, its weight in the cVAE's loss, and the other side's loss."""
        return f"{self.name}_loss", f"{self.name}_weight", f"{self.other}_loss"

    def configure(self, generator: torch.Generator | None = None) -> None:
        """Make the optimiser, once the network is on its device; ``generator`` draws what it plays with."""
        self.generator = generator
        self.optimizer = adam(self.network, Optimisation(self.settings.learning_rate))

    def cost(
        self, module: ConditionalVAE, batch: Batch, z_BK: Tensor, reconstruction: Tensor, step: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the weighted term of the cVAE's loss, its weight, and the term alone.

        For draws z and their mean −log p(x | z, c).
        """
        term, at = self._term(module, batch, z_BK)
        weight = term.new_tensor(self.phase(step))
        if self.settings.adaptive:
            slopes = [torch.autograd.grad(value, at, retain_graph=True)[0] for value in (reconstruction, term)]
            weight = weight * adaptive_weight(*slopes)
        return weight * term, weight, term

    def learn(self) -> Tensor:
        """Update the adversary on what it last saw; return the loss that it had, before the first of its updates."""
        losses = []
        for _ in range(self.settings.updates):
            losses.append(self._own_loss())
            update(self.optimizer, losses[-1], self.settings.learning_rate)
        return losses[0].detach()

    @abstractmethod
    def _term(self, module: ConditionalVAE, batch: Batch, z_BK: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the cVAE wants small, a scalar, and where its gradient meets that of the reconstruction."""

    @abstractmethod
    def _own_loss(self) -> Tensor:
        """Return what the adversary wants small of what the term saw, differentiable in its own parameters only."""


class LatentAdversaryTraining(AdversaryTraining):
    """Reads categorical covariates from z; see :class:`omicvae.objective.LatentAdversary`.

    Parameters
    ----------
    columns
        Positions of the covariates in ``Batch.categories_BD``.
    shares
        Share of each level of them among the training cells.
    """

    name, other = "adversary", "encoder"

    def __init__(
        self, network: LatentClassifier, settings: Adversary, phase: Phase, columns: list[int], shares: list[Tensor]
    ) -> None:
        super().__init__(network, settings, phase)
        self.columns, self.shares = columns, nn.ParameterList(nn.Parameter(s, requires_grad=False) for s in shares)

    def _term(self, module: ConditionalVAE, batch: Batch, z_BK: Tensor) -> tuple[Tensor, Tensor]:
        self._seen = z_BK.detach(), batch.categories_BD
        guesses = self.network(z_BK)
        terms = [confusion_loss(log_p, s) for log_p, s in zip(guesses, self.shares, strict=True)]
        return torch.stack(terms).sum(), z_BK

    def _own_loss(self) -> Tensor:
        z_BK, codes_BD = self._seen
        guesses = self.network(z_BK)
        losses = [nn.functional.nll_loss(g, codes_BD[:, d]) for g, d in zip(guesses, self.columns, strict=True)]
        return torch.stack(losses).sum()


class DiscriminatorTraining(AdversaryTraining):
    """Tells real from generated cells; see :class:`omicvae.objective.Discriminator`.

    Generated are cells from prior draws, for the covariates and libraries of the minibatch: those from posterior draws
    are hard to tell from real ones already. Sampling counts has no gradient: a sample's is taken to be that of its mean
    (straight through).
    """

    name, other = "discriminator", "generator"

    def _term(self, module: ConditionalVAE, batch: Batch, z_BK: Tensor) -> tuple[Tensor, Tensor]:
        likelihood = module.likelihood
        distribution = module.distribution(module.prior_at(batch).sample(len(batch), self.generator), batch)
        with DrawingFrom(self.generator):
            sample_BG, mean_BG = distribution.sample(), distribution.mean
        generated_BG = likelihood.features(mean_BG + (sample_BG - mean_BG).detach(), batch.library_B1)
        c_BC = module.covariates(batch).detach()
        self._seen = (likelihood.features(batch.x_BG, batch.library_B1), generated_BG.detach(), c_BC)
        # the last layer of the decoder, as Esser et al. (2021) have it
        weight: Tensor = next(iter(module.decoder.heads.values())).weight_IO  # type: ignore[assignment]
        return -self.network(generated_BG, c_BC).mean(), weight

    def _own_loss(self) -> Tensor:
        real_BG, generated_BG, c_BC = self._seen
        return hinge_loss(self.network(real_BG, c_BC), self.network(generated_BG, c_BC))


def make_adversaries(
    scheduled: ScheduledObjective, module: ConditionalVAE, store: CellStore, train: NDArray[np.int64]
) -> list[AdversaryTraining]:
    """Make what trains the adversaries that the objective asks for.

    Raises
    ------
    SettingError
        If a covariate to remove is none of the model's categorical ones.
    NotSupportedError
        For a discriminator of a network that is frozen.
    """
    made: list[AdversaryTraining] = []
    adversary, discriminator = scheduled.objective.adversary, scheduled.objective.discriminator
    if isinstance(adversary, Adversary):
        known = [levels.key for levels in store.schema.categorical]
        chosen = known if adversary.covariates is None else list(adversary.covariates)
        if not chosen or not set(chosen) <= set(known):
            raise SettingError(
                f"adversary takes categorical covariates of the model, {known or 'of which it has none'}; got "
                f"covariates={chosen}. Name them in setup_anndata first."
            )
        columns = [known.index(key) for key in chosen]
        sizes = [len(store.schema.categorical[d].levels) for d in columns]
        counts = [np.bincount(store.codes_ND[train, d], minlength=n) for d, n in zip(columns, sizes, strict=True)]
        shares = [torch.from_numpy(count / count.sum()).float() for count in counts]
        n_latent = module.architecture.n_latent
        network = LatentClassifier(n_latent, sizes, n_hidden=adversary.n_hidden, n_layers=adversary.n_layers)
        made.append(LatentAdversaryTraining(network, adversary, scheduled.phases["adversary"], columns, shares))
    if isinstance(discriminator, Adversary):
        if module.extended:
            raise NotSupportedError(
                "A discriminator is weighed by gradients at the decoder's last weights, which are the reference's and "
                "frozen. Leave it out of the objective of mapped cells."
            )
        inputs, d = (module.n_genes, module.covariates.width), discriminator
        score = RealnessScore(*inputs, n_hidden=d.n_hidden, n_layers=d.n_layers)
        made.append(DiscriminatorTraining(score, discriminator, scheduled.phases["discriminator"]))
    return made
