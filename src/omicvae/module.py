"""The conditional VAE as a network: encode, decode, sample. It knows no loss."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from omicvae._core import (
    Batch,
    FeatureMoments,
    LatentPosterior,
    SettingError,
    SparseRows,
    check_fields,
    choose,
    flag,
    integral,
    real,
)
from omicvae._core.noise import DrawingFrom
from omicvae.likelihoods import Likelihood
from omicvae.networks import (
    ACTIVATIONS,
    COVARIATE_ENCODINGS,
    LOG_VARIANCE_BOUNDS,
    NORMALIZATIONS,
    CovariateEncoding,
    Decoder,
    Encoder,
)
from omicvae.priors import LatentDensity, Prior


@dataclass(frozen=True, slots=True)
class Architecture:
    """Sizes and choices of the network, as ``CVAE`` documents them; JSON-able, saved with the weights."""

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
    n_hidden_decoder: int | None = None
    n_layers_decoder: int | None = None
    dropout_rate_decoder: float = 0.0
    log_variance_bounds: tuple[float, float] = LOG_VARIANCE_BOUNDS

    def __post_init__(self) -> None:
        sizes = ("n_latent", "n_hidden", "n_layers", "n_hidden_decoder", "n_layers_decoder")
        check_fields(self, integral, *sizes, minimum=1)
        check_fields(self, flag, "encode_covariates", "decode_covariates", "deeply_inject_covariates")
        for name in ("dropout_rate", "dropout_rate_decoder"):
            check_fields(self, real, name)
            if not 0 <= getattr(self, name) < 1:
                raise SettingError(f"{name} must lie in [0, 1), got {getattr(self, name)}.")
        object.__setattr__(self, "log_variance_bounds", _bounds("log_variance_bounds", self.log_variance_bounds))
        check_fields(self, choose, "normalization", table=tuple(NORMALIZATIONS))
        check_fields(self, choose, "activation", table=tuple(ACTIVATIONS))
        check_fields(self, choose, "covariate_encoding", table=tuple(COVARIATE_ENCODINGS))


def _bounds(name: str, given: Sequence[float]) -> tuple[float, float]:
    """Two numbers around 0, where the posterior's log variance starts; beyond ±80 its exponential is no float32."""
    if isinstance(given, str) or not isinstance(given, Sequence) or len(given) != 2:
        raise SettingError(f"{name} must be two numbers, lowest and highest, got {given!r}.")
    low, high = (real(name, bound, minimum=-80.0, maximum=80.0) for bound in given)
    if not low <= 0 <= high or low == high:
        raise SettingError(f"{name} must be a lower bound of at most 0 and a higher one of at least 0, got {given!r}.")
    return low, high


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
        self.extended = False
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
            log_variance_bounds=a.log_variance_bounds,
            # the decoder's first layer is linear: see MLP
            mean_bias=a.normalization != "batch",
            **shared,
        )
        self.decoder = Decoder(
            a.n_latent,
            n_genes,
            likelihood.heads,
            a.n_hidden if a.n_hidden_decoder is None else a.n_hidden_decoder,
            a.n_layers if a.n_layers_decoder is None else a.n_layers_decoder,
            n_covariates=width if a.decode_covariates else 0,
            dropout_rate=a.dropout_rate_decoder,
            **shared,
        )

    def add_levels(self, n_added: Sequence[int], n_batches: int = 0) -> None:
        """Freeze the network and let it know further levels, whose weights alone can be trained from now on.

        It then runs as at inference in training too (running batch statistics, no dropout), and what it says of the
        levels it knew stays the same to the last bit (architectural surgery; Lotfollahi et al. 2022). A new level
        starts at the mean of the known ones.

        Parameters
        ----------
        n_added
            Number of new levels of each categorical covariate; their codes follow on those of the others.
        n_batches
            Those of the batch covariate.
        """
        self.eval().requires_grad_(requires_grad=False)
        self.extended, n = True, sum(n_added)
        self.covariates.add_levels(n_added)
        if n and self.architecture.encode_covariates:
            self.encoder.body.add_covariates(n)
        if n and self.architecture.decode_covariates:
            self.decoder.body.add_covariates(n)
        if n:
            self.prior.add_covariates(n)
        self.likelihood.add_batches(n_batches)

    def train(self, mode: bool = True) -> Self:
        """Switch to training, or to evaluation; a frozen network stays in evaluation."""
        return super().train(mode and not self.extended)

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.encoder.mean.weight.device

    @torch.no_grad()
    def initialise(self, moments: FeatureMoments, training_cells: Callable[[int], Batch]) -> None:
        """Start likelihood and decoder biases at the training cells' moments, and a prior that asks for cells at some.

        Parameters
        ----------
        training_cells
            Gives so many random training cells, or all of them where there are fewer.
        """
        self.decoder.set_bias(self.likelihood.initialise(moments))
        if self.prior.n_cells:
            batch = training_cells(self.prior.n_cells)
            x = self.likelihood.encoder_input(batch)
            x_PG = x.to_dense() if isinstance(x, SparseRows) else x
            self.prior.initialise(x_PG, batch.categories_BD, batch.continuous_BV)

    def encode(self, batch: Batch) -> LatentPosterior:
        """Return q(z | x, c), which minified cells bring with them."""
        if batch.posterior is not None:
            return batch.posterior
        return self.encoder(self.likelihood.encoder_input(batch), self.covariates(batch))

    def prior_at(self, batch: Batch) -> LatentDensity:
        """Return p(z | c) for the cells of ``batch``. In training, ask for it after :meth:`encode`.

        The VampPrior reads the running batch statistics, which :meth:`encode` moves in training.
        """
        return self.prior.at(self.covariates(batch), self._encode_pseudo)

    def _encode_pseudo(self, x_PG: Tensor, categories_PD: Tensor, continuous_PV: Tensor) -> LatentPosterior:
        """Return q(z | x, c) at inference of data as the encoder sees them."""
        cells = Batch(x_PG, x_PG.new_ones(len(x_PG), 1), categories_PD, continuous_PV)
        return self.encoder.at_inference(x_PG, self.covariates(cells))

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
        distribution = self.distribution(self.prior_at(batch).sample(len(batch), generator), batch)
        with DrawingFrom(generator):
            return distribution.sample()


class NullModel(nn.Module):
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

    def heads(self, batch: Batch) -> dict[str, Tensor]:
        """Return the raw output of each head, shape (B, G)."""
        c_BC = self.covariates(batch)
        return {head: bias_G + c_BC @ self.effects[head] for head, bias_G in self.bias.items()}

    def forward(self, batch: Batch) -> Tensor:
        """Return log p(x | c) in nats, shape (B,)."""
        return self.likelihood.cell_log_prob(batch, self.heads(batch))

    def distribution(self, batch: Batch) -> Distribution:
        """Return p(x | c) with the library of ``batch``."""
        return self.likelihood.distribution(batch, self.heads(batch))
