"""Real counts of 700 blood cells, recovered from an object that ships inside scanpy."""

import warnings
from typing import TYPE_CHECKING

import numpy as np

from omicvae._core.errors import DataError

if TYPE_CHECKING:
    from anndata import AnnData
    from scipy.sparse import csr_matrix

# Distance of a recovered value from the nearest whole number (counts); 0.11 for scanpy's object, which stores
# float32.
LARGEST_DEVIATION = 0.25


def counts_from_log_normalised(log_NG: "csr_matrix") -> "csr_matrix":
    """Undo scanpy's ``normalize_total`` and ``log1p`` (natural logarithm); counts come back as float32.

    A normalised entry is log(1 + x·t/ℓ) with one factor t/ℓ a cell. A cell whose smallest non-zero count is 1
    has min(x·t/ℓ) = t/ℓ, hence x = expm1(entry) / min(expm1(entries of the cell)).

    Raises
    ------
    DataError
        If a recovered value is further than 0.25 counts from a whole number: then the values are not
        log-normalised counts, or some cell has no gene with a count of one.
    """
    counts_NG = log_NG.tocsr().astype(np.float64)
    counts_NG.eliminate_zeros()
    values_M = np.expm1(counts_NG.data)
    entries_N = np.diff(counts_NG.indptr)
    filled_N = entries_N > 0
    smallest_N = np.ones(len(entries_N))
    smallest_N[filled_N] = np.minimum.reduceat(values_M, counts_NG.indptr[:-1][filled_N])
    values_M = values_M / np.repeat(smallest_N, entries_N)
    rounded_M = np.rint(values_M)
    deviation = float(np.abs(values_M - rounded_M).max(initial=0.0))
    if not deviation < LARGEST_DEVIATION:
        raise DataError(
            "No whole counts come out of these values: the largest distance from a whole number is "
            f"{deviation:.2f}, the limit {LARGEST_DEVIATION}. Are they log1p of library-normalised counts?"
        )
    counts_NG.data = rounded_M.astype(np.float32)
    return counts_NG


def pbmc68k_counts() -> "AnnData":
    """Return the counts of 700 blood cells × 765 genes with ten labelled cell types; no download.

    scanpy ships this subset of the 68k PBMC data (Zheng et al. 2017) with log-normalised values in its raw
    layer. The counts come back exactly: see :func:`counts_from_log_normalised`.

    Returns
    -------
    AnnData
        ``X``: counts, CSR float32. ``obs``: ``bulk_labels`` (ten cell types), ``phase`` (cell-cycle phase),
        ``S_score`` and ``G2M_score`` (cell-cycle scores), ``percent_mito`` and ``n_counts`` (of the full
        transcriptome).
    """
    import anndata
    import scanpy

    with warnings.catch_warnings():
        # the file was written by an old anndata, and newer ones say so to everyone who reads it
        warnings.simplefilter("ignore")
        shipped = scanpy.datasets.pbmc68k_reduced()
    obs = shipped.obs[["bulk_labels", "phase", "S_score", "G2M_score", "percent_mito", "n_counts"]]
    counts_NG, var = counts_from_log_normalised(shipped.raw.X), shipped.raw.var[[]]
    return anndata.AnnData(X=counts_NG, obs=obs.rename_axis(index=None), var=var.rename_axis(index=None))
