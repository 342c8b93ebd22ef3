"""Whether an AnnData still holds what a model has read from it: matrix, names and their order, columns in use."""

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
import pandas as pd
import scipy.sparse as sp

from omicvae._core import DataError
from omicvae._core import keys as places
from omicvae._core.native import compiled, run
from omicvae.data.covariates import loose_name, obs_column
from omicvae.data.keys import SetupKeys
from omicvae.data.matrix import get_matrix, iter_rows

if TYPE_CHECKING:
    from anndata import AnnData

#: words of 8 bytes that are hashed one after the other
BLOCK = 1 << 14
#: odd, so that a product with it loses nothing (Steele, Lea & Flood 2014)
MULTIPLIER = 0xBF58476D1CE4E5B9
CELL_NAMES = "adata.obs_names"
#: what minified cells have in the place of the data: words for it → name in obsm
LATENT_PLACES = {f"adata.obsm[{name!r}]": name for name in (places.POSTERIOR_MEAN, places.POSTERIOR_VARIANCE)}


@dataclass(slots=True, eq=False)
class Identity:
    """What tells the cells of a model from others, as it was when the model took them.

    It looks at what values mean: another container, number type or order of a factor's categories is no change.
    Labels are not part of it, for they are read anew whenever they are used.

    Attributes
    ----------
    parts
        Place in the AnnData → checksum of what a model reads there.
    stamp
        Hash of the matrix's own memory, at that of the last look: reading it takes a tenth of the time of the
        checksum, which is taken again only where the stamp differs. None where the matrix is on disk, or is of a
        rare kind.
    names
        The indexes of cells and genes at the last look: pandas changes none, it makes others. (What is written
        into ``obs_names.values`` goes unseen.)
    in_call, looked_at
        Whether one look is enough for the user's present call; and whether it has looked.
    """

    keys: SetupKeys
    parts: dict[str, str]
    stamp: tuple[Any, ...] | None
    names: tuple[pd.Index, ...]
    in_call: bool = False
    looked_at: bool = False

    @classmethod
    def of(cls, adata: "AnnData", keys: SetupKeys) -> Self:
        """Look at ``adata``; of minified cells at the latents, in the place of the matrix."""
        parts, stamp = {**name_parts(adata), **column_parts(adata, keys)}, None
        if not is_minified(adata):
            parts = {matrix_place(keys.layer): fingerprint(adata, keys.layer), **parts}
            stamp = memory_stamp(get_matrix(adata, keys.layer))
        return cls(keys, parts, stamp, (adata.obs_names, adata.var_names))

    @property
    def matrix(self) -> str:
        """Checksum of the matrix."""
        return self.parts[matrix_place(self.keys.layer)]

    def differing(self, before: Mapping[str, str]) -> list[str]:
        """Places in which the data are others to a network than those of ``before``; to it cells have no names."""
        # minified cells have latents in the place of the data: what both have is compared
        other_form = any(place in LATENT_PLACES for place in (*before, *self.parts))
        compared = self.parts if other_form else dict.fromkeys((*before, *self.parts))
        return [place for place in compared if place != CELL_NAMES and before.get(place) != self.parts.get(place)]

    def require(self, adata: "AnnData") -> None:
        """Raise a DataError that names what has changed; results would be those of the data as they were."""
        now, names = column_parts(adata, self.keys), (adata.obs_names, adata.var_names)
        if not all(one is other for one, other in zip(names, self.names, strict=True)):
            now = {**name_parts(adata), **now}
        changed = [place for place, checksum in now.items() if checksum != self.parts.get(place)]
        place = matrix_place(self.keys.layer)
        if place in self.parts and self._matrix_changed(adata):
            changed.insert(0, place)
        if changed:
            raise DataError(
                f"The model's own AnnData has changed since it was set up: {', '.join(changed)}. Its results would "
                "be those of the data before. Undo the change; or pass the data as they are now as other cells, "
                "adata=adata.copy(); or make a new model of them: CVAE.setup_anndata(adata, ...), then CVAE(adata)."
            )
        self.names = names

    def _matrix_changed(self, adata: "AnnData") -> bool:
        stamp = memory_stamp(get_matrix(adata, self.keys.layer))
        if stamp is not None and stamp == self.stamp:
            return False
        if fingerprint(adata, self.keys.layer) != self.matrix:
            return True
        self.stamp = stamp  # the same values in another container
        return False


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


def matrix_place(layer: str | None) -> str:
    """Name the matrix in messages."""
    return "adata.X" if layer is None else f"adata.layers[{layer!r}]"


