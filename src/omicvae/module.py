"""The conditional VAE as a network: encode, decode, sample. It knows no loss."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from omicvae._core import Batch, FeatureMoments, LatentPosterior, SettingError, choose, integral
from omicvae.likelihoods import Likelihood
from omicvae.networks import (
    ACTIVATIONS,
    COVARIATE_ENCODINGS,
    NORMALIZATIONS,
    CovariateEncoding,
    Decoder,
    Encoder,
)
from omicvae.priors import Prior


@dataclass(frozen=True, slots=True)
class Architecture:
    """Sizes and choices of the network; JSON-able, saved with the weights.

    Attributes
    ----------
    n_latent, n_hidden, n_layers
        Latent dimensions K, width and number of hidden layers of encoder and decoder.
    dropout_rate
        Dropout in the encoder, in [0, 1).
    normalization, activation, covariate_encoding
        Keys of ``NORMALIZATIONS``, ``ACTIVATIONS`` and ``COVARIATE_ENCODINGS``.
    encode_covariates, decode_covariates
        Whether covariates enter the encoder and the decoder.
    deeply_inject_covariates
        Covariates enter every layer, else the first alone.
    """

    n_latent: int = 10
    n_hidden: int = 128
    n_layers: int = 1
    dropout_rate: float = 0.1
    normalization: str = "batch"
    activation: str = "relu"
    covariate_encoding: str = "one_hot"
    encode_covariates: bool = True
    decode_covariates: bool = True
    deeply_inject_covariates: bool = True

    def __post_init__(self) -> None:
        for name in ("n_latent", "n_hidden", "n_layers"):
            object.__setattr__(self, name, integral(name, getattr(self, name), minimum=1))
        if not 0 <= self.dropout_rate < 1:
            raise SettingError(f"dropout_rate must lie in [0, 1), got {self.dropout_rate}.")
        choose("normalization", self.normalization, NORMALIZATIONS)
        choose("activation", self.activation, ACTIVATIONS)
        choose("covariate_encoding", self.covariate_encoding, COVARIATE_ENCODINGS)


class ConditionalVAE(nn.Module):
    """p(x | z, c) p(z) with the amortised posterior q(z | x, c) (Kingma & Welling 2014; Sohn et al. 2015).

    Parameters
    ----------
    likelihood, prior
        They own their parameters; the module connects them.
    n_levels, n_continuous
        Levels of each categorical covariate, number of continuous covariates.
    """

    def __init__(
        self,
        likelihood: Likelihood,
        prior: Prior,
        architecture: Architecture,
        *,
        n_genes: int,
        n_levels: Sequence[int] = (),
        n_continuous: int = 0,
    ) -> None:
        super().__init__()
        a = architecture
        self.architecture = a
        self.n_genes = n_genes
        self.likelihood = likelihood
        self.prior = prior
        self.covariates = CovariateEncoding(n_levels, n_continuous, encoding=a.covariate_encoding)
        width = self.covariates.width
        shared = {
            "normalization": a.normalization,
            "activation": a.activation,
            "deeply_inject": a.deeply_inject_covariates,
        }
        self.encoder = Encoder(
            n_genes,
            a.n_latent,
            a.n_hidden,
            a.n_layers,
            n_covariates=width if a.encode_covariates else 0,
            dropout_rate=a.dropout_rate,
            **shared,
        )
        self.decoder = Decoder(
            a.n_latent,
            n_genes,
            likelihood.heads,
            a.n_hidden,
            a.n_layers,
            n_covariates=width if a.decode_covariates else 0,
            dropout_rate=0.0,
            **shared,
        )

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.encoder.mean.weight.device

    def initialise(self, moments: FeatureMoments) -> None:
        """Start likelihood parameters and decoder biases at the training cells' moments."""
        self.decoder.set_bias(self.likelihood.initialise(moments))

    def encode(self, batch: Batch) -> LatentPosterior:
        """Return q(z | x, c)."""
        return self.encoder(self.likelihood.encoder_input(batch), self.covariates(batch))

    def decode(self, z_BK: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return the decoder's raw outputs (B, G) by head, for the covariates of ``batch``."""
        return self.decoder(z_BK, self.covariates(batch))

    def reconstruction(self, z_BK: Tensor, batch: Batch) -> Tensor:
        """−log p(x | z, c) = −Σ_g log p(x_g | z, c) in nats, every constant included, shape (B,)."""
        return -self.likelihood.cell_log_prob(batch, self.decode(z_BK, batch))

    def distribution(self, z_BK: Tensor, batch: Batch) -> Distribution:
        """Return p(x | z, c) with the library of ``batch``."""
        return self.likelihood.distribution(batch, self.decode(z_BK, batch))

    def sample(self, batch: Batch, generator: torch.Generator | None = None) -> Tensor:
        """Draw z from the prior and x from p(x | z, c), for the covariates and library of ``batch``; (B, G)."""
        return self.distribution(self.prior.sample(len(batch), generator), batch).sample()


class CovariateModel(nn.Module):
    """The best decoder without a latent variable: heads = b + U c, the null model of the diagnosis.

    Its log-likelihood is what covariates, library and gene means explain alone.
    """

    def __init__(
        self, likelihood: Likelihood, *, n_genes: int, n_levels: Sequence[int] = (), n_continuous: int = 0
    ) -> None:
        super().__init__()
        self.likelihood = likelihood
        self.covariates = CovariateEncoding(n_levels, n_continuous)
        self.bias = nn.ParameterDict({head: nn.Parameter(torch.zeros(n_genes)) for head in likelihood.heads})
        self.effects = nn.ParameterDict(
            {head: nn.Parameter(torch.zeros(self.covariates.width, n_genes)) for head in likelihood.heads}
        )

    @torch.no_grad()
    def initialise(self, moments: FeatureMoments) -> None:
        """Start at the training cells' moments, with covariate effects of zero."""
        bias: Mapping[str, Tensor] = self.likelihood.initialise(moments)
        for head, value_G in bias.items():
            self.bias[head].copy_(value_G)

    def forward(self, batch: Batch) -> Tensor:
        """Return log p(x | c) in nats, shape (B,)."""
        c_BC = self.covariates(batch)
        heads = {head: bias_G + c_BC @ self.effects[head] for head, bias_G in self.bias.items()}
        return self.likelihood.cell_log_prob(batch, heads)
