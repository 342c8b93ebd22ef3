"""Reading and writing of what the verbs take and leave."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anndata import AnnData


def read_h5ad(path: Path) -> "AnnData":
    """Read an h5ad file.

    Raises
    ------
    DataError
        If there is no such file, or anndata cannot read it; the message names it.
    """
    import anndata

    from omicvae._core.errors import DataError

    if not path.is_file():
        raise DataError(f"There is no file {str(path)!r}.")
    try:
        return anndata.read_h5ad(path)
    # what a damaged file raises depends on where the damage is
    except Exception as error:
        raise DataError(f"{str(path)!r} cannot be read as an h5ad file: {error}") from error


def write_h5ad(adata: "AnnData", path: Path) -> None:
    """Write an h5ad file so that what stood there before is intact until the new file is complete.

    Raises
    ------
    SavingError
        If the folder cannot be made or the file not be written.
    """
    from omicvae._core.errors import SavingError
    from omicvae._core.files import write_atomically

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, adata.write_h5ad)
    except OSError as error:
        raise SavingError(f"{str(path)!r} could not be written: {error}") from error
