"""From configuration and schema to a network; the same function serves a new and a loaded model."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from omicvae._core import SettingError, check_fields, choose, integral, plain
from omicvae._core.noise import DrawingFrom
from omicvae.data import DataSchema
from omicvae.likelihoods import LIKELIHOODS, Likelihood
from omicvae.module import Architecture, ConditionalVAE, NullModel
from omicvae.networks import covariate_width
from omicvae.priors import PRIORS
from omicvae.training import generator_for, own_surroundings

#: Dropout of the encoder by default, and below so many cells, which it would memorise (``benchmarks/small_data.py``)
DROPOUT_RATE, SMALL_DROPOUT_RATE, SMALL_CELLS = 0.1, 0.5, 500


def default_dropout(n_cells: int) -> float:
    """Dropout of the encoder where none is given."""
    return SMALL_DROPOUT_RATE if n_cells < SMALL_CELLS else DROPOUT_RATE


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Everything beside data and weights that defines a model; JSON-able."""

    likelihood: str
    dispersion: str | None = None
    prior: str = "standard"
    seed: int = 0
    architecture: Architecture = field(default_factory=Architecture)
    n_pseudo_inputs: int = 50

    def __post_init__(self) -> None:
        check_fields(self, choose, "likelihood", table=tuple(LIKELIHOODS))
        check_fields(self, choose, "prior", table=tuple(PRIORS))
        object.__setattr__(self, "dispersion", plain(self.dispersion))  # the likelihood knows its choices
        check_fields(self, integral, "seed", minimum=0)
        check_fields(self, integral, "n_pseudo_inputs", minimum=1)

    def to_dict(self) -> dict[str, Any]:
        """Plain mapping."""
        return asdict(self)

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Self:
        """Inverse of ``to_dict``."""
        return cls(**{**state, "architecture": Architecture(**state["architecture"])})


def _build_likelihood(config: ModelConfig, schema: DataSchema, n_levels: Sequence[int]) -> Likelihood:
    """Make the likelihood for the genes of ``schema`` and as many batches as the first of ``n_levels`` says."""
    if config.dispersion == "gene-batch" and schema.keys.batch_key is None:
        raise SettingError('dispersion="gene-batch" needs a batch_key; pass one to setup_anndata.')
    n_batches = n_levels[0] if schema.keys.batch_key else 1
    return LIKELIHOODS[config.likelihood](
        len(schema.gene_names),
        dispersion=config.dispersion,
        n_batches=n_batches,
        size_factor=schema.keys.size_factor_key is not None,
    )


def _sizes(schema: DataSchema, n_levels: Sequence[int]) -> dict[str, Any]:
    """Sizes of the data, as the modules take them."""
    return {"n_genes": schema.n_genes, "n_levels": n_levels, "n_continuous": len(schema.continuous)}


def build_module(config: ModelConfig, schema: DataSchema) -> ConditionalVAE:
    """Make the network with weights that are a function of the seed; frozen where cells were mapped to it."""
    n_levels = [len(part.levels) - part.n_added for part in schema.categorical]
    architecture, n_continuous = config.architecture, len(schema.continuous)
    of_prior = dict(
        n_latent=architecture.n_latent,
        n_genes=schema.n_genes,
        n_categorical=len(n_levels),
        n_continuous=n_continuous,
        covariate_width=covariate_width(n_levels, n_continuous, encoding=architecture.covariate_encoding),
        n_pseudo_inputs=config.n_pseudo_inputs,
    )
    with own_surroundings(), DrawingFrom(generator_for(config.seed, "weights")):
        likelihood, prior = _build_likelihood(config, schema, n_levels), PRIORS[config.prior](**of_prior)
        module = ConditionalVAE(likelihood, prior, architecture, **_sizes(schema, n_levels))
    return extend(module, schema) if schema.extended else module


def extend(module: ConditionalVAE, schema: DataSchema) -> ConditionalVAE:
    """Let a network know the levels that mapped cells added to ``schema``, and freeze the rest of it."""
    n_added = [part.n_added for part in schema.categorical]
    module.add_levels(n_added, n_added[0] if schema.keys.batch_key else 0)
    return module


def build_null(config: ModelConfig, schema: DataSchema) -> NullModel:
    """Make the z-free model with the same likelihood."""
    with own_surroundings():
        n_levels = [len(part.levels) for part in schema.categorical]
        return NullModel(_build_likelihood(config, schema, n_levels), **_sizes(schema, n_levels))
