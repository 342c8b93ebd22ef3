"""Simulated experiments with a known truth: a bulk cohort on the log scale, and cells in negative binomial counts."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from omicvae._core.arguments import integral
from omicvae._core.errors import SettingError

if TYPE_CHECKING:
    from anndata import AnnData

# Standard deviations in log2 units, and shares of the genes; sizes that are common in cohorts such as GTEx.
MEAN, MEAN_SD = 8.0, 1.5
TISSUE_SD, TISSUE_SHARE = 1.0, 0.3
DISEASE_SHARE, DISEASE_TISSUE_SHARE = 0.1, 0.3
BATCH_SD = 0.3
AGE_SD, AGE_SHARE = 0.15, 0.05
PROGRAMS, PROGRAM_SD = 4, 0.25


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
    n_samples, n_genes = integral("n_samples", n_samples, minimum=1), integral("n_genes", n_genes, minimum=1)
    tissues, batches = _levels("n_tissues", n_tissues, "tissue"), _levels("n_batches", n_batches, "batch")
    _require("above 0", noise_sd=noise_sd)
    rng = np.random.default_rng(integral("seed", seed, minimum=0))

    diseased_G = rng.random(n_genes) < DISEASE_SHARE
    sign_G = rng.choice([-1.0, 1.0], n_genes)
    size_G = disease_effect * rng.uniform(0.5, 1.5, n_genes)
    # some disease genes respond in a random half of the tissues only
    specific_G1 = rng.random((n_genes, 1)) < DISEASE_TISSUE_SHARE
    responds_GT = ~specific_G1 | (rng.random((n_genes, len(tissues))) < 0.5)
    mean_G = rng.normal(MEAN, MEAN_SD, n_genes)
    tissue_GT = rng.normal(0, TISSUE_SD, (n_genes, len(tissues))) * (rng.random((n_genes, 1)) < TISSUE_SHARE)
    disease_GT = (diseased_G * sign_G * size_G)[:, None] * responds_GT
    batch_GB = rng.normal(0, BATCH_SD, (n_genes, len(batches)))
    age_G = rng.normal(0, AGE_SD, n_genes) * (rng.random(n_genes) < AGE_SHARE)
    program_GP = rng.normal(0, PROGRAM_SD, (n_genes, PROGRAMS))
    noise_sd_G = noise_sd * rng.uniform(0.5, 1.5, n_genes)

    tissue_N = rng.integers(len(tissues), size=n_samples)
    batch_N = rng.integers(len(batches), size=n_samples)
    disease_N = rng.integers(2, size=n_samples)
    age_N = rng.uniform(20, 80, n_samples)
    program_NP = rng.standard_normal((n_samples, PROGRAMS))
    x_NG = mean_G + tissue_GT.T[tissue_N] + batch_GB.T[batch_N]
    x_NG += disease_N[:, None] * disease_GT.T[tissue_N]
    x_NG += np.outer((age_N - 50) / 10, age_G)
    x_NG += program_NP @ program_GP.T
    x_NG += noise_sd_G * rng.standard_normal((n_samples, n_genes))

    disease_gene_G = (disease_GT != 0).any(axis=1)
    adata = _annotated(
        x_NG.astype(np.float32),
        "sample",
        levels={
            "tissue": (tissue_N, tissues),
            "disease": (disease_N, ["control", "case"]),
            "batch": (batch_N, batches),
        },
        truth={"mean": mean_G, "age_effect": age_G, "noise_sd": noise_sd_G, "disease_gene": disease_gene_G},
        effects={
            "tissue_effect": (tissue_GT, tissues),
            "disease_effect": (disease_GT, tissues),
            "batch_effect": (batch_GB, batches),
        },
        settings={"seed": seed, "disease_effect": disease_effect, "noise_sd": noise_sd},
    )
    adata.obs["age"], adata.obsm["programs"], adata.varm["program_loadings"] = age_N, program_NP, program_GP
    return adata


def simulate_counts(
    n_cells: int = 500,
    n_genes: int = 200,
    *,
    n_types: int = 4,
    n_batches: int = 2,
    signal: float = 1.0,
    batch_sd: float = 0.3,
    library: float = 2000.0,
    dispersion: float = 5.0,
    seed: int = 0,
) -> "AnnData":
    r"""Simulate counts of cells of several types from a negative binomial.

    Cell n has type t, batch b and library size ℓ ~ LogNormal(log ``library``, 0.3²), all independent. Gene g
    has

    .. math::
        ρ_n = \mathrm{softmax}_g(m_g + s A_{gt} + B_{gb}), \qquad
        x_{ng} \sim \mathrm{NB}(\mathrm{mean} = ℓ_n ρ_{ng},\; \mathrm{variance} = μ + μ²/θ)

    with m ~ N(0, 1), A ~ N(0, 1), s = ``signal``, B ~ N(0, ``batch_sd``²) and θ = ``dispersion``. The counts
    are drawn as Poisson with a Gamma rate.

    Parameters
    ----------
    n_cells, n_genes
        Shape of ``X``.
    n_types, n_batches
        Number of levels of ``obs["cell_type"]`` and ``obs["batch"]``.
    signal
        Size of the differences between types (log units); with 0, cells differ by batch, library and noise
        only, and there is nothing for a latent space to encode.
    batch_sd
        Size of the differences between batches (log units).
    library
        Median library size (counts).
    dispersion
        θ of the negative binomial; larger is closer to Poisson.
    seed
        Seed of the generator; the same seed gives the same cells.

    Returns
    -------
    AnnData
        ``X``: counts, CSR float32. ``obs``: ``cell_type``, ``batch``. The truth, in log units:
        ``var["mean"]``, ``varm["type_effect"]`` (s·A, a column for each type), ``varm["batch_effect"]``;
        ``uns["simulation"]``.

    Raises
    ------
    SettingError
        If a size is below 1 or no whole number, ``signal`` or ``batch_sd`` is negative, or ``library`` or
        ``dispersion`` is not positive.
    """
    from scipy.sparse import csr_matrix

    n_cells, n_genes = integral("n_cells", n_cells, minimum=1), integral("n_genes", n_genes, minimum=1)
    types, batches = _levels("n_types", n_types, "type"), _levels("n_batches", n_batches, "batch")
    _require("at least 0", signal=signal, batch_sd=batch_sd)
    _require("above 0", library=library, dispersion=dispersion)
    rng = np.random.default_rng(integral("seed", seed, minimum=0))

    mean_G = rng.normal(0, 1, n_genes)
    type_GT = signal * rng.normal(0, 1, (n_genes, len(types)))
    batch_GB = rng.normal(0, batch_sd, (n_genes, len(batches)))
    type_N = rng.integers(len(types), size=n_cells)
    batch_N = rng.integers(len(batches), size=n_cells)
    library_N1 = rng.lognormal(np.log(library), 0.3, (n_cells, 1))

    logits_NG = mean_G + type_GT.T[type_N] + batch_GB.T[batch_N]
    share_NG = np.exp(logits_NG - logits_NG.max(axis=1, keepdims=True))
    share_NG /= share_NG.sum(axis=1, keepdims=True)
    rate_NG = rng.gamma(dispersion, library_N1 * share_NG / dispersion)
    return _annotated(
        csr_matrix(rng.poisson(rate_NG).astype(np.float32)),
        "cell",
        levels={"cell_type": (type_N, types), "batch": (batch_N, batches)},
        truth={"mean": mean_G},
        effects={"type_effect": (type_GT, types), "batch_effect": (batch_GB, batches)},
        settings={"seed": seed, "signal": signal, "library": library, "dispersion": dispersion},
    )


def _levels(argument: str, number: int, name: str) -> list[str]:
    return [f"{name}_{i}" for i in range(integral(argument, number, minimum=1))]


def _require(limit: str, **sizes: float) -> None:
    """Demand sizes ``"above 0"`` or ``"at least 0"``; NaN is neither."""
    for name, size in sizes.items():
        if not (size > 0 or (size == 0 and limit == "at least 0")):
            raise SettingError(f"{name} must be {limit}, got {size!r}.")


def _annotated(
    x_NG: Any,
    row: str,
    *,
    levels: Mapping[str, tuple[NDArray[np.int64], list[str]]],
    truth: Mapping[str, NDArray[Any]],
    effects: Mapping[str, tuple[NDArray[np.float64], list[str]]],
    settings: Mapping[str, Any],
) -> "AnnData":
    """Put names to the numbers: levels in ``obs``, the truth in ``var``, effects of each level in ``varm``."""
    import anndata
    import pandas as pd

    obs = pd.DataFrame(
        {name: pd.Categorical.from_codes(codes_N, pd.Index(names)) for name, (codes_N, names) in levels.items()},
        index=[f"{row}_{i}" for i in range(x_NG.shape[0])],
    )
    var = pd.DataFrame(truth, index=[f"gene_{i}" for i in range(x_NG.shape[1])])
    adata = anndata.AnnData(X=x_NG, obs=obs, var=var)
    for name, (effect_GL, names) in effects.items():
        adata.varm[name] = pd.DataFrame(effect_GL, index=var.index, columns=names)
    adata.uns["simulation"] = dict(settings)
    return adata
