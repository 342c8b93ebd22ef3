"""From configuration and schema to a network; the same function serves a new and a loaded model."""

from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from omicvae._core import SettingError, choose, integral
from omicvae.data import DataSchema
from omicvae.likelihoods import LIKELIHOODS, Likelihood
from omicvae.module import Architecture, ConditionalVAE, CovariateModel
from omicvae.priors import PRIORS
from omicvae.training import derive_seed, private_generators


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Everything beside data and weights that defines a model; JSON-able."""

    likelihood: str
    dispersion: str | None = None
    prior: str = "standard"
    seed: int = 0
    architecture: Architecture = field(default_factory=Architecture)

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", integral("seed", self.seed, minimum=0))
        choose("likelihood", self.likelihood, LIKELIHOODS)
        choose("prior", self.prior, PRIORS)

    def to_dict(self) -> dict[str, Any]:
        """Plain mapping."""
        return asdict(self)

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> "ModelConfig":
        """Inverse of ``to_dict``."""
        return cls(**{**state, "architecture": Architecture(**state["architecture"])})


def build_likelihood(config: ModelConfig, schema: DataSchema) -> Likelihood:
    """Make the likelihood for the genes and batches of ``schema``."""
    if config.dispersion == "gene-batch" and schema.keys.batch_key is None:
        raise SettingError('dispersion="gene-batch" needs a batch_key; pass one to setup_anndata.')
    return LIKELIHOODS[config.likelihood](
        len(schema.gene_names),
        dispersion=config.dispersion,
        n_batches=len(schema.categorical[0].levels) if schema.keys.batch_key else 1,
        size_factor=schema.keys.size_factor_key is not None,
    )


def covariate_sizes(schema: DataSchema) -> dict[str, Any]:
    """Sizes of the covariates, as the modules take them."""
    return {
        "n_genes": len(schema.gene_names),
        "n_levels": tuple(len(levels.levels) for levels in schema.categorical),
        "n_continuous": len(schema.continuous),
    }


def build_module(config: ModelConfig, schema: DataSchema) -> ConditionalVAE:
    """Make the network with weights that are a function of the seed."""
    with private_generators():
        torch.manual_seed(derive_seed(config.seed, "weights"))
        return ConditionalVAE(
            build_likelihood(config, schema),
            PRIORS[config.prior](config.architecture.n_latent),
            config.architecture,
            **covariate_sizes(schema),
        )


def build_null(config: ModelConfig, schema: DataSchema) -> CovariateModel:
    """Make the z-free model with the same likelihood."""
    return CovariateModel(build_likelihood(config, schema), **covariate_sizes(schema))
