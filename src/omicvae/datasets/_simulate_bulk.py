"""A bulk cohort with a known truth: tissue, disease, batch and age effects on log expression."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from omicvae._core.arguments import integral
from omicvae._core.errors import SettingError

if TYPE_CHECKING:
    from anndata import AnnData

Array = NDArray[np.float64]

# Standard deviations in log2 units, and shares of the genes; sizes that are common in cohorts such as GTEx.
MEAN, MEAN_SD = 8.0, 1.5
TISSUE_SD, TISSUE_SHARE = 1.0, 0.3
DISEASE_SHARE, DISEASE_TISSUE_SHARE = 0.1, 0.3
BATCH_SD = 0.3
AGE_SD, AGE_SHARE = 0.15, 0.05
PROGRAMS, PROGRAM_SD = 4, 0.25


@dataclass(frozen=True, slots=True)
class _Truth:
    """Effects in log2 units; T tissues, B batches, P programs."""

    mean_G: Array
    tissue_GT: Array
    disease_GT: Array
    batch_GB: Array
    age_G: Array
    program_GP: Array
    noise_sd_G: Array


def _draw_truth(
    rng: np.random.Generator,
    n_genes: int,
    n_tissues: int,
    n_batches: int,
    disease_effect: float,
    noise_sd: float,
) -> _Truth:
    diseased_G = rng.random(n_genes) < DISEASE_SHARE
    sign_G = rng.choice([-1.0, 1.0], n_genes)
    size_G = disease_effect * rng.uniform(0.5, 1.5, n_genes)
    # some disease genes respond in a random half of the tissues only
    specific_G1 = rng.random((n_genes, 1)) < DISEASE_TISSUE_SHARE
    responds_GT = ~specific_G1 | (rng.random((n_genes, n_tissues)) < 0.5)
    return _Truth(
        mean_G=rng.normal(MEAN, MEAN_SD, n_genes),
        tissue_GT=rng.normal(0, TISSUE_SD, (n_genes, n_tissues)) * (rng.random((n_genes, 1)) < TISSUE_SHARE),
        disease_GT=(diseased_G * sign_G * size_G)[:, None] * responds_GT,
        batch_GB=rng.normal(0, BATCH_SD, (n_genes, n_batches)),
        age_G=rng.normal(0, AGE_SD, n_genes) * (rng.random(n_genes) < AGE_SHARE),
        program_GP=rng.normal(0, PROGRAM_SD, (n_genes, PROGRAMS)),
        noise_sd_G=noise_sd * rng.uniform(0.5, 1.5, n_genes),
    )


def simulate_bulk(
    n_samples: int = 5000,
    n_genes: int = 2000,
    *,
    n_tissues: int = 8,
    n_batches: int = 4,
    disease_effect: float = 0.8,
    noise_sd: float = 0.5,
    seed: int = 0,
) -> "AnnData":
    r"""Simulate log2 expression of a bulk cohort from a linear Gaussian model.

    Sample n has tissue t, disease status d (0 control, 1 case; a probability of one half in every tissue),
    batch b, age a ~ U(20, 80) years and P = 4 hidden programs u ~ N(0, I), all independent. Gene g has

    .. math::
        x_{ng} = m_g + T_{gt} + d_n D_{gt} + B_{gb} + A_g (a_n - 50)/10
                 + \sum_p W_{gp} u_{np} + \sigma_g ε_{ng}

    with m ~ N(8, 1.5²); T ~ N(0, 1) on 30 % of the genes; |D| uniform between half and one and a half times
    ``disease_effect`` on 10 % of the genes, of which 30 % respond in a random half of the tissues only; B ~
    N(0, 0.3²); A ~ N(0, 0.15²) on 5 % of the genes; W ~ N(0, 0.25²); σ uniform between half and one and a
    half times ``noise_sd``; ε ~ N(0, 1). Effects that do not apply are exactly 0.

    Parameters
    ----------
    n_samples, n_genes
        Shape of ``X``.
    n_tissues, n_batches
        Number of levels of ``obs["tissue"]`` and ``obs["batch"]``.
    disease_effect, noise_sd
        Typical size of a disease effect and of the noise, log2 units.
    seed
        Seed of the generator; the same seed gives the same cohort.

    Returns
    -------
    AnnData
        ``X``: log2 expression, dense float32. ``obs``: ``tissue``, ``disease``, ``batch``, ``age``. The
        truth, in log2 units: ``var`` with ``mean``, ``age_effect`` (per ten years), ``noise_sd``,
        ``disease_gene``; ``varm["tissue_effect"]``, ``varm["disease_effect"]`` (a column for each tissue),
        ``varm["batch_effect"]``; ``obsm["programs"]`` and ``varm["program_loadings"]``;
        ``uns["simulation"]``.

    Raises
    ------
    SettingError
        If a size is below 1 or no whole number, or ``noise_sd`` is not positive.
    """
    n_samples = integral("n_samples", n_samples, minimum=1)
    n_genes = integral("n_genes", n_genes, minimum=1)
    n_tissues = integral("n_tissues", n_tissues, minimum=1)
    n_batches = integral("n_batches", n_batches, minimum=1)
    if not noise_sd > 0:
        raise SettingError(f"noise_sd must be above 0, got {noise_sd!r}.")
    rng = np.random.default_rng(integral("seed", seed, minimum=0))
    truth = _draw_truth(rng, n_genes, n_tissues, n_batches, disease_effect, noise_sd)
    tissue_N = rng.integers(n_tissues, size=n_samples)
    batch_N = rng.integers(n_batches, size=n_samples)
    disease_N = rng.integers(2, size=n_samples)
    age_N = rng.uniform(20, 80, n_samples)
    program_NP = rng.standard_normal((n_samples, PROGRAMS))
    x_NG = truth.mean_G + truth.tissue_GT.T[tissue_N] + truth.batch_GB.T[batch_N]
    x_NG += disease_N[:, None] * truth.disease_GT.T[tissue_N]
    x_NG += np.outer((age_N - 50) / 10, truth.age_G)
    x_NG += program_NP @ truth.program_GP.T
    x_NG += truth.noise_sd_G * rng.standard_normal((n_samples, n_genes))
    adata = _annotate(x_NG.astype(np.float32), truth, tissue_N, disease_N, batch_N, age_N)
    adata.obsm["programs"] = program_NP
    adata.uns["simulation"] = {"seed": seed, "disease_effect": disease_effect, "noise_sd": noise_sd}
    return adata


def _annotate(
    x_NG: NDArray[np.float32],
    truth: _Truth,
    tissue_N: NDArray[np.int64],
    disease_N: NDArray[np.int64],
    batch_N: NDArray[np.int64],
    age_N: Array,
) -> "AnnData":
    """Put names to the numbers."""
    import anndata
    import pandas as pd

    n_genes, n_tissues = truth.tissue_GT.shape
    tissues = [f"tissue_{i}" for i in range(n_tissues)]
    batches = [f"batch_{i}" for i in range(truth.batch_GB.shape[1])]
    obs = pd.DataFrame(
        {
            "tissue": pd.Categorical.from_codes(tissue_N, pd.Index(tissues)),
            "disease": pd.Categorical.from_codes(disease_N, pd.Index(["control", "case"])),
            "batch": pd.Categorical.from_codes(batch_N, pd.Index(batches)),
            "age": age_N,
        },
        index=[f"sample_{i}" for i in range(len(x_NG))],
    )
    var = pd.DataFrame(
        {
            "mean": truth.mean_G,
            "age_effect": truth.age_G,
            "noise_sd": truth.noise_sd_G,
            "disease_gene": (truth.disease_GT != 0).any(axis=1),
        },
        index=[f"gene_{i}" for i in range(n_genes)],
    )
    adata = anndata.AnnData(X=x_NG, obs=obs, var=var)
    frames = {
        "tissue_effect": pd.DataFrame(truth.tissue_GT, index=var.index, columns=tissues),
        "disease_effect": pd.DataFrame(truth.disease_GT, index=var.index, columns=tissues),
        "batch_effect": pd.DataFrame(truth.batch_GB, index=var.index, columns=batches),
    }
    adata.varm.update(frames)
    adata.varm["program_loadings"] = truth.program_GP
    return adata
