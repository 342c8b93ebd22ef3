"""Query mapping: leave one batch out, and types that the reference lacks, beside PCA + kNN and SCVI's surgery.

`batches`: each batch is mapped to a reference of the others; macro-F1 over the types that both have, and the expected
calibration error of the confidence. `types`: a type is taken out of the reference, and the score is to tell its cells
in the query. How neighbours vote was chosen on four donors of kang_ctrl_8donors and on pbmc_3chem, the score on types
of kang_ctrl_8donors, and looked at on pbmc_3chem (marked `tuned`). Cells that pbmc_3chem calls unassigned are left out.

    python benchmarks/query_mapping.py batches --scvi
    python benchmarks/query_mapping.py types
"""

import argparse
import json
import logging
import time
import warnings

import numpy as np
from _common import RESULTS, load, provenance

from omicvae._core.files import write_atomically

TUNED = ("donor_101", "donor_1015", "donor_107", "donor_1488")
#: query of `types`: the batch with most types
QUERIES = {"kang_ctrl_8donors": "donor_1256", "pbmc_3chem": "10x3p_v1_donorA"}
BATCHES = {
    "pbmc_3chem": ("10x3p_v1_donorA", "10x3p_v2", "10x3p_v3"),
    "kang_ctrl_8donors": ("donor_1016", "donor_1039", "donor_1244", "donor_1256", *TUNED),
}


def cells(name: str):
    """Cells with a label."""
    adata = load(name)
    adata = adata[adata.obs["label"].astype(str).to_numpy() != "unassigned"].copy()
    adata.obs = adata.obs[["batch", "label"]].astype(str)
    return adata


def macro_f1(truth, labels, known) -> float:
    """Mean F1 of the types of the query that the reference has."""
    from sklearn.metrics import f1_score

    types = sorted(set(truth) & set(known))
    return float(f1_score(truth, labels, labels=types, average="macro", zero_division=0))


def pca_knn(reference, query) -> np.ndarray:
    """Labels by PCA of log1p CP10k and five neighbours."""
    from sklearn.decomposition import PCA
    from sklearn.neighbors import KNeighborsClassifier

    def features(adata):
        x = np.asarray(adata.X.toarray(), np.float32)
        return np.log1p(1e4 * x / np.maximum(x.sum(1, keepdims=True), 1))

    known = features(reference)
    pca = PCA(30, random_state=0).fit(known)
    votes = KNeighborsClassifier(5).fit(pca.transform(known), reference.obs["label"])
    return votes.predict(pca.transform(features(query)))


def scvi_surgery(reference, query) -> np.ndarray:
    """Labels by SCVI as scArches recommends it for surgery, default epochs, and our vote on its latent."""
    import scvi

    from omicvae.analysis import NeighbourLabels

    scvi.settings.seed = 0
    reference, query = reference.copy(), query.copy()
    scvi.model.SCVI.setup_anndata(reference, batch_key="batch")
    settings = {"use_layer_norm": "both", "use_batch_norm": "none", "encode_covariates": True, "dropout_rate": 0.2}
    model = scvi.model.SCVI(reference, n_layers=2, **settings)
    quiet = {"enable_progress_bar": False, "accelerator": "cpu"}
    model.train(max_epochs=min(400, round(20000 / reference.n_obs * 400), 100), **quiet)
    mapped = scvi.model.SCVI.load_query_data(query, model)
    mapped.train(max_epochs=100, plan_kwargs={"weight_decay": 0.0}, **quiet)
    known = model.get_latent_representation()
    votes = NeighbourLabels.fit(known, reference.obs["label"].to_numpy(), reference.obs["batch"].to_numpy())
    return np.asarray(votes.classes)[votes.probabilities(mapped.get_latent_representation()).argmax(1)]


def mapped(reference, query):
    """Fit a reference and map the query to it, everything at its default."""
    import omicvae as ov

    ov.CVAE.setup_anndata(reference, batch_key="batch", labels_key="label")
    model = ov.CVAE(reference)
    model.train(progress_bar=False)
    return model.map_query(query)


def leave_batch_out(name: str, batch: str, *, scvi: bool) -> dict:
    """Map one batch to the others."""
    from omicvae.analysis import calibration_error

    adata = cells(name)
    inside = (adata.obs["batch"] == batch).to_numpy()
    reference, query = adata[~inside].copy(), adata[inside].copy()
    truth, known = query.obs["label"].to_numpy(), reference.obs["label"].to_numpy()
    started = time.perf_counter()
    found = mapped(reference, query)
    row = {
        "data": name,
        "query": batch,
        "tuned": batch in TUNED or name == "pbmc_3chem",
        "macro_f1": macro_f1(truth, found.labels_N, known),
        "macro_f1_pca_knn": macro_f1(truth, pca_knn(reference, query), known),
        "accuracy": float((found.labels_N == truth).mean()),
        "calibration_error": calibration_error(found.confidence_N, found.labels_N == truth),
        "share_outside": found.coverage.share_outside,
        "verdict": found.verdict,
        "seconds": time.perf_counter() - started,
    }
    if scvi:
        row["macro_f1_scvi"] = macro_f1(truth, scvi_surgery(reference, query), known)
    return row


def leave_type_out(name: str, batch: str, kind: str) -> dict:
    """Map a batch to the others without one of its types."""
    from sklearn.metrics import roc_auc_score

    from omicvae.analysis import calibration_error

    adata = cells(name)
    inside, new = (adata.obs["batch"] == batch).to_numpy(), (adata.obs["label"] == kind).to_numpy()
    query, new = adata[inside].copy(), new[inside]
    found = mapped(adata[~inside & (adata.obs["label"] != kind).to_numpy()].copy(), query)
    right = found.labels_N == query.obs["label"].to_numpy()
    return {
        "data": name,
        "query": batch,
        "type": kind,
        "cells": int(new.sum()),
        "auroc": float(roc_auc_score(new, -found.coverage.p_value_N)),
        "auroc_misfit": float(roc_auc_score(new, found.coverage.misfit_N)),
        "calibration_error": calibration_error(found.confidence_N, right),
        "share_new": float(new.mean()),
        "share_outside": found.coverage.share_outside,
        "verdict": found.verdict,
    }


def main() -> None:
    """Run one part; every row is written as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("batches", "types"))
    parser.add_argument("--data", nargs="+", default=list(BATCHES))
    parser.add_argument("--only", nargs="+", help="batches, or types, in the place of all")
    parser.add_argument("--scvi", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("omicvae").setLevel(logging.ERROR)
    path = RESULTS / f"query_mapping_{arguments.part}.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    for name in arguments.data:
        if arguments.part == "batches":
            work = [(leave_batch_out, {"batch": batch, "scvi": arguments.scvi}) for batch in BATCHES[name]]
        else:
            adata = cells(name)
            types = adata.obs["label"][adata.obs["batch"] == QUERIES[name]].value_counts()
            work = [(leave_type_out, {"batch": QUERIES[name], "kind": kind}) for kind in types.index[types >= 10]]
        for task, settings in work:
            if arguments.only and settings.get("kind", settings["batch"]) not in arguments.only:
                continue
            row = task(name, **settings)
            print(json.dumps(row), flush=True)
            same = [name, row["query"], row.get("type")]
            rows = [old for old in rows if [old["data"], old["query"], old.get("type")] != same]
            rows.append(row)
            content = json.dumps({**provenance(), "rows": rows}, indent=1)
            write_atomically(path, lambda place, content=content: place.write_text(content))


if __name__ == "__main__":
    main()
