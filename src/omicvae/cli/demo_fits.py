"""The three fits of the demo: a collapsed one, a healthy one, and a bulk cohort with a known truth."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from anndata import AnnData

import omicvae as ov
from omicvae._core import keys

COLLAPSED_KEY = "X_omicvae_collapsed"


@dataclass(frozen=True, slots=True)
class DemoFit:
    """One fit and what came of it; ``truth`` holds correlations with known effects, where there are any."""

    name: str
    title: str
    model: ov.CVAE
    diagnosis: ov.Diagnosis
    seconds: float
    truth: Mapping[str, float]


def _fit(
    name: str,
    title: str,
    adata: AnnData,
    settings: Mapping[str, Any],
    *,
    key: str,
    umap: bool = True,
    **training: Any,
) -> DemoFit:
    """Build a model, train it, write its latents and diagnose it; seconds are those of the training."""
    model = ov.CVAE(adata, **settings)
    start = time.perf_counter()
    model.train(progress_bar=False, **training)
    seconds = time.perf_counter() - start
    model.write_latent(key=key)
    return DemoFit(name, title, model, model.diagnose(umap=umap), seconds, {})


def prepare_pbmc() -> AnnData:
    """Real counts with the cell cycle as covariates and the cell type as labels."""
    adata = ov.datasets.pbmc68k_counts()
    covariates = {"categorical_covariate_keys": ["phase"], "continuous_covariate_keys": ["S_score", "G2M_score"]}
    ov.CVAE.setup_anndata(adata, labels_key="bulk_labels", **covariates)
    return adata


def fit_collapsed(adata: AnnData, *, seed: int) -> DemoFit:
    """Average losses: β = 3 with 765 genes and 32 dimensions acts like β = 3·765/32 = 72."""
    settings = {"likelihood": "nb", "n_latent": 32, "seed": seed}
    objective = {"beta": 3.0, "reduction": "mean"}
    return _fit("pbmc_mean_mean", "PBMC, mean losses, β = 3", adata, settings, key=COLLAPSED_KEY, objective=objective)


def fit_defaults(adata: AnnData, *, seed: int) -> DemoFit:
    """Fit the same cells with the defaults."""
    return _fit("pbmc_defaults", "PBMC, defaults", adata, {"seed": seed}, key=keys.LATENT)


def fit_bulk(*, n_samples: int, n_genes: int, max_epochs: int, seed: int) -> tuple[AnnData, DemoFit]:
    """Fit a simulated cohort with the Gaussian likelihood and compare its decoder with the truth."""
    adata = ov.datasets.simulate_bulk(n_samples, n_genes, seed=seed)
    ov.CVAE.setup_anndata(adata, batch_key="batch", continuous_covariate_keys=["age"], labels_key="tissue")
    settings = {"likelihood": "gaussian", "seed": seed}
    # three UMAPs of 3000 samples would take longer than the fit
    fit = _fit("bulk_gaussian", "Bulk, Gaussian", adata, settings, key=keys.LATENT, umap=False, max_epochs=max_epochs)
    return adata, replace(fit, truth=_recovered_truth(fit.model, adata))


def _recovered_truth(model: ov.CVAE, adata: AnnData) -> dict[str, float]:
    """Correlate decoded effects with the simulated ones, over genes.

    ``batch_effect``: every sample decoded as if from each batch; differences to the first batch, against the
    truth. ``disease_effect``: decoded means of cases minus controls within each tissue, over genes that
    respond somewhere.
    """
    batches = list(adata.obs["batch"].cat.categories)
    decoded_BG = np.stack(
        [model.get_normalized_expression(transform_batch=batch, return_mean=True).mean(axis=0) for batch in batches]
    )
    truth_BG = adata.varm["batch_effect"].to_numpy().T
    batch = np.corrcoef((decoded_BG - decoded_BG[0])[1:].ravel(), (truth_BG - truth_BG[0])[1:].ravel())[0, 1]

    responds_G = adata.var["disease_gene"].to_numpy()
    decoded = model.get_normalized_expression(transform_batch=batches[0]).loc[:, responds_G]
    mean = decoded.groupby([adata.obs["disease"], adata.obs["tissue"]], observed=True).mean()
    differences = mean.loc["case"] - mean.loc["control"]
    truth = adata.varm["disease_effect"].loc[responds_G, differences.index].to_numpy().T
    disease = np.corrcoef(differences.to_numpy().ravel(), truth.ravel())[0, 1]
    return {"batch_effect": float(batch), "disease_effect": float(disease)}
