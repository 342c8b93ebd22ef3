"""A cheap checksum that tells whether a data matrix has changed."""

import zlib
from typing import TYPE_CHECKING

import numpy as np

from omicvae.data.matrix import get_matrix, iter_rows

if TYPE_CHECKING:
    from anndata import AnnData


def fingerprint(adata: "AnnData", layer: str | None = None) -> str:
    """CRC-32 of the shape and of each cell's non-zero genes and values, in float32 as a model sees them.

    Equal values give equal text in any container, memory order or number type, on disk or not, so that a
    copy, a view or a file that was written and read again count as unchanged. It guards against accidents,
    not against an adversary.
    """
    matrix = get_matrix(adata, layer)
    checksum = zlib.crc32(np.array(matrix.shape, dtype=np.int64).tobytes())
    for chunk in iter_rows(matrix):
        with np.errstate(over="ignore"):  # beyond float32 becomes infinite, which set-up refuses
            values = chunk.data.astype(np.float32, copy=False)
        for part in (chunk.indptr.astype(np.int64), chunk.indices.astype(np.int32, copy=False), values):
            checksum = zlib.crc32(part.view(np.uint8).data, checksum)
    return f"{checksum:08x}"
