"""Methods of scvi-tools' mixins that would give wrong answers here: each says why and what to use."""

from collections.abc import Callable
from typing import Any, NoReturn

from omicvae._core import NotSupportedError

REASONS = {
    "get_importance_weights": "it assumes a mean of library × softmax and an N(0, I) prior; use get_marginal_ll()",
    "get_feature_correlation_matrix": "it assumes gamma-Poisson sampling; sample with posterior_predictive_sample()",
    "get_likelihood_parameters": "its names fit the NB family only; use model.module.distribution(z, batch)",
    "get_latent_library_size": "omicvae uses the observed library; there is no latent one",
    "get_aggregated_posterior": "it assumes scvi-tools' modules; get_latent_representation(return_dist=True) gives "
    "the components",
    "differential_abundance": "it assumes scvi-tools' modules; test on get_latent_representation() instead",
    "load_query_data": "query mapping with new levels is not available yet; cells whose levels are known go "
    "straight into get_latent_representation(adata_new)",
    "prepare_query_anndata": "genes are matched by name already; pass missing_genes='zero' where some are missing",
    "prepare_query_mudata": "omicvae models AnnData",
    "convert_legacy_save": "omicvae's saves have their own format, without pickles",
    "load_registry": "omicvae's saves have their own format; read model.json",
    "view_setup_args": "omicvae's saves have their own format; read model.json",
}


def _refusal(name: str, reason: str) -> Callable[..., NoReturn]:
    def refuse(*args: Any, **kwargs: Any) -> NoReturn:
        raise NotSupportedError(f"CVAE.{name}() is not offered: {reason}.")

    refuse.__name__ = name
    refuse.__doc__ = f"Not offered: {reason}."
    return refuse


class RefusalsMixin:
    """Refuses the methods in ``REASONS``."""


for _name, _reason in REASONS.items():
    setattr(RefusalsMixin, _name, _refusal(_name, _reason))
