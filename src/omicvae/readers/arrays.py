"""Fits of anything that encodes and decodes arrays: PyTorch, JAX, Keras, NumPy."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from omicvae._core import DataError, SettingError, choose, integral
from omicvae.data import labels_of, obs_column
from omicvae.diagnostics import Diagnosis
from omicvae.metrics.labels import Array, FloatArray, IntArray
from omicvae.readers.callables import Function, Functions, as_array, rows_of
from omicvae.readers.covariates import named_covariates
from omicvae.readers.curves import history_of
from omicvae.readers.fit import Fit
from omicvae.readers.gather import gather
from omicvae.readers.null import NULL_LIKELIHOODS, SQUARED_ERROR
from omicvae.readers.recognise import N_CELLS, recognised
from omicvae.readers.sources import diagnose

NOT_RECOGNISED = (
    "the likelihood could not be told from how nll changes with x, so that the gain over a decoder without z was not "
    "measured; name it with likelihood=."
)

OTHERWISE = (
    "nll changes with x as likelihood={!r} does, not as the one that was named: a gain over a decoder without z of "
    "another likelihood means nothing."
)


def audit(
    encode: Function,
    nll: Function,
    x: Any,
    *,
    covariates: Any = None,
    continuous: Sequence[str] = (),
    labels: Any = None,
    validation: Any = None,
    likelihood: str | None = "auto",
    null_nll: Any = None,
    library: Any = None,
    prior: Any = None,
    history: Any = None,
    origin: str | None = None,
    seed: int = 0,
    umap: bool = True,
    batch_size: int = 1024,
) -> Diagnosis:
    """Audit any VAE by two functions: what its encoder says of cells, and how badly its decoder explains them.

    The functions may be of PyTorch, JAX, Keras or NumPy. They are called with rows of ``x`` and of ``covariates``; if
    they use PyTorch networks, or ``x`` is a tensor, these come as tensors on the networks' device, without gradients
    and in evaluation mode, else as NumPy arrays (float32, dense). Drawing z, exchanging it between cells, tempering
    posteriors, probes, and the best decoder without z are done here.

    Parameters
    ----------
    encode
        ``encode(x_B, c_B)`` → mean and SD of q(z | x, c), each (B, K), or a normal distribution.
    nll
        ``nll(x_B, z_BK, c_B)`` → −log p(x | z, c) of each cell in nats, a sum over features with all constants, (B,).
    x
        Data, cells × features: array, tensor, sparse matrix, DataFrame or AnnData (its ``X``).
    covariates
        What c is: a DataFrame, a dict of columns, an array or tensor with a row a cell, or names of ``obs`` columns.
        Without any the functions are called without c. One-hot columns are taken for the factors that they encode.
    continuous
        Names of covariates that are continuous although their values are whole numbers.
    labels
        Labels of the cells to read from the latent, or the name of an ``obs`` column; None: k-means classes of data.
    validation
        Row numbers or a mask of the cells that did not train; None: all trained.
    likelihood
        Of the decoder, for the best decoder without z: ``"nb"``, ``"zinb"``, ``"poisson"``, ``"gaussian"``,
        ``"student_t"``, ``"bernoulli"`` or ``"mse"`` (a sum of squared errors). ``"auto"`` tells it from how ``nll``
        changes with ``x``. None: the gain over a decoder without z is not measured.
    null_nll
        −log p(x | c) of each cell under a decoder without z of your own, (N,).
    library
        What the decoder multiplies means of counts by, (N,), or 1 for one that knows no depth; None: the totals.
    prior
        None for N(0, I); mean and SD of a Gaussian p(z | c), each (N, K) or what broadcasts to it; or a function
        ``prior(z_BK, c_B)`` → log p(z | c), (B,).
    history
        Curves of the training, in any form that ``ov.diagnose_history`` reads.
    origin
        Name of the model for the reader of the diagnosis.
    seed
        Of draws, folds and subsamples.
    umap
        Whether to make the UMAP check, the slowest, which changes no verdict.
    batch_size
        Cells in a call of the functions.

    Returns
    -------
    Diagnosis
        Its ``inputs`` go to ``ov.write_evidence``; itself to ``ov.compare`` and ``ov.write_report``.

    Raises
    ------
    DataError
        Where a function returns something else than it should, or data do not fit; the message says the fix.

    Warns
    -----
    UserWarning
        Where a PyTorch network is in training mode.
    """
    names_N = None
    if isinstance(x, AnnData):
        if isinstance(labels, str):
            labels = obs_column(x, labels)
        if isinstance(covariates, str | list):
            keys = [covariates] if isinstance(covariates, str) else covariates
            covariates = pd.DataFrame({str(key): obs_column(x, key) for key in keys})
        names_N, x = np.asarray(x.obs_names, dtype=object), x.X
    elif isinstance(x, pd.DataFrame):
        names_N, x = np.asarray(x.index.astype(str), dtype=object), x.to_numpy()
    x = x.tocsr() if hasattr(x, "tocsr") else x
    if len(getattr(x, "shape", ())) != 2 or 0 in x.shape:
        raise DataError(f"x must be cells × features, got a {type(x).__name__} of shape {getattr(x, 'shape', None)}.")
    functions = Functions(encode, nll, x, covariates, integral("batch_size", batch_size, minimum=1))
    n_cells, seed = functions.n_cells, integral("seed", seed, minimum=0)
    categorical, numbers = named_covariates(covariates, n_cells, continuous)
    validation_W = np.empty(0, np.int64) if validation is None else _rows("validation", validation, n_cells)
    train = np.setdiff1d(np.arange(n_cells), validation_W)
    if not len(train):
        raise DataError("validation holds all cells; some must have trained the model.")
    mean_NK, sd_NK = functions.encode()
    curves = pd.DataFrame() if history is None else history_of(history)
    matrix = as_array(x) if hasattr(x, "detach") else x
    some = train[:: max(1, len(train) // N_CELLS)][:N_CELLS]
    found = recognised(functions.nll_of, np.asarray(rows_of(matrix, some), np.float32), mean_NK[some], some)
    if likelihood == "auto":
        likelihood = None if found is None else found.likelihood
        remarks = () if found or null_nll is not None else (NOT_RECOGNISED,)
    else:
        remarks = (OTHERWISE.format(found.likelihood),) if found and likelihood not in (None, found.likelihood) else ()
    squared = likelihood == SQUARED_ERROR
    made_by = [f"PyTorch {type(module).__name__}" for module in functions.modules[:1]]
    fit = Fit(
        origin=origin or next(iter(made_by), "functions of arrays"),
        encode=lambda: (mean_NK, sd_NK),
        nll=functions.nll,
        train=train,
        validation=validation_W,
        **_prior(prior, functions, mean_NK, sd_NK),
        matrix=matrix,
        likelihood=None if likelihood is None else choose("likelihood", likelihood, NULL_LIKELIHOODS),
        precision=1.0 if found is None else found.precision,
        remarks=remarks,
        size_factors_N=None if library is None else np.broadcast_to(as_array(library).astype(float), (n_cells,)),
        null_nll=None if null_nll is None else _values_at("null_nll", null_nll, n_cells),
        categorical=categorical,
        continuous=numbers,
        history=curves,
        cell_names_N=names_N,
        words="training loop",
        besides_N=np.full(n_cells, found.constant) if found and found.constant and squared else None,
        run={"n_epochs": len(curves), "n_cells": n_cells},
    )
    labels_N, key = _labels(labels, n_cells)
    return diagnose(gather(fit, labels_N=labels_N, labels_key=key, seed=seed), umap=umap)


def _labels(given: Any, n_cells: int) -> tuple[Array | None, str | None]:
    """Labels, missing ones None, and their name."""
    if given is None:
        return None, None
    column = given if isinstance(given, pd.Series) else pd.Series(as_array(given).tolist())
    if len(column) != n_cells:
        raise DataError(f"labels must have one value for each of the {n_cells} cells, got {len(column)}.")
    return labels_of(column), str(column.name or "labels")


def _rows(name: str, given: Any, n_cells: int) -> IntArray:
    """Row numbers of a mask or of numbers."""
    values = as_array(given)
    if values.dtype == bool and values.shape == (n_cells,):
        return np.flatnonzero(values)
    if (
        values.ndim != 1
        or values.dtype.kind not in "iu"
        or (len(values) and not 0 <= values.min() <= values.max() < n_cells)
    ):
        raise SettingError(
            f"{name} must be a mask of {n_cells} values or row numbers below {n_cells}, got {values.dtype} of shape "
            f"{values.shape}."
        )
    return np.unique(values).astype(np.int64)


def _values_at(name: str, given: Any, n_cells: int) -> Any:
    values_N = as_array(given).astype(np.float64)
    if values_N.shape != (n_cells,):
        raise DataError(f"{name} must have one value for each of the {n_cells} cells, got shape {values_N.shape}.")
    return lambda rows: values_N[rows]


def _prior(prior: Any, functions: Functions, mean_NK: FloatArray, sd_NK: FloatArray) -> dict[str, Any]:
    """N(0, I), mean and SD of a Gaussian at every cell, or a function that gives log p(z)."""
    if prior is None:
        return {}
    if not callable(prior):
        moments = tuple(np.broadcast_to(as_array(part).astype(np.float64), mean_NK.shape) for part in prior)
        return {"prior": moments}

    def kl(z_WK: Array, rows: IntArray) -> Array:
        """Log q(z) − log p(z) at the draw; the share of a dimension in p is not known, so each has the same."""
        mean_WK, sd_WK = mean_NK[rows], sd_NK[rows]
        log_q_WK = -0.5 * (((z_WK - mean_WK) / sd_WK) ** 2 + np.log(2 * np.pi)) - np.log(sd_WK)
        return log_q_WK - functions.log_prior(prior, z_WK, rows)[:, None] / z_WK.shape[1]

    return {"kl": kl}
