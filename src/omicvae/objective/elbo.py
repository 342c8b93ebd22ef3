"""The negative ELBO and its parts, in nats per cell."""

from torch import Tensor

from omicvae._core import LossTerms
from omicvae.objective.kl import KLControl


def elbo_terms(reconstruction_B: Tensor, kl_BK: Tensor, *, control: KLControl, step: int) -> LossTerms:
    """Combine the parts of the objective (Kingma & Welling 2014; β: Higgins et al. 2017).

    loss = mean_n [−log p(x_n | z_n, c_n)] + cost of the KL at this step,

    all in nats per cell; with w · mean_n Σ_j KL_nj as the cost and w = 1 it is the negative ELBO.

    Parameters
    ----------
    reconstruction_B
        −log p(x | z, c) summed over genes, for one draw z of the posterior.
    kl_BK
        Raw KL(q(z_j | x, c) ‖ p(z_j)).
    """
    return LossTerms(reconstruction_B.mean() + control.cost(kl_BK, step), reconstruction_B, kl_BK)
