"""Regularised KL: free bits (Kingma et al. 2016). The raw KL stays what is reported."""

from collections.abc import Callable, Mapping

from torch import Tensor


def _per_dimension(kl_BK: Tensor, nats: float) -> Tensor:
    return kl_BK.mean(0).clamp_min(nats).sum()


def _per_cell(kl_BK: Tensor, nats: float) -> Tensor:
    return kl_BK.clamp_min(nats).sum(-1).mean()


def _total(kl_BK: Tensor, nats: float) -> Tensor:
    return kl_BK.sum(-1).mean().clamp_min(nats * kl_BK.shape[1])


#: ``dimension`` Σ_j max(λ, mean_n KL_nj), ``cell`` mean_n Σ_j max(λ, KL_nj), ``total`` max(Kλ, mean_n KL_n)
FREE_BITS_MODES: Mapping[str, Callable[[Tensor, float], Tensor]] = {
    "dimension": _per_dimension,
    "cell": _per_cell,
    "total": _total,
}


def regularised_kl(kl_BK: Tensor, *, free_bits: float, mode: str) -> Tensor:
    """Scalar KL per cell in nats, with ``free_bits`` nats per dimension that cost nothing to use.

    Without free bits this is mean_n Σ_j KL_nj.
    """
    if free_bits == 0.0:
        return kl_BK.sum(-1).mean()
    return FREE_BITS_MODES[mode](kl_BK, free_bits)
