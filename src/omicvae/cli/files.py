"""Files of cells or samples in the forms that programs write: read into an AnnData, and written by their suffix."""

import argparse
import csv
import gzip
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
READ = "h5ad, zarr, loom, 10x (.h5, or a folder with matrix.mtx), or a table (csv, tsv, txt), .gz too"
WRITTEN = (".h5ad", ".zarr", ".csv", ".tsv", ".parquet")
MARKS = {";": "semicolons", "\t": "tabs", ",": "commas", " ": "spaces"}
SIDES = ("rows", "columns")
SHOWN = 3


def add_data_options(parser: "argparse.ArgumentParser | argparse._ArgumentGroup") -> None:
    """Declare what a file of cells may need beside it."""
    sheet = "table with a row for each cell or sample, joined by name (csv, tsv, txt)"
    parser.add_argument("--samples", type=Path, metavar="FILE", help=sheet)
    which = "where the genes of a table are; --samples tells it as well"
    parser.add_argument("--genes-in", choices=SIDES, help=which)


def data_words(options: argparse.Namespace) -> list[str]:
    """Return the words of a command that name the same data."""
    given = {"--samples": options.samples, "--genes-in": options.genes_in}
    return [str(options.data), *(str(word) for pair in given.items() if pair[1] is not None for word in pair)]


def read_data(options: argparse.Namespace) -> "AnnData":
    """Read the cells that the options name.

    Raises
    ------
    DataError
        If a file does not exist or cannot be read, a table does not say where its genes are, or a name is missing.
    """
    from omicvae._core.errors import DataError

    path, sheet = options.data, None if options.samples is None else _table(options.samples)
    if sheet is not None and not sheet.index.is_unique:
        twice = sheet.index[sheet.index.duplicated()]
        raise DataError(f"{options.samples} has several rows for {_listed(twice)}; one a cell or sample is needed.")
    if _suffix(path) in SEPARATORS:
        adata = _from_table(path, sheet, options.genes_in)
    elif options.genes_in is not None:
        raise DataError(f"--genes-in is for tables; {path} says itself where its genes are.")
    else:
        adata = _from_container(path)
    return adata if sheet is None else _with_columns(adata, sheet, options.samples)


def check_writable(path: Path) -> None:
    """Refuse a suffix that cannot be written, before the work whose result would be lost."""
    from omicvae._core.errors import NotSupportedError, SettingError

    if path.suffix not in WRITTEN:
        raise SettingError(f"--out takes a file ending in {', '.join(WRITTEN)}, got {str(path)!r}.")
    if path.suffix == ".parquet" and find_spec("pyarrow") is None:
        raise NotSupportedError("--out FILE.parquet needs pyarrow: pip install pyarrow.")


def write_data(adata: "AnnData", path: Path, key: str) -> str:
    """Write cells with their latents, or as a table the latents ``obsm[key]`` alone; say what was written where."""
    from omicvae._core.files import write_file
    from omicvae.model.export import FORMATS

    if path.suffix in FORMATS:
        FORMATS[path.suffix](path, adata)
        return f"{path}: obsm[{key!r}], {adata.n_obs} × {adata.obsm[key].shape[1]}"
    table = latent_table(adata, key)
    if path.suffix == ".parquet":
        write_file(path, table.to_parquet)
    else:
        write_file(path, lambda target: table.to_csv(target, sep=SEPARATORS[path.suffix], index_label="cell"))
    return f"{path}: {len(table)} rows, {', '.join(table.columns[:2])}, …"


def latent_table(adata: "AnnData", key: str) -> "pd.DataFrame":
    """Latents as a table: a row a cell, columns numbered from 1."""
    import pandas as pd

    z_NK = adata.obsm[key]
    return pd.DataFrame(z_NK, index=adata.obs_names, columns=[f"{key}_{k + 1}" for k in range(z_NK.shape[1])])


def _suffix(path: Path) -> str:
    """Suffix in lower case, without that of a compression."""
    return Path(path.stem if path.suffix == ".gz" else path.name).suffix.lower()


def _from_container(path: Path) -> "AnnData":
    """Read a file or folder that holds cells, genes and values."""
    from omicvae._core.errors import DataError, NotSupportedError

    if not path.exists():
        raise DataError(f"There is no file {str(path)!r}.")
    form = ".mtx" if path.is_dir() and any(path.glob("*matrix.mtx*")) else _suffix(path)
    if form not in READERS:
        raise DataError(f"{str(path)!r} is none of what is read: {READ}.")
    name, read = READERS[form]
    try:
        return read(path)
    except ImportError as error:
        raise NotSupportedError(f"Reading {path} needs a package that is not installed: {error}") from error
    # what a damaged file raises depends on where the damage is
    except Exception as error:
        raise DataError(f"{str(path)!r} cannot be read as {name}: {error}") from error


def _read_h5ad(path: Path) -> "AnnData":
    import anndata

    return anndata.read_h5ad(path)


def _read_zarr(path: Path) -> "AnnData":
    import anndata

    return anndata.read_zarr(path)


