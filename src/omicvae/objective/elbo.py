"""The negative ELBO and its parts, in nats per cell."""

from torch import Tensor

from omicvae._core import LossTerms
from omicvae.objective.kl import regularised_kl


def elbo_terms(
    reconstruction_B: Tensor,
    kl_BK: Tensor,
    *,
    kl_weight: float,
    free_bits: float = 0.0,
    free_bits_mode: str = "dimension",
) -> LossTerms:
    """Combine the parts of the objective (Kingma & Welling 2014; β: Higgins et al. 2017).

    loss = mean_n [−log p(x_n | z_n, c_n)] + kl_weight · R(KL),

    with R the sum over dimensions and mean over cells, or its free-bits form. All terms in nats per cell.

    Parameters
    ----------
    reconstruction_B
        −log p(x | z, c) summed over genes, for one draw z of the posterior.
    kl_BK
        Raw KL(q(z_j | x, c) ‖ p(z_j)).
    """
    kl = regularised_kl(kl_BK, free_bits=free_bits, mode=free_bits_mode)
    return LossTerms(reconstruction_B.mean() + kl_weight * kl, reconstruction_B, kl_BK)