def is_minified(adata: "AnnData") -> bool:
    """Whether latents stand in the place of the data."""
    return places.MINIFY_TYPE in adata.uns


def name_parts(adata: "AnnData") -> dict[str, str]:
    """Checksums of the names of cells and genes, in their order."""
    return {
        CELL_NAMES: checksum_of_texts(adata.obs_names),
        "adata.var_names": checksum_of_texts(adata.var_names),
    }


def column_parts(adata: "AnnData", keys: SetupKeys) -> dict[str, str]:
    """Checksums of the columns that enter the network, and of minified cells' latents and library."""
    parts: dict[str, str] = {}
    numbers = [*keys.continuous_covariate_keys, *([keys.size_factor_key] if keys.size_factor_key else [])]
    numbers += [places.LIBRARY] if is_minified(adata) else []
    checksums = dict.fromkeys(keys.categorical_keys, checksum_of_levels)
    checksums |= dict.fromkeys(numbers, checksum_of_numbers)
    for key, checksum in checksums.items():
        parts[f"adata.obs[{key!r}]"] = checksum(obs_column(adata, key)) if key in adata.obs else "none"
    if is_minified(adata):
        for place, name in LATENT_PLACES.items():
            values = np.ascontiguousarray(adata.obsm[name], np.float32) if name in adata.obsm else np.empty(0)
            parts[place] = f"{zlib.crc32(values.tobytes()):08x}"
    return parts


def checksum_of_texts(values: Iterable[object], start: int = 0) -> str:
    """CRC-32 of values as text, one after the other; lengths count, so that no two ways of cutting agree."""
    texts = [str(value) for value in values]
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    return f"{zlib.crc32(lengths.tobytes(), zlib.crc32(''.join(texts).encode('utf-8', 'surrogatepass'), start)):08x}"


def checksum_of_levels(column: pd.Series) -> str:
    """CRC-32 of the values of a factor by their names, whatever the categories' order.

    1, 1.0 and "1" are one, unless a factor has several levels of that name, as "1.1" and "1.10".
    """
    codes, uniques = pd.factorize(column, use_na_sentinel=True)
    names = [loose_name(value) for value in uniques.tolist()]
    if len(set(names)) < len(names):
        names = uniques.tolist()
    return checksum_of_texts(names, zlib.crc32(np.asarray(codes, dtype=np.int64).tobytes()))


def checksum_of_numbers(column: pd.Series) -> str:
    """CRC-32 of numbers in float64."""
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    return f"{zlib.crc32(numbers.tobytes()):08x}"


def memory_stamp(matrix: Any) -> tuple[Any, ...] | None:
    """Hash the memory of a matrix; None for one that is on disk or of another kind."""
    arrays: tuple[np.ndarray, ...]
    if getattr(matrix, "format", "") in ("csr", "csc") and sp.issparse(matrix):
        matrix = cast("Any", matrix)
        arrays = (matrix.data, matrix.indices, matrix.indptr)
    elif isinstance(matrix, np.ndarray) and not isinstance(matrix, np.ma.MaskedArray):
        arrays = (matrix,)
    else:
        return None
    layout = [(array.shape, array.dtype.str, array.flags.c_contiguous) for array in arrays]
    return type(matrix).__name__, tuple(matrix.shape), tuple(layout), tuple(hash_memory(array) for array in arrays)


def hash_memory(array: np.ndarray) -> int:
    """CRC-32 of 64-bit hashes of an array's bytes; every bit and its place count."""
    array = array.T if array.flags.f_contiguous else array
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    whole = len(flat) // 8 * 8
    words = np.require(flat[:whole].view(np.uint64), requirements="A")
    hashes = np.empty(-(-len(words) // BLOCK), np.uint64)
    run(hash_blocks, len(hashes), words, hashes)
    return zlib.crc32(flat[whole:].data, zlib.crc32(hashes.view(np.uint8).data))


@compiled
def hash_blocks(part, parts, words, hashes):  # type: ignore[no-untyped-def]
    """Hash blocks of words: h ← (h ⊕ word) · m, then h ← h ⊕ h / 2³², so that high bits reach the low ones."""
    for b in range(len(hashes) * part // parts, len(hashes) * (part + 1) // parts):
        h = np.uint64(b + 1)
        for w in words[b * BLOCK : (b + 1) * BLOCK]:
            h = (h ^ w) * np.uint64(MULTIPLIER)
            h ^= h >> np.uint64(32)
        hashes[b] = h