def _read_loom(path: Path) -> "AnnData":
    from anndata.io import read_loom

    return read_loom(path)


def _read_10x(path: Path) -> "AnnData":
    import scanpy as sc

    adata = sc.read_10x_mtx(path) if path.is_dir() else sc.read_10x_h5(path)
    adata.var_names_make_unique()  # symbols repeat, and the identifiers stay beside them
    return adata


READERS: "dict[str, tuple[str, Callable[[Path], AnnData]]]" = {
    ".h5ad": ("an h5ad file", _read_h5ad),
    ".zarr": ("a zarr folder", _read_zarr),
    ".loom": ("a loom file", _read_loom),
    ".h5": ("a 10x file", _read_10x),
    ".mtx": ("a 10x folder", _read_10x),
}


def _table(path: Path) -> "pd.DataFrame":
    """Read a table whose first column holds names."""
    import pandas as pd

    from omicvae._core.errors import DataError

    if not path.is_file():
        raise DataError(f"There is no file {str(path)!r}.")
    if _suffix(path) not in SEPARATORS:
        raise DataError(f"{str(path)!r} is no table that is read: {', '.join(SEPARATORS)}, .gz too.")
    separator = SEPARATORS[_suffix(path)]
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file, delimiter=separator)
            header, first = next(lines), next(lines)
        if len(first) == 1 and (other := next((mark for mark in MARKS if mark in first[0]), None)):
            raise ValueError(
                f"its fields seem to be separated by {MARKS[other]}, and those of {_suffix(path)} are by "
                f"{MARKS[separator]}. Rename it (.csv with commas, .tsv with tabs), or save it with commas and "
                "decimal points"
            )
        if len(first) == len(header):  # R has no name above the names
            del header[0]
        # names stay as they are, "007" and "NA" too
        table = pd.read_csv(path, sep=separator, skiprows=1, header=None, converters={0: str}, encoding="utf-8-sig")
        table = table.set_index(0).rename_axis(None)
        table.columns = header
    except StopIteration:
        raise DataError(f"{str(path)!r} holds no table: it needs a line of names, and lines of values.") from None
    except (ValueError, OSError, EOFError, csv.Error) as error:
        raise DataError(f"{str(path)!r} cannot be read as a table: {error}") from error
    return table


def _from_table(path: Path, sheet: "pd.DataFrame | None", genes_in: str | None) -> "AnnData":
    """Read values of genes and samples, either way round."""
    from anndata import AnnData

    from omicvae._core.errors import DataError

    table = _table(path)
    if other := [
        str(name) for name, dtype in zip(table.columns, table.dtypes, strict=True) if dtype.kind not in "iufb"
    ]:
        raise DataError(
            f"{path} has columns without numbers ({_listed(other)}). A table of values has names in its first column "
            "and its first row, and numbers everywhere else."
        )
    if genes_in is None and sheet is not None:
        shared = {side: len(sheet.index.intersection(names.astype(str))) for side, names in _sides(table).items()}
        if shared["rows"] != shared["columns"]:
            genes_in = min(shared, key=shared.__getitem__)
    if genes_in is None:
        raise DataError(
            f"Where are the genes of {path}? Its rows are {_listed(table.index)}, its columns "
            f"{_listed(table.columns)}. Pass --genes-in rows or --genes-in columns, or --samples with a table of them."
        )
    cells = table if genes_in == "columns" else table.T
    for what, names in (("sample", cells.index), ("gene", cells.columns)):
        if not names.is_unique:
            raise DataError(f"{path} has several {what}s named {_listed(names[names.duplicated()])}.")
    adata = AnnData(cells.to_numpy(dtype="float64"))
    adata.obs_names, adata.var_names = cells.index.astype(str), cells.columns.astype(str)
    return adata


def _sides(table: "pd.DataFrame") -> "dict[str, pd.Index]":
    return {"rows": table.index, "columns": table.columns}


def _with_columns(adata: "AnnData", sheet: "pd.DataFrame", path: Path) -> "AnnData":
    """Put the columns of a sheet into ``obs``, by name."""
    from omicvae._core.errors import DataError

    if len(missing := adata.obs_names.difference(sheet.index, sort=False)):
        raise DataError(
            f"{path} has no row for {len(missing)} of {adata.n_obs} cells or samples, such as {_listed(missing)}; its "
            f"own are {_listed(sheet.index)}."
        )
    if both := sorted({*sheet.columns} & {*adata.obs.columns}):
        raise DataError(f"{path} and the data both have a column {both[0]!r}; rename one of them.")
    if spare := len(sheet) - adata.n_obs:
        print(f"omicvae: {spare} of {len(sheet)} rows of {path} are of no cell in the data.", file=sys.stderr)
    adata.obs = adata.obs.join(sheet)
    return adata


def _listed(names: "pd.Index | list[str]") -> str:
    shown = [repr(str(name)) for name in names[:SHOWN]]
    return ", ".join([*shown, "…"] if len(names) > SHOWN else shown)
