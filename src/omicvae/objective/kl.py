"""What the objective makes of the KL: a weight over time, free bits, a capacity, or a controller that holds a rate.

The raw KL stays what is reported. A control turns the raw KL (B, K) of a minibatch into a cost in nats per cell.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from omicvae.objective.schedules import SCHEDULES, Schedule

#: ``dimension`` Σ_j max(λ, mean_n KL_nj), ``cell`` mean_n Σ_j max(λ, KL_nj), ``total`` max(Kλ, mean_n KL_n)
FREE_BITS_MODES: Mapping[str, Callable[[Tensor, float], Tensor]] = {
    "dimension": lambda kl_BK, nats: kl_BK.mean(0).clamp_min(nats).sum(),
    "cell": lambda kl_BK, nats: kl_BK.clamp_min(nats).sum(-1).mean(),
    "total": lambda kl_BK, nats: kl_BK.sum(-1).mean().clamp_min(nats * kl_BK.shape[1]),
}


def regularised_kl(kl_BK: Tensor, *, free_bits: float, mode: str) -> Tensor:
    """Scalar KL per cell in nats, with ``free_bits`` nats per dimension that cost nothing to use.

    Without free bits this is mean_n Σ_j KL_nj (Kingma et al. 2016).
    """
    if free_bits == 0.0:
        return kl_BK.sum(-1).mean()
    return FREE_BITS_MODES[mode](kl_BK, free_bits)


class KLControl(ABC):
    """The KL's part of the loss at each step of a run."""

    schedule: Schedule

    @property
    def settled_step(self) -> int:
        """First step from which losses compare with each other."""
        return self.schedule.settled_step

    @abstractmethod
    def weight(self, step: int) -> float:
        """Weight of the KL at update ``step`` (from 0), for the history."""

    @abstractmethod
    def cost(self, kl_BK: Tensor, step: int) -> Tensor:
        """Cost in nats per cell of the raw KL (B, K) at update ``step``, differentiable."""

    def judged(self, kl_BK: Tensor, step: int) -> Tensor:
        """Cost by which validation compares epochs; the cost itself, unless that moves with the training."""
        return self.cost(kl_BK, step)

    def flat_weight(self, step: int) -> float | None:
        """Return w where the cost is w · mean_n Σ_j KL_nj, else None: the one case that needs no autograd."""
        return None

    def columns(self, step: int) -> dict[str, float]:
        """Further figures for the history."""
        return {}

    def observe(self, kl: Tensor) -> None:  # noqa: B027  # most controls learn nothing
        """Learn the mean KL of a minibatch that was trained on, nats per cell."""

    def state(self) -> dict[str, Tensor]:
        """Tensors that a resumed run needs; they may be written to in place."""
        return {}


@dataclass(frozen=True, slots=True)
class WeightedKL(KLControl):
    """w(t) · R(KL) with w(t) = β · schedule(t) and R the sum over dimensions or its free-bits form."""

    schedule: Schedule
    beta: float
    free_bits: float = 0.0
    free_bits_mode: str = "dimension"

    def weight(self, step: int) -> float:
        """β · schedule(t)."""
        return self.beta * self.schedule(step)

    def cost(self, kl_BK: Tensor, step: int) -> Tensor:
        """w(t) · R(KL)."""
        return self.weight(step) * regularised_kl(kl_BK, free_bits=self.free_bits, mode=self.free_bits_mode)

    def flat_weight(self, step: int) -> float | None:
        """w(t) without free bits."""
        return self.weight(step) if self.free_bits == 0 else None


@dataclass(frozen=True, slots=True)
class Capacity(KLControl):
    """γ · |mean_n KL_n − C(t)| with C(t) = C · schedule(t), nats per cell (Burgess et al. 2018)."""

    schedule: Schedule
    capacity: float
    gamma: float

    def weight(self, step: int) -> float:
        """γ."""
        return self.gamma

    def cost(self, kl_BK: Tensor, step: int) -> Tensor:
        """γ · |mean_n KL_n − C(t)|."""
        return self.gamma * (kl_BK.sum(-1).mean() - self.capacity * self.schedule(step)).abs()

    def columns(self, step: int) -> dict[str, float]:
        """C(t), nats per cell."""
        return {"capacity": self.capacity * self.schedule(step)}


class TargetRate(KLControl):
    """β(t) · (mean_n KL_n − R), with β moved so that the KL holds the rate R (after Shao et al. 2020, ControlVAE).

    After each step log β grows by gain · e with e = log(KL / R) within ±1: a KL above the target makes the KL dearer.
    Shao et al. add a proportional part and sum differences of nats; ratios need no tuning to the size of the rate.
    The constant −R changes no gradient; with it the loss is the Lagrangian of "least reconstruction error at the rate
    R". Validation judges by 10 · |KL − R|: β moves, and a nat beyond the rate seldom buys ten of reconstruction.

    Parameters
    ----------
    target
        R, nats per cell, above 0.
    beta
        β at the start.
    """

    GAIN = 0.08
    BOUNDS = (1e-4, 1e4)
    JUDGED = 10.0
    schedule = SCHEDULES["constant"](0, 0, 1, None)  # what validation judges by does not move

    def __init__(self, target: float, beta: float) -> None:
        self.target = target
        self.log_beta = torch.tensor(math.log(beta), dtype=torch.float64)

    def weight(self, step: int) -> float:
        """β at present, whatever ``step``."""
        return math.exp(float(self.log_beta))

    def cost(self, kl_BK: Tensor, step: int) -> Tensor:
        """β · (mean_n KL_n − R)."""
        beta: Tensor = self.log_beta.exp().to(kl_BK.device, kl_BK.dtype)
        return beta * (kl_BK.sum(-1).mean() - self.target)

    def judged(self, kl_BK: Tensor, step: int) -> Tensor:
        """10 · |mean_n KL_n − R|."""
        return self.JUDGED * (kl_BK.sum(-1).mean() - self.target).abs()

    def columns(self, step: int) -> dict[str, float]:
        """R, nats per cell."""
        return {"target_rate": self.target}

    @torch.no_grad()
    def observe(self, kl: Tensor) -> None:
        """Move β; a KL that is not finite moves nothing."""
        error = (kl.detach().double() / self.target).clamp_min(1e-12).log().clamp(-1.0, 1.0).nan_to_num(0.0)
        low, high = (math.log(bound) for bound in self.BOUNDS)
        self.log_beta = self.log_beta.to(kl.device)  # no synchronisation: it stays where the losses are
        self.log_beta.add_(self.GAIN * error).clamp_(low, high)

    def state(self) -> dict[str, Tensor]:
        """Log β."""
        return {"log_beta": self.log_beta}
