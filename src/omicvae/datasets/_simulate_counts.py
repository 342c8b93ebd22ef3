"""A small single-cell experiment with a known truth: cell types and batches in negative binomial counts."""

from typing import TYPE_CHECKING

import numpy as np

from omicvae._core.arguments import integral
from omicvae._core.errors import SettingError

if TYPE_CHECKING:
    from anndata import AnnData


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
    import anndata
    import pandas as pd
    from scipy.sparse import csr_matrix

    n_cells = integral("n_cells", n_cells, minimum=1)
    n_genes = integral("n_genes", n_genes, minimum=1)
    types = [f"type_{i}" for i in range(integral("n_types", n_types, minimum=1))]
    batches = [f"batch_{i}" for i in range(integral("n_batches", n_batches, minimum=1))]
    _check_sizes(signal=signal, batch_sd=batch_sd, library=library, dispersion=dispersion)
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
    x_NG = csr_matrix(rng.poisson(rate_NG).astype(np.float32))

    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical.from_codes(type_N, pd.Index(types)),
            "batch": pd.Categorical.from_codes(batch_N, pd.Index(batches)),
        },
        index=[f"cell_{i}" for i in range(n_cells)],
    )
    var = pd.DataFrame({"mean": mean_G}, index=[f"gene_{i}" for i in range(n_genes)])
    adata = anndata.AnnData(X=x_NG, obs=obs, var=var)
    adata.varm["type_effect"] = pd.DataFrame(type_GT, index=var.index, columns=types)
    adata.varm["batch_effect"] = pd.DataFrame(batch_GB, index=var.index, columns=batches)
    adata.uns["simulation"] = {"seed": seed, "signal": signal, "library": library, "dispersion": dispersion}
    return adata


def _check_sizes(**sizes: float) -> None:
    may_be_zero = {"signal", "batch_sd"}
    for name, size in sizes.items():
        if not (size >= 0 if name in may_be_zero else size > 0):
            limit = "at least 0" if name in may_be_zero else "above 0"
            raise SettingError(f"{name} must be {limit}, got {size!r}.")
