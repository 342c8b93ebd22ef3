"""The evidence file: what a fit is judged by, as arrays and JSON in one safetensors file that any language reads."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import UnionType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from omicvae._core.errors import DataError, SavingError
from omicvae._core.files import refused, write_file
from omicvae.diagnostics.inputs import LATENT, DiagnosisInputs
from omicvae.diagnostics.structure import Structure
from omicvae.metrics.labels import Array

FORMAT = "omicvae-evidence"
SCHEMA_VERSION = 1

#: Fields that hold one array of numbers.
NUMBERS = (
    *("mean_NK", "sd_NK", "draw_NK", "kl_WK", "nll_W", "nll_permuted_W", "null_nll_W", "reference_NK"),
    *("train_elbo_T", "train_null_nll_T", "prior_mean_NK", "prior_sd_NK", "judged_W"),
)
#: Fields that hold a level for each cell: codes (−1: missing) among the arrays, the levels' names in the JSON.
LEVELS = ("labels_N", "fallback_groups_N", "cell_names_N")
#: Fields that are plain values of JSON, and what they may be.
PLAIN: dict[str, type | UnionType] = {
    "labels_key": str | None,
    "labels_conditioned": bool,
    "gaussian_prior": bool,
    "schedule_settled_epoch": float | int | None,
    "planned_epochs": int | None,
    "earlier_epochs": int,
    "origin": str,
    "base_measure": str,
    "seed": int,
    "words": str,
    "run": Mapping,
    "remarks": list | tuple,
}


def write_evidence(inputs: DiagnosisInputs, path: str | Path) -> Path:
    """Write all that a diagnosis rests on, number for number, as one safetensors file.

    Raises
    ------
    SavingError
        If the file cannot be written, or levels are neither text nor numbers.
    """
    arrays: dict[str, NDArray[Any]] = {
        name: np.ascontiguousarray(getattr(inputs, name)) for name in NUMBERS if getattr(inputs, name) is not None
    }
    arrays |= {f"tempered/{power!r}": np.ascontiguousarray(bound_W) for power, bound_W in inputs.tempered_SW.items()}
    arrays |= {f"history/{name}": np.asarray(column, np.float64) for name, column in inputs.history.items()}
    levels, columns = {}, {name: getattr(inputs, name) for name in LEVELS}
    columns |= {f"covariate/{key}": values_N for key, values_N in inputs.covariates.items()}
    for name, values_N in columns.items():
        if values_N is not None:
            arrays[name], levels[name] = _coded(name, values_N)
    document = {
        **{name: getattr(inputs, name) for name in PLAIN},
        "levels": levels,
        "structure": None if inputs.structure is None else asdict(inputs.structure),
        "history": {"columns": list(inputs.history.columns), "index": inputs.history.index.tolist()},
    }
    metadata = {"format": FORMAT, "schema_version": str(SCHEMA_VERSION), "evidence": json.dumps(document)}
    write_file(Path(path), lambda target: save_file(arrays, target, metadata))
    return Path(path)


def read_evidence(path: str | Path) -> DiagnosisInputs:
    """Read an evidence file, whoever wrote it; ``ov.diagnose`` takes what it returns.

    Raises
    ------
    DataError
        If the file does not exist or is no evidence file; the message names what is wrong with it.
    """
    if not Path(path).is_file():
        raise DataError(f"There is no file {str(path)!r}.")
    try:
        with safe_open(path, "numpy") as file:
            metadata, arrays = file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        if refused(error):
            raise
        raise DataError(f"{str(path)!r} cannot be read as an evidence file: {error}") from error
    version = metadata.get("schema_version")
    if metadata.get("format") != FORMAT:
        raise DataError(f"{str(path)!r} is a safetensors file, but its metadata do not say format = {FORMAT!r}.")
    if version != str(SCHEMA_VERSION):
        raise DataError(f"{str(path)!r} has schema_version {version!r}; this omicvae reads {SCHEMA_VERSION}.")
    try:
        return _inputs(json.loads(metadata["evidence"]), arrays)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, DataError) as error:
        raise DataError(f"The evidence in {str(path)!r} does not fit together: {error!r}.") from error


def _inputs(document: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> DiagnosisInputs:
    def below(prefix: str) -> dict[str, NDArray[Any]]:
        return {name.removeprefix(prefix): values for name, values in arrays.items() if name.startswith(prefix)}

    plain = {name: document[name] for name in PLAIN if name in document}
    if strange := [name for name, value in plain.items() if not isinstance(value, PLAIN[name])]:
        raise TypeError(f"{strange[0]} is {plain[strange[0]]!r}")
    if missing := [name for name in LATENT if name not in arrays]:
        raise ValueError(f"there is no {missing[0]}, without which nothing can be judged")
    levels, history, structure = (document.get(name) or {} for name in ("levels", "history", "structure"))
    coded = [name for name in arrays if name in LEVELS or name.startswith("covariate/")]
    if strange := sorted({*coded} ^ {*levels}):
        raise ValueError(f"{strange[0]} needs both codes among the arrays and their levels in the document")
    decoded = {name: _decoded(name, arrays[name], levels[name]) for name in coded}
    parts: dict[str, Any] = plain | {name: arrays.get(name) for name in NUMBERS}
    parts |= {name: decoded.get(name) for name in LEVELS}
    parts["remarks"] = tuple(document.get("remarks", ()))
    parts["covariates"] = {n.removeprefix("covariate/"): v for n, v in decoded.items() if n.startswith("covariate/")}
    parts["tempered_SW"] = {float(power): bound_W for power, bound_W in below("tempered/").items()}
    parts["structure"] = Structure(**{n: v + 0 for n, v in structure.items()}) if structure else None
    curves = below("history/")
    table = pd.DataFrame({name: curves[name] for name in history.get("columns", curves)})
    parts["history"] = table.set_axis(pd.Index(history.get("index", table.index + 1), name="epoch"))
    return DiagnosisInputs(**parts)


def _coded(name: str, values_N: Array) -> tuple[NDArray[np.int32], list[Any]]:
    """Return the code of each cell's level, −1 where it is missing, and the levels by code."""
    codes_N, found = pd.factorize(np.asarray(values_N, dtype=object))
    levels = [level.item() if isinstance(level, np.generic) else level for level in found]
    if strange := [level for level in levels if not isinstance(level, (str, bool, int, float))]:
        raise SavingError(f"{name} has the level {strange[0]!r}; an evidence file holds text and numbers.")
    return codes_N.astype(np.int32), levels


def _decoded(name: str, codes_N: NDArray[Any], levels: list[Any]) -> NDArray[np.object_]:
    codes = codes_N.ndim == 1 and codes_N.dtype.kind in "iu" and len(codes_N) > 0
    if not codes or codes_N.min() < -1 or codes_N.max() >= len(levels):
        raise ValueError(f"{name} needs one whole number a cell, from -1 to {len(levels) - 1} for {len(levels)} levels")
    return np.array([*levels, None], dtype=object)[codes_N]
