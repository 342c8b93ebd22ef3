"""``impute``: the entries of cells that are missing, given the others."""

from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from numpy.typing import NDArray

from omicvae._core import DataError, SettingError, integral, real
from omicvae.data import align_genes, get_matrix, iter_rows, matrix_place
from omicvae.data.minified import require_data
from omicvae.model.setup_record import check_anndata
from omicvae.model.state import HasState
from omicvae.training import CellPasses
from omicvae.training.imputation import impute_cells


class ImputationMixin(HasState):
    """Missing entries, and how sure the model is of them."""

    def impute(
        self,
        adata: AnnData | None = None,
        mask: Any = None,
        *,
        n_samples: int = 50,
        n_rounds: int = 3,
        level: float = 0.9,
        batch_size: int | None = None,
        seed: int | None = None,
    ) -> pd.DataFrame:
        """Impute entries: mean and interval of p(x_missing | x_observed, c), of what would have been measured.

        Whatever stands in a missing entry has no influence on any result, the library included: ℓ is that of the
        observed genes over their share of the decoded expression. Missing entries are first filled with decoded means,
        then a chain draws z ~ q(z | x, c) and x_missing ~ p(x | z, c) in turn (Rezende, Mohamed & Wierstra 2014): the
        intervals hold the noise of measuring and that z is not known.

        Parameters
        ----------
        adata
            Cells; None for the model's own. All genes of the model must be there.
        mask
            True for missing, (N, G) with the cells and genes of ``adata``, dense or sparse; None takes the entries that
            are NaN.
        n_samples
            Draws S of the chain.
        n_rounds
            Rounds of filling with means before it.
        level
            Share of the draws between ``low`` and ``high``.
        batch_size
            Cells in an evaluation batch.
        seed
            Of all draws; None for the model's. A cell's draws are its own.

        Returns
        -------
        pandas.DataFrame
            A row for each missing entry, cell by cell and gene by gene in the order of ``adata``: ``cell``, ``gene``,
            ``mean``, ``sd``, ``low``, ``high``, in data units. So ``x[mask] = table["mean"]`` fills a dense matrix.

        Raises
        ------
        SettingError
            On a mask of another shape or type, or a level outside (0, 1).
        DataError
            If nothing is missing, or a cell has no observed entry.
        """
        n_samples, n_rounds = integral("n_samples", n_samples, minimum=2), integral("n_rounds", n_rounds, minimum=0)
        level = real("level", level, minimum=1e-3, maximum=1 - 1e-3)
        self.state.require_trained("impute()")
        adata = self.state.own_adata() if adata is None else adata
        check_anndata(adata)
        require_data(adata, "impute()")
        layer = self.schema.keys.layer
        matrix = get_matrix(adata, layer)
        missing_NG = _nan_entries(matrix) if mask is None else _mask(mask, adata.shape)
        genes = align_genes(self.schema.gene_names, adata.var_names)
        of_model_NG = missing_NG[:, genes]
        if not of_model_NG.any():
            raise DataError(f"No entry of the model's genes is missing: no NaN in {matrix_place(layer)}, and no mask.")
        if of_model_NG.all(1).any():
            cell = adata.obs_names[int(of_model_NG.all(1).argmax())]
            raise DataError(f"Nothing of cell {cell!r} is observed; leave it out, or generate() such cells.")
        store = self.state.cells(_without(adata, matrix, missing_NG, layer))
        rows = np.flatnonzero(of_model_NG.any(1))
        passes = CellPasses(self.module, store, rows, batch_size)
        seed = self.state.seed_for("latent", seed)
        found = impute_cells(passes, of_model_NG[rows], seed=seed, n_rounds=n_rounds, n_samples=n_samples, level=level)
        cell_E, gene_E = of_model_NG.nonzero()
        columns = {"mean": found.mean_E, "sd": found.sd_E, "low": found.low_E, "high": found.high_E}
        table = pd.DataFrame({"cell": adata.obs_names[cell_E], "gene": adata.var_names[genes[gene_E]], **columns})
        return table.iloc[np.lexsort((genes[gene_E], cell_E))].reset_index(drop=True)


def _mask(mask: Any, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the mask dense, if it is one for such data."""
    given: Any = np.asarray(getattr(mask, "toarray", lambda: mask)())
    if given.shape != tuple(shape) or given.dtype != bool:
        raise SettingError(
            f"mask must be boolean, True for missing, with a row for each cell and a column for each gene of adata: "
            f"{tuple(shape)}, got {given.dtype} {given.shape}."
        )
    return given


def _nan_entries(matrix: Any) -> NDArray[np.bool_]:
    return np.vstack([np.isnan(chunk.toarray()) for chunk in iter_rows(matrix)])


def _without(adata: AnnData, matrix: Any, missing_NG: NDArray[np.bool_], layer: str | None) -> AnnData:
    """Return the cells with zeros where entries are missing."""
    chunks, start = [], 0
    for chunk in iter_rows(matrix):
        kept = chunk.tocoo()
        observed = ~missing_NG[start + kept.row, kept.col]
        parts = kept.data[observed], (kept.row[observed], kept.col[observed])
        chunks.append(sp.csr_matrix(parts, shape=chunk.shape))
        start += chunk.shape[0]
    observed_NG = sp.vstack(chunks, format="csr")
    layers = {} if layer is None else {layer: observed_NG}
    return AnnData(observed_NG, obs=adata.obs, var=adata.var[[]], layers=layers)
