"""The three fits of the demo: a collapsed one, a healthy one, and a bulk cohort with a known truth."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from anndata import AnnData

    from omicvae.diagnostics import Diagnosis
    from omicvae.model import CVAE

COLLAPSED_KEY = "X_omicvae_collapsed"


@dataclass(frozen=True, slots=True)
class DemoFit:
    """One fit and what came of it; ``truth`` holds correlations with known effects, where there are any."""

    name: str
    title: str
    model: "CVAE"
    diagnosis: "Diagnosis"
    seconds: float
    truth: dict[str, float] = field(default_factory=dict)


#: What differs between the fits of the PBMC. The mean/mean convention makes β = 3 with 765 genes and 32 dimensions act
#: like β = 3·765/32 = 72.
PBMC_FITS: dict[str, dict[str, Any]] = {
    "pbmc_mean_mean": {
        "title": "PBMC, mean losses, β = 3",
        "latent_key": COLLAPSED_KEY,
        "settings": {"likelihood": "nb", "n_latent": 32},
        "training": {"objective": {"beta": 3.0, "reduction": "mean"}},
    },
    "pbmc_defaults": {"title": "PBMC, defaults"},
}


def _fit_and_diagnose(
    name: str,
    adata: "AnnData",
    *,
    title: str,
    seed: int,
    latent_key: str | None = None,
    settings: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    umap: bool = True,
) -> DemoFit:
    """Build a model, train it, write its latents and diagnose it; seconds are those of the training."""
    import omicvae as ov
    from omicvae._core import keys

    model = ov.CVAE(adata, seed=seed, **(settings or {}))
    start = time.perf_counter()
    model.train(progress_bar=False, **(training or {}))
    seconds = time.perf_counter() - start
    model.write_latent(key=latent_key or keys.LATENT)
    return DemoFit(name, title, model, model.diagnose(umap=umap), seconds)


def prepare_pbmc() -> "AnnData":
    """Real counts with the cell cycle as covariates and the cell type as labels."""
    import omicvae as ov

    adata = ov.datasets.pbmc68k_counts()
    ov.CVAE.setup_anndata(
        adata,
        categorical_covariate_keys=["phase"],
        continuous_covariate_keys=["S_score", "G2M_score"],
        labels_key="bulk_labels",
    )
    return adata


def fit_pbmc(name: str, adata: "AnnData", *, seed: int) -> DemoFit:
    """Make one of ``PBMC_FITS``."""
    return _fit_and_diagnose(name, adata, seed=seed, **PBMC_FITS[name])


def fit_bulk(*, n_samples: int, n_genes: int, max_epochs: int, seed: int) -> tuple["AnnData", DemoFit]:
    """Fit a simulated cohort with the Gaussian likelihood and compare its decoder with the truth."""
    import omicvae as ov

    adata = ov.datasets.simulate_bulk(n_samples, n_genes, seed=seed)
    ov.CVAE.setup_anndata(adata, batch_key="batch", continuous_covariate_keys=["age"], labels_key="tissue")
    fit = _fit_and_diagnose(
        "bulk_gaussian",
        adata,
        title="Bulk, Gaussian",
        seed=seed,
        settings={"likelihood": "gaussian"},
        training={"max_epochs": max_epochs},
        umap=False,  # three UMAPs of 3000 samples would take longer than the fit
    )
    return adata, replace(fit, truth=_recovered_truth(fit.model, adata))


def _recovered_truth(model: "CVAE", adata: "AnnData") -> dict[str, float]:
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

    decoded_NG = np.asarray(model.get_normalized_expression(transform_batch=batches[0], return_numpy=True))
    responds_G = adata.var["disease_gene"].to_numpy()
    case_N, tissue_N = (adata.obs["disease"] == "case").to_numpy(), adata.obs["tissue"].to_numpy()
    tissues = adata.obs["tissue"].cat.categories
    differences = []
    for tissue in tissues:
        case_G, control_G = (decoded_NG[(tissue_N == tissue) & (case_N == is_case)].mean(axis=0) for is_case in (1, 0))
        differences.append((case_G - control_G)[responds_G])
    truth = adata.varm["disease_effect"].loc[responds_G, tissues].to_numpy().T
    disease = np.corrcoef(np.concatenate(differences), truth.ravel())[0, 1]
    return {"batch_effect": float(batch), "disease_effect": float(disease)}
