"""One call from AnnData to latents and a diagnosis, for scanpy pipelines (public as ``ov.tl``)."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from omicvae._core import keys

if TYPE_CHECKING:
    from anndata import AnnData

    from omicvae.model import CVAE


def cvae(
    adata: "AnnData",
    likelihood: str = "auto",
    n_latent: int = 10,
    *,
    layer: str | None = None,
    batch_key: str | None = None,
    labels_key: str | None = None,
    categorical_covariate_keys: Sequence[str] | None = None,
    continuous_covariate_keys: Sequence[str] | None = None,
    size_factor_key: str | None = None,
    round_counts: bool = False,
    key_added: str = keys.LATENT,
    seed: int = 0,
    model_arguments: Mapping[str, Any] | None = None,
    train_arguments: Mapping[str, Any] | None = None,
    umap: bool = True,
) -> "CVAE":
    """Set up, fit, write the latents and diagnose.

    Afterwards ``adata.obsm[key_added]`` holds posterior means (N, K), ``obsm[key_added + "_sd"]`` their SD, and
    ``uns["omicvae"]["diagnosis"]`` the verdict with its evidence as JSON text.

    Parameters
    ----------
    adata, likelihood, n_latent, seed
        As for ``CVAE``; ``model_arguments`` takes its others.
    layer, batch_key, labels_key, categorical_covariate_keys, continuous_covariate_keys, size_factor_key, round_counts
        As for ``CVAE.setup_anndata``; without any of them an earlier set-up of ``adata`` holds.
    train_arguments
        For ``CVAE.train``.
    umap
        Whether the diagnosis runs its UMAP check.

    Returns
    -------
    The fitted model; ``model.diagnosis`` is what was found.
    """
    named = locals().copy()
    import json
    from dataclasses import fields

    from omicvae.data import SetupKeys
    from omicvae.model import CVAE
    from omicvae.model.setup_record import check_anndata

    check_anndata(adata)
    given: dict[str, Any] = {role.name: named[role.name] for role in fields(SetupKeys)}
    if SetupKeys(**given) != SetupKeys() or keys.SETUP not in adata.uns.get(keys.UNS, {}):
        CVAE.setup_anndata(adata, **given)
    model = CVAE(adata, likelihood, n_latent, seed=seed, **(model_arguments or {}))
    model.train(**(train_arguments or {}))
    model.write_latent(key_added)
    model.diagnosis = model.diagnose(umap=umap)
    adata.uns[keys.UNS] = {**adata.uns[keys.UNS], keys.DIAGNOSIS: json.dumps(model.diagnosis.to_dict())}
    return model
