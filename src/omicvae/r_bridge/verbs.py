"""The verbs of the R package, each from plain values to plain values; the model alone is handed over as it is."""

from collections.abc import Callable, Mapping
from copy import copy, deepcopy
from typing import Any

import numpy as np

import omicvae as ov
from omicvae._core import keys as places
from omicvae._core import plain
from omicvae.diagnostics import BaseDiagnosis
from omicvae.model.host import adopt
from omicvae.model.stability import sorted_settings
from omicvae.r_bridge.transfer import Cells, column_of, dense, genes_by_cells, table
from omicvae.r_bridge.words import in_r_words

Answer = dict[str, Any]

#: settings whose values are objects of Python
NOT_IN_R = ("progress_bar", "logger", "callbacks")


def fit(cells: Cells, setup: Mapping[str, Any], settings: Mapping[str, Any]) -> Answer:
    """Set up, fit, and return the model with its facts; ``settings`` are those of ``CVAE`` and of ``train``."""
    of_model, of_run = sorted_settings("cvae()", settings, but=NOT_IN_R)
    adata = cells.anndata()
    ov.CVAE.setup_anndata(adata, **setup)
    model = ov.CVAE(adata, **of_model)
    model.train(**{"progress_bar": False, **of_run})
    return facts(model)


def train_further(model: Any, settings: Mapping[str, Any]) -> Answer:
    """Go on training in a model of its own: what R holds does not change behind its back."""
    state = copy(model.state)
    state.module, state.fits = deepcopy(state.module), list(state.fits)
    further = adopt(object.__new__(type(model)), state)
    further.train(**{"progress_bar": False, **settings})
    return facts(further)


def facts(model: Any) -> Answer:
    """Return the model, what it is, its curves, and the latents of its own cells where it has any."""
    last = model.fits[-1] if model.fits else None
    setup = model.schema.keys
    found = {
        "model": model,
        "likelihood": model.config.likelihood,
        "n_latent": model.config.architecture.n_latent,
        "seed": model.config.seed,
        "genes": list(model.schema.gene_names),
        "setup": {name: plain_list(value) for name, value in setup.to_dict().items()},
        "levels": {part.key: [str(level) for level in part.levels] for part in model.schema.categorical},
        "history": table(model.history),
        "interrupted": bool(last and last.interrupted),
        "step": last.step if last else "",
        "cells": None,
        "latent": None,
    }
    if model.adata is not None:
        found["cells"] = list(map(str, model.adata.obs_names))
        found["latent"] = dense(model.get_latent_representation())
    return found


def latent(model: Any, cells: Cells | None = None, give: str = "mean", seed: Any = None, **matching: Any) -> Answer:
    """Posterior means, SDs or one draw, cells × dimensions."""
    adata = None if cells is None else cells.anndata()
    if give == "sd":
        _, variance_NK = model.get_latent_representation(adata, return_dist=True, **matching)
        return dense(np.sqrt(variance_NK))
    return dense(model.get_latent_representation(adata, give_mean=give == "mean", seed=seed, **matching))


def diagnose(model: Any, **settings: Any) -> Answer:
    """Verdict, evidence, remedies."""
    return diagnosed(model.diagnose(**settings))


def diagnosed(diagnosis: BaseDiagnosis) -> Answer:
    """Return a diagnosis for R."""
    found = {
        "verdict": diagnosis.verdict,
        "headline": in_r_words(diagnosis.headline),
        "findings": list(diagnosis.findings),
        "notes": [in_r_words(note) for note in diagnosis.notes],
        "sound": diagnosis.sound,
        "tone": diagnosis.tone,
        "evidence": table(diagnosis.evidence),
        "remedies": [_remedy(remedy) for remedy in diagnosis.remedies],
    }
    if isinstance(diagnosis, ov.Diagnosis):
        found["dimensions"] = {
            "kl": [float(kl) for kl in diagnosis.kl_per_dimension],
            "active": [bool(active) for active in diagnosis.active_dimensions],
        }
        found |= {"probes": table(diagnosis.probes), "umap": table(diagnosis.umap)}
    else:
        found["history"] = table(diagnosis.history)  # type: ignore[attr-defined]
    return found


def diagnose_log(source: Any, columns: Mapping[str, Any] | None = None, kl_weight: Any = None) -> Answer:
    """Judge curves: a path, the text of a log, or the columns of a data frame."""
    if columns is not None:
        source = {name: column_of(column) for name, column in columns.items()}
    return diagnosed(ov.diagnose_history(source, kl_weight=kl_weight))


def rescue(model: Any, **settings: Any) -> Answer:
    """Try the remedies; return the facts of the best fit, its diagnosis, and a row for each attempt."""
    outcome = ov.rescue(model, progress_bar=False, **settings)
    tried = [None if attempt.remedy is None else _remedy(attempt.remedy) for attempt in outcome.attempts]
    return {
        **facts(outcome.model),
        "diagnosis": diagnosed(outcome.diagnosis),
        "healed": outcome.healed,
        "attempts": table(outcome.to_frame()),
        "tried": tried,
    }


