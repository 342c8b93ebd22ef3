"""Gaussian priors: the standard normal, and one that depends on the covariates."""

import torch
from torch import Tensor, nn

from omicvae._core import SettingError
from omicvae.priors.base import Encode, Prior
from omicvae.priors.density import DiagonalNormal


class StandardNormal(Prior):
    """p(z) = N(0, I) of K dimensions (Kingma & Welling 2014), the same for all cells."""

    def __init__(self, n_latent: int) -> None:
        super().__init__()
        self._zero_K: Tensor
        self.register_buffer("_zero_K", torch.zeros(n_latent), persistent=False)

    def at(self, c_BC: Tensor, encode: Encode) -> DiagonalNormal:
        """Return N(0, I)."""
        return DiagonalNormal(self._zero_K, self._zero_K)


class ConditionalNormal(Prior):
    """p(z | c) = N(m(c), diag v(c)) (Sohn et al. 2015) with m(c) = M c and log v(c) = V c.

    M and V start at zero, so training starts from N(0, I). There is no constant term: the decoder's first layer
    absorbs a shift and a scale that all cells share. ``width`` is that of the encoding c.

    Raises
    ------
    SettingError
        Without covariates.
    """

    def __init__(self, n_latent: int, width: int) -> None:
        super().__init__()
        if width == 0:
            raise SettingError(
                'prior="conditional" needs covariates, and the model has none of two levels or more. Name some in '
                'setup_anndata (batch_key=, ...), or take prior="standard".'
            )
        self.mean_CK = nn.Parameter(torch.zeros(width, n_latent))
        self.log_variance_CK = nn.Parameter(torch.zeros(width, n_latent))
        self.added_2AK: nn.Parameter | None = None

    def add_covariates(self, n: int) -> None:
        """Take ``n`` further entries at the end of c, without effect at first; their weights lie apart."""
        self.added_2AK = nn.Parameter(self.mean_CK.new_zeros(2, n, self.mean_CK.shape[1]))

    def at(self, c_BC: Tensor, encode: Encode) -> DiagonalNormal:
        """Return N(m(c), diag v(c)) of each cell."""
        known_BC = c_BC[:, : len(self.mean_CK)].contiguous()
        # not in half precision, as mixed-precision training would have it: the KL needs the digits
        with torch.autocast(c_BC.device.type, enabled=False):
            mean_BK, log_variance_BK = known_BC @ self.mean_CK, known_BC @ self.log_variance_CK
            if self.added_2AK is not None:
                mean_more, log_variance_more = c_BC[:, len(self.mean_CK) :] @ self.added_2AK
                mean_BK, log_variance_BK = mean_BK + mean_more, log_variance_BK + log_variance_more
            return DiagonalNormal(mean_BK, log_variance_BK)
