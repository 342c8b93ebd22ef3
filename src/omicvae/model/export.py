"""Expression into a file, some cells at a time: memory does not grow with their number."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from torch import Tensor

from omicvae._core import Batch, SavingError, choose, integral, keys
from omicvae._core.files import write_file, zarr_folder
from omicvae.analysis import DrawInterval, mean_and_sd
from omicvae.data import Transform, gene_columns
from omicvae.model.points import libraries
from omicvae.model.provenance import record
from omicvae.model.state import HasState
from omicvae.training import CellPasses, map_cells

# numbers of all draws of a minibatch: 32 MB, of which a few copies are made
ENTRIES = 2**23
#: attributes by which AnnData knows an array
ARRAY = {"encoding-type": "array", "encoding-version": "0.2.0"}


class ExportMixin(HasState):
    """Writes expression of all genes to disk."""

    def write_expression(
        self,
        path: str | Path,
        adata: AnnData | None = None,
        indices: Sequence[int] | None = None,
        *,
        transform: Mapping[str, Any] | None = None,
        gene_list: Sequence[str] | None = None,
        library_size: float | None = None,
        n_samples: int = 25,
        credible_interval: float | None = None,
        batch_size: int | None = None,
        seed: int | None = None,
        unseen: str | Mapping[str, str] = "error",
        missing_genes: str = "error",
        overwrite: bool = False,
    ) -> Path:
        """Write corrected expression of cells to an AnnData on disk, with its uncertainty, at constant memory.

        ``X`` is the mean over S draws of z ~ q(z | x, c) of the expression (as ``get_normalized_expression`` has it) at
        one ``library_size`` and at the covariates of ``transform``, so that cells differ in neither.
        ``layers["sd"]`` is the SD over these draws: what the cell leaves open, not what the network does not know.

        ``uns["omicvae"]["expression"]`` says, as JSON, what made the file, and under ``note`` what was imputed.
        ``var["imputed"]`` says whether the gene was missing from ``adata`` altogether, ``var["share_of_zeros"]`` in
        which share of these cells it was 0, NaN where missing.

        Parameters
        ----------
        path
            ``"….h5ad"`` or ``"….zarr"``. It appears when it is complete.
        adata, indices, gene_list, unseen, missing_genes
            As in ``get_latent_representation`` and ``get_normalized_expression``.
        transform
            Values of covariates for all cells; see ``get_normalized_expression``.
        library_size
            Counts: None for the median of these cells, or 1 with size factors.
        n_samples
            S, at least 2.
        credible_interval
            Level of an interval over these draws, for the layers ``lower`` and ``upper``; see
            ``get_normalized_expression``.
        overwrite
            Replace what is there.

        Returns
        -------
        The path.

        Raises
        ------
        SavingError
            If something is there, or it cannot be written.
        """
        path, draws = Path(path), integral("n_samples", n_samples, minimum=2)
        read = mean_and_sd if credible_interval is None else DrawInterval(credible_interval, draws)
        layers = ("sd",) if credible_interval is None else ("sd", "lower", "upper")
        write: Any = choose("the suffix of path", path.suffix, FORMATS)
        if path.exists() and not overwrite:
            raise SavingError(f"{path} is there already; pass overwrite=True to replace it, or another name.")
        state = self.state
        passes = state.passes(
            "write_expression()", adata, indices, batch_size, unseen=unseen, missing_genes=missing_genes
        )
        source, rows = state.own_adata() if adata is None else adata, passes.rows
        own = np.median(passes.store.library_N[rows]) if self.schema.keys.size_factor_key is None else 1.0
        library = float(libraries(state, library_size, 1, own)[0])
        genes = gene_columns(self.schema.gene_names, gene_list)
        target, noise = Transform.of(self.schema, transform), state.seed_for("latent", seed)
        size = int(np.clip(ENTRIES // (draws * self.schema.n_genes), 16, 4096))
        size = size if batch_size is None else integral("batch_size", batch_size, minimum=1)
        passes = CellPasses(passes.module, passes.store, rows, size)
        names = pd.Index(self.schema.gene_names)[genes]
        imputed_G = ~names.isin(source.var_names)
        zeros_G = np.where(imputed_G, np.nan, _share_of_zeros(passes)[genes])
        var = pd.DataFrame({"share_of_zeros": zeros_G, "imputed": imputed_G}, index=names)
        settings = {
            "transform": dict(transform or {}),
            "library_size": library,
            "n_samples": draws,
            "seed": state.config.seed if seed is None else seed,
        }
        note = _note(var, library if self.module.likelihood.support == "counts" else None, draws)
        frame = AnnData(
            obs=source.obs.iloc[rows], var=var, uns={keys.UNS: {keys.EXPRESSION: record(state, **settings, note=note)}}
        )

        def fill(create: Callable[..., Any]) -> None:
            chunks = (min(size, len(rows)), len(genes))
            names = ("X", *(f"layers/{layer}" for layer in layers))
            arrays = tuple(create(name, shape=frame.shape, dtype="float32", chunks=chunks) for name in names)
            for array in arrays:
                array.attrs.update(ARRAY)
            passes.read_expression(read, genes, [target], seed=noise, n_samples=draws, scale=library, out=arrays)

        write(path, frame, fill)
        return path


#: makes X and layers by what creates an array in the file, and fills them
Fill = Callable[[Callable[..., Any]], None]


def _share_of_zeros(passes: CellPasses) -> NDArray[np.float64]:
    """Return the share of the cells in which each gene is 0."""
    positive_G = np.zeros(passes.store.n_genes, np.int64)

    def count(batch: Batch, start: int) -> Tensor:
        columns = batch.rows.columns_M.cpu().numpy()
        positive_G[:] += np.bincount(columns, minlength=len(positive_G))
        return batch.library_B1

    n_cells = len(map_cells(passes.module, passes.store, passes.rows, count)[0])
    return 1 - positive_G / n_cells


def _note(var: pd.DataFrame, library: float | None, draws: int) -> str:
    """Say what the values are, and what was imputed; ``library`` is that of counts."""
    missing, zeros_G = int(var["imputed"].sum()), var["share_of_zeros"].dropna()
    imputed = f"{missing} of {len(var)} genes were missing, and their values rest on the other genes alone."
    depth = ""
    if library is not None:
        depth = f" at a library of {library:g}"
        imputed = f"{zeros_G.mean():.1%} of the entries were 0 in the data; {imputed}" if len(zeros_G) else imputed
    return (
        f"Every value is what the model expects{depth} given the whole cell (mean over {draws} draws of z, their SD in "
        f"the layer 'sd'); none is a measurement. {imputed} Expected values make cells alike, so that tests between "
        "groups find differences that are not there (Andrews & Hemberg 2019): test on the data themselves."
    )


def write_h5ad(path: Path, frame: AnnData, fill: Fill = lambda create: None) -> None:
    """Write a file, and let ``fill`` add what is not in memory."""
    import h5py

    def write(target: Path) -> None:
        frame.write_h5ad(target)
        with h5py.File(target, "r+") as file:
            fill(file.create_dataset)

    write_file(path, write)


def write_zarr(path: Path, frame: AnnData, fill: Fill = lambda create: None) -> None:
    """Write a folder, and let ``fill`` add what is not in memory."""
    import zarr
    from anndata.io import write_elem

    with zarr_folder(path) as target:
        group = zarr.open_group(target, mode="w", zarr_format=2)
        write_elem(group, "/", frame)
        fill(group.create_array)
        zarr.consolidate_metadata(group.store)


#: suffix → how a file or folder is written, whole or not at all
FORMATS = {".h5ad": write_h5ad, ".zarr": write_zarr}
