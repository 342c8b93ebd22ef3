"""Densities of the latent: a Gaussian for each cell, and a mixture for all of them."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from omicvae._core import LatentPosterior

_LOG_2PI = math.log(2 * math.pi)


def _log_normal(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Log N(z; m, v) entry by entry, nats."""
    return -0.5 * ((z - mean).square() * torch.exp(-log_variance) + log_variance + _LOG_2PI)


@dataclass(frozen=True, slots=True)
class DiagonalNormal:
    """p(z | c) = N(m(c), diag v(c)), shapes (B, K), or (K,) where it is the same for all cells."""

    mean_BK: Tensor
    log_variance_BK: Tensor

    def kl(self, posterior: LatentPosterior, z_BK: Tensor) -> Tensor:
        """KL(N(m_q, v_q) ‖ N(m, v)) = ½ ((m_q − m)² / v + r − 1 − log r) with r = v_q / v, nats, shape (B, K)."""
        distance_BK = (posterior.mean_BK - self.mean_BK) * torch.exp(-0.5 * self.log_variance_BK)
        log_ratio_BK = posterior.log_variance_BK - self.log_variance_BK
        # r − 1 − log r cancels near r = 1; expm1 keeps the small KL of a collapsed posterior exact
        return 0.5 * (distance_BK.square() + torch.expm1(log_ratio_BK) - log_ratio_BK)

    def log_prob(self, z_BK: Tensor) -> Tensor:
        """Return log p(z | c) in nats, shape (B,)."""
        return _log_normal(z_BK, self.mean_BK, self.log_variance_BK).sum(-1)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw a latent vector for each of the ``n`` cells, those of the minibatch; shape (n, K)."""
        mean_BK, sd_BK = self.moments()
        noise = torch.empty(n, mean_BK.shape[-1], device=mean_BK.device).normal_(generator=generator)
        return mean_BK + sd_BK * noise

    def component(self, number_B: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each cell, (B, K); there is one component, whatever the random numbers."""
        mean, sd = self.moments()
        shape = (len(number_B), mean.shape[-1])
        return mean.expand(shape), sd.expand(shape)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation by dimension."""
        return self.mean_BK, (0.5 * self.log_variance_BK).exp()


@dataclass(frozen=True, slots=True)
class Mixture:
    """p(z) = 1/P Σ_p N(z; m_p, diag v_p), the same for all cells; shapes (P, K)."""

    mean_PK: Tensor
    log_variance_PK: Tensor

    def kl(self, posterior: LatentPosterior, z_BK: Tensor) -> Tensor:
        """Estimate of the KL at z ~ q, cut into dimensions by the chain rule of p; nats, shape (B, K).

        KL_j = log q(z_j | x, c) − [log p(z_1 … z_j) − log p(z_1 … z_{j−1})], whose sum over j is
        log q(z | x, c) − log p(z): unbiased, and below 0 at some draws. The sum over the first j is an estimate of
        a KL too, that of these dimensions alone; a single entry depends on the order.
        """
        log_q_BK = _log_normal(z_BK, posterior.mean_BK, posterior.log_variance_BK)
        log_p_BK = self._log_mean(self._log_parts(z_BK).cumsum(-1))  # log p(z_1 … z_j)
        return log_q_BK - torch.diff(log_p_BK, dim=1, prepend=torch.zeros_like(log_p_BK[:, :1]))

    def log_prob(self, z_BK: Tensor) -> Tensor:
        """Return log p(z) in nats, shape (B,)."""
        return self._log_mean(self._log_parts(z_BK).sum(-1))

    def _log_parts(self, z_BK: Tensor) -> Tensor:
        return _log_normal(z_BK[:, None], self.mean_PK, self.log_variance_PK)

    def _log_mean(self, parts_BP: Tensor) -> Tensor:
        return torch.logsumexp(parts_BP, dim=1) - math.log(len(self.mean_PK))

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw ``n`` latent vectors, shape (n, K)."""
        which = torch.randint(len(self.mean_PK), (n,), generator=generator, device=self.mean_PK.device)
        return DiagonalNormal(self.mean_PK[which], self.log_variance_PK[which]).sample(n, generator)

    def component(self, number_B: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the components that random whole numbers from 0 choose, (B, K)."""
        which_B = number_B % len(self.mean_PK)
        return self.mean_PK[which_B], (0.5 * self.log_variance_PK[which_B]).exp()

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the whole mixture, shape (K,)."""
        variance_K = self.log_variance_PK.exp().mean(0) + self.mean_PK.var(0, correction=0)
        return self.mean_PK.mean(0), variance_K.sqrt()


#: p(z | c) for the cells of one minibatch, or p(z): its KL from a posterior, log density, draws and moments
LatentDensity = DiagonalNormal | Mixture
