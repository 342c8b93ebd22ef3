"""Adversarial terms: when they act, how strongly, and the losses of both players. Pure functions and settings."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from omicvae._core import SettingError, check_fields, flag, integral, real
from omicvae.objective.settings import Settings

#: the adaptive weight is kept within 0 and this, where one gradient all but vanishes (Esser et al. 2021 take 1e4)
LARGEST_ADAPTIVE_WEIGHT = 1e4


@dataclass(frozen=True, slots=True)
class Phase:
    """weight · min(1, (t − start) / ramp) from ``start_step`` on, exactly 0 before."""

    weight: float
    start_step: int
    ramp_steps: int

    @property
    def settled_step(self) -> int:
        """First step at the full weight."""
        return self.start_step + self.ramp_steps

    def __call__(self, step: int) -> float:
        """Weight at update ``step`` (from 0)."""
        if step < self.start_step:
            return 0.0
        return self.weight * (
            1.0 if step >= self.settled_step else (step - self.start_step + 1) / (self.ramp_steps + 1)
        )


@dataclass(frozen=True, slots=True)
class Adversary(Settings):
    """Settings of a network that plays against the cVAE.

    Attributes
    ----------
    weight
        Strength; with ``adaptive`` relative to the reconstruction's gradient, so that 1 means equal.
    start, start_epochs, start_steps
        When it begins to learn and to act: fraction of the planned run, epochs or steps; give at most one.
    ramp
        Fraction of the planned run over which its weight rises after the start.
    adaptive
        Multiply the weight by ‖∇ reconstruction‖ / ‖∇ adversarial term‖, within 0 and 10⁴ (Esser et al. 2021).
    n_hidden, n_layers, learning_rate, updates
        The network and its Adam; its updates for one of the cVAE.
    """

    weight: float = 1.0
    start: float | None = None
    start_epochs: float | None = None
    start_steps: int | None = None
    ramp: float = 0.1
    adaptive: bool = True
    n_hidden: int = 128
    n_layers: int = 1
    learning_rate: float = 1e-3
    updates: int = 1

    #: start as a fraction of the run where none is given
    DEFAULT_START = 0.0

    def __post_init__(self) -> None:
        check_fields(self, real, "weight", "learning_rate", minimum=0)
        check_fields(self, integral, "n_hidden", "n_layers", "updates", minimum=1)
        self.check_length("start", "start")
        check_fields(self, real, "ramp", minimum=0, maximum=1)
        check_fields(self, flag, "adaptive")

    def phase(self, total_steps: int, steps_per_epoch: int) -> Phase:
        """Fix the timing for a run of ``total_steps``.

        Raises
        ------
        SettingError
            If the run would end before the adversary acts at its full weight.
        """
        start = self.in_steps("start", self.DEFAULT_START, total_steps, steps_per_epoch)
        phase = Phase(self.weight, start, round(self.ramp * total_steps))
        if phase.settled_step >= total_steps:
            raise SettingError(
                f"{type(self).__name__} would act at its full weight from step {phase.settled_step} on (start "
                f"{start} + ramp {phase.ramp_steps}), but the planned run ends after {total_steps} steps "
                f"({steps_per_epoch} an epoch). Start earlier, shorten the ramp or train longer."
            )
        return phase


@dataclass(frozen=True, slots=True)
class LatentAdversary(Adversary):
    """A classifier that reads categorical covariates from z; the encoder learns to give it nothing to read.

    The classifier minimises its cross-entropy −mean_n log p(c_n | z_n). The encoder minimises the mean over cells of
    KL(p(c) ‖ p(c | z_n)), p(c) the shares of the levels: 0 where z says nothing. (Ganin et al. 2016 turn the sign of
    the classifier's gradient; that loss has no lower bound and rewards a confidently wrong guess.)

    Attributes
    ----------
    covariates
        Categorical covariates to remove; None for all that the model has.

    See :class:`Adversary` for the others. The weight is in nats of loss for a nat of that divergence, by default 5, and
    ``adaptive`` is off: the divergence, and its gradient, go to 0 where there is nothing left to remove, and a ratio of
    gradients would then magnify noise. A classifier that lags behind the encoder can be deceived rather than starved,
    so it has several updates at a high rate (``benchmarks/adversary.py``).
    """

    weight: float = 5.0
    adaptive: bool = False
    learning_rate: float = 1e-2
    updates: int = 5
    covariates: Sequence[str] | None = None

    def __post_init__(self) -> None:
        super(LatentAdversary, self).__post_init__()
        if self.covariates is not None:
            names = (self.covariates,) if isinstance(self.covariates, str) else tuple(self.covariates)
            object.__setattr__(self, "covariates", names)


@dataclass(frozen=True, slots=True)
class Discriminator(Adversary):
    """A network that tells real from generated cells, in the second phase of a VAE-GAN (Larsen et al. 2016).

    Until the start there is only the ELBO, and the discriminator's loss is 0. Then it learns, from log-normalised
    expression and covariates, by the hinge loss mean max(0, 1 − D(real)) + mean max(0, 1 + D(generated)), and the cVAE
    adds −weight · mean D(generated). Generated cells are decoded from prior draws.

    See :class:`Adversary` for the settings. With the default weight of 0.3 the likelihood loses up to 0.3 %
    (``benchmarks/discriminator.py``).
    """

    weight: float = 0.3

    DEFAULT_START = 0.5


def hinge_loss(real_B: Tensor, generated_B: Tensor) -> Tensor:
    """Return mean max(0, 1 − D(real)) + mean max(0, 1 + D(generated)) (Lim & Ye 2017); 2 for a D that says 0."""
    return torch.relu(1 - real_B).mean() + torch.relu(1 + generated_B).mean()


def confusion_loss(log_probabilities_BL: Tensor, shares_L: Tensor) -> Tensor:
    """Return mean_n KL(p(c) ‖ p(c | z_n)) in nats: 0 where every cell is given the shares p(c) of the levels."""
    known = shares_L > 0
    shares = shares_L[known]
    return (shares * (shares.log() - log_probabilities_BL[:, known])).sum(-1).mean()


def adaptive_weight(reconstruction_gradient: Tensor, adversarial_gradient: Tensor) -> Tensor:
    """Return ‖∇ reconstruction‖ / ‖∇ adversarial term‖ within 0 and 10⁴ (Esser et al. 2021), without a gradient."""
    ratio = reconstruction_gradient.norm() / adversarial_gradient.norm().clamp_min(1e-12)
    return ratio.detach().clamp(0.0, LARGEST_ADAPTIVE_WEIGHT)
