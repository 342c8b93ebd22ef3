"""The record of set-up that travels with an AnnData object."""

import json

from anndata import AnnData

from omicvae._core import DataError, keys
from omicvae.data import Identity, SetupKeys, fingerprint, matrix_place

#: how to come to an AnnData from what is given for one, by the name of its type
WAYS = {
    "DataFrame": "make one by anndata.AnnData(frame) (rows are cells)",
    "MuData": "pass one of its modalities, as in mdata.mod['rna']",
    "str": "read the file by anndata.read_h5ad(path)",
    "PosixPath": "read the file by anndata.read_h5ad(path)",
    "WindowsPath": "read the file by anndata.read_h5ad(path)",
    "Raw": "make one by adata.raw.to_adata()",
}


def check_anndata(adata: object) -> None:
    """Raise a DataError that names the way to an AnnData where something else is given for one."""
    if not isinstance(adata, AnnData):
        kind = type(adata).__name__
        way = WAYS.get(kind, "make one by anndata.AnnData(X, obs=..., var=...) (rows are cells)")
        raise DataError(f"adata must be an AnnData, got a {kind}; {way}.")


def own_memory(adata: AnnData) -> None:
    """Turn a view into an object of its own, in place, as AnnData itself does when a view is written to."""
    check_anndata(adata)
    if adata.is_view:
        adata._init_as_actual(adata.to_memory() if adata.isbacked else adata.copy())


def record_setup(adata: AnnData, setup: SetupKeys) -> None:
    """Write the keys and the fingerprint of the matrix to ``uns``, as text that h5ad files can hold."""
    record = {
        "keys": setup.to_dict(),
        "fingerprint": fingerprint(adata, setup.layer),
        "shape": list(adata.shape),
    }
    adata.uns[keys.UNS] = {**adata.uns.get(keys.UNS, {}), keys.SETUP: json.dumps(record)}


def recorded_setup(adata: AnnData) -> Identity | None:
    """Look at data as ``setup_anndata`` recorded them, also a copy or a subset; None where there is no record.

    Raises
    ------
    DataError
        If the matrix is not the one that was set up.
    """
    text = adata.uns.get(keys.UNS, {}).get(keys.SETUP)
    if text is None:
        return None
    record = json.loads(str(text))
    identity = Identity.of(adata, SetupKeys(**record["keys"]))
    if record["shape"] == list(adata.shape) and record["fingerprint"] != identity.matrix:
        raise DataError(
            f"{matrix_place(identity.keys.layer)} has changed since it was set up. If the new values are the ones to "
            "model, call CVAE.setup_anndata(adata, ...) again; if not, restore them or keep counts in a layer and pass "
            "layer=."
        )
    return identity