def _remedy(remedy: Any) -> Answer:
    found = {name: plain_list(value) for name, value in remedy.to_dict().items()}
    return {**found, "why": in_r_words(remedy.why), "goes_on": remedy.goes_on}


def counterfactual(model: Any, cells: Cells | None = None, layers: Any = (), **settings: Any) -> Answer:
    """Change, and the layers that are asked for, genes × cells; what was said, and its tables."""
    result = model.counterfactual(None if cells is None else cells.anndata(), **settings)
    said = result.uns[places.UNS][places.COUNTERFACTUAL]
    wanted = [layers] if isinstance(layers, str) else list(layers)
    return {
        "change": dense(np.asarray(result.X).T),
        "layers": {name: dense(np.asarray(result.layers[name]).T) for name in wanted},
        "genes": list(result.var_names),
        "cells": list(result.obs_names),
        "summary": in_r_words(said["summary"]),
        "groups": table(said["groups"].reset_index()),
        "by_gene": table(said["genes"]),
        "told_by_z": float(said["told_by_z"]),
    }


def effects(model: Any, **settings: Any) -> Answer:
    """Effects on genes, a row for each."""
    found = model.effects(**settings)
    compared = found.compared
    return {
        "genes": table(found.to_frame()),
        "said": in_r_words(str(found)),
        "unit": found.unit,
        "fdr": found.fdr,
        "group": str(compared.group),
        "reference": str(compared.reference),
        "n_hits": found.n_hits,
        "null_hits": None if found.null_hits is None else [int(hits) for hits in found.null_hits],
    }


def expression(model: Any, cells: Cells | None = None, **settings: Any) -> Answer:
    """Decode expression, genes × cells."""
    adata = None if cells is None else cells.anndata()
    frame = model.get_normalized_expression(adata, return_numpy=False, **settings)
    return {"values": dense(frame.to_numpy().T), "genes": list(map(str, frame.columns))}


def generate(model: Any, **settings: Any) -> Answer:
    """Generate cells, genes × cells, with their covariates and latents."""
    made = model.generate(**settings)
    return {
        "x": genes_by_cells(made.X),
        "genes": list(made.var_names),
        "cells": list(made.obs_names),
        "col_data": table(made.obs),
        "latent": dense(np.asarray(made.obsm[places.LATENT])),
    }


def map_query(model: Any, cells: Cells, **settings: Any) -> Answer:
    """Latents and labels of new cells on the model's own, with the verdict on whether these cover them."""
    found = model.map_query(cells.anndata(), **settings)
    return {
        "latent": dense(found.mean_NK),
        "sd": dense(found.sd_NK),
        "cells": table(found.to_frame().reset_index(drop=True)),
        "verdict": found.verdict,
        "headline": in_r_words(found.headline),
        "tone": found.tone,
        "evidence": table(found.evidence),
    }


def stability(model: Any, **settings: Any) -> Answer:
    """Repeat a fit with other seeds."""
    found = ov.stability(model, **settings)
    return {
        "headline": in_r_words(found.headline),
        "checks": table(found.to_frame()),
        "fits": table(found.fits),
        "genes": table(found.genes),
    }


def compare(runs: Mapping[str, Any], **settings: Any) -> Answer:
    """Put fits side by side."""
    found = ov.compare(runs, **settings)
    return {"table": table(found.table), "notes": [in_r_words(note) for note in found.notes]}


def report(model: Any, path: str, **settings: Any) -> str:
    """Write the page."""
    return str(model.report(path, **settings))


def save(model: Any, folder: str, **settings: Any) -> str:
    """Write the model."""
    model.save(folder, **settings)
    return folder


def load(folder: str, cells: Cells | None = None) -> Answer:
    """Read a model, and give it its cells."""
    return facts(ov.CVAE.load(folder, None if cells is None else cells.anndata()))


def describe(model: Any, columns: Mapping[str, Any]) -> None:
    """Give the model's own cells columns that do not enter the network: labels, groups, replicates."""
    adata = model.state.own_adata()
    for name, column in columns.items():
        adata.obs[name] = column_of(column)


def dataset(name: str, **settings: Any) -> Answer:
    """Return data that need no download."""
    adata = getattr(ov.datasets, name)(**settings)
    return {
        "x": genes_by_cells(adata.X),
        "genes": list(adata.var_names),
        "cells": list(adata.obs_names),
        "col_data": table(adata.obs),
    }


def plain_list(value: Any) -> Any:
    """Return numbers, texts, lists and mappings as Python's own."""
    if isinstance(value, Mapping):
        return {str(name): plain_list(part) for name, part in value.items()}
    if isinstance(value, tuple | list | set | np.ndarray):
        return [plain_list(part) for part in value]
    return plain(value)


VERBS: Mapping[str, Callable[..., Any]] = {
    verb.__name__: verb
    for verb in (
        *(fit, train_further, latent, diagnose, diagnose_log, rescue, stability, compare, report, describe),
        *(counterfactual, effects, expression, generate, map_query, save, load, dataset),
    )
}
