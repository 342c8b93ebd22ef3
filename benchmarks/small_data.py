"""What the defaults that know n are worth: encoder dropout and weight decay λ / n of the weight matrices.

Fits of n cells of each data set by several arms, with the same cells, split and seed; the bound is that of up to 1000
other cells. `tune` sets are those by which the defaults were chosen; `report` sets took no part. The arm `everything`
is what the default once was: a decay of 7 / n of every parameter, dispersions, biases and covariate effects too.

    python benchmarks/small_data.py --half report --jobs 2
"""

import argparse
import json
import logging
import warnings
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import product
from unittest import mock

import numpy as np
from _common import RESULTS, provenance
from verdict_data import dispersions, factors, peaks, real, types

from omicvae._core.files import write_atomically

SIZES = (40, 100, 200, 400, 800, 2000, 5000)
TEST_CELLS = 1000
#: dropout of the encoder, and λ of a decay λ / n; None is the default
ARMS = {
    "tune": {f"dropout {d}, λ {decay}": (d, decay) for d in (0.1, 0.5) for decay in (0, 7, 20, 50)},
    "report": {"default": (None, None), "no decay": (None, 0), "dropout 0.1, no decay": (0.1, 0)},
}
DATA = {
    "tune": {
        "pbmc_facs": real("pbmc_facs", 6000),
        "paul15": real("paul15", 6000),
        "bulk_brca_pam50": real("bulk_brca_pam50"),
        "cbmc_top2000": real("cbmc_top2000", 6000),
        "factors gaussian 200": factors(6000, 200, noise="gaussian", signal=0.8),
        "θ 0.003 to 1": dispersions(6000, 300, (0.003, 1.0)),
        "θ 1 to 1000": dispersions(6000, 300, (1.0, 1000.0)),
        "peaks 1000": peaks(6000, 1000),
    },
    "report": {
        "kang_ctrl_8donors": real("kang_ctrl_8donors", 6000),
        "mouse_bladder": real("mouse_bladder", 4000),
        "sc_mixology_5batch": real("sc_mixology_5batch", 4000),
        "bulk_tissues_gtex_tcga": real("bulk_tissues_gtex_tcga"),
        "bulk_covid_series": real("bulk_covid_series"),
        "bulk_signature_3batch_log": real("bulk_signature_3batch_log"),
        "pbmc_3chem": real("pbmc_3chem", 6000),
        "types 300": types(6000, 300, n_types=6),
        "peaks 2000": peaks(6000, 2000),
    },
}


def bound(cells, test, seed: int, dropout: float | None, decay: float | None, *, everything: bool = False) -> float:
    """Fit, and return the bound of the cells left out, nats per cell."""
    import omicvae as ov

    ov.CVAE.setup_anndata(cells)
    model = ov.CVAE(cells, seed=seed, **({} if dropout is None else {"dropout_rate": dropout}))
    settings = {}
    if decay is not None:
        n_validation = max(10, min(round(0.1 * cells.n_obs), cells.n_obs // 5))
        settings["weight_decay"] = decay / (cells.n_obs - n_validation)
    falls_on = {"side_effect": lambda module: list(module.parameters())} if everything else {}
    from omicvae.training import adam

    with mock.patch.object(adam, "weight_matrices", **(falls_on or {"new": adam.weight_matrices})):
        model.train(progress_bar=False, **settings)
    return round(float(model.get_elbo(test, n_samples=5)), 3)


def run(half: str, data: str, n: int, seed: int) -> dict | None:
    """Fit every arm; None where fewer than ten cells are left to judge by."""
    import torch

    torch.set_num_threads(1)
    logging.getLogger("omicvae").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    adata = DATA[half][data](seed)
    if adata.n_obs < n + 10:
        return None
    order = np.random.default_rng([seed, n]).permutation(adata.n_obs)
    cells, test = (adata[np.sort(part)].copy() for part in (order[:n], order[n : n + TEST_CELLS]))
    row = {"data": data, "n": n, "seed": seed, "n_test": test.n_obs}
    for arm, settings in ARMS[half].items():
        row[arm] = bound(cells, test, seed, *settings)
    row["everything"] = bound(cells, test, seed, None, 7, everything=True)
    return row


def summary(half: str, runs: list[dict]) -> list[dict]:
    """By data set and n: median of each arm less that of the first, nats per cell, and the share of seeds above it."""
    first, *others = [*ARMS[half], "everything"]
    rows = []
    for data, n in dict.fromkeys((run["data"], run["n"]) for run in runs):
        row = {"data": data, "n": n}
        for arm in others:
            changes = [run[first] - run[arm] for run in runs if (run["data"], run["n"]) == (data, n)]
            row[f"{first} less {arm}"] = round(float(np.median(changes)), 3)
            row[f"above {arm}"] = float(np.mean([change > 0 for change in changes]))
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=tuple(DATA), default="report")
    parser.add_argument("--seeds", type=int, nargs="+", default=[10, 11, 12])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    path, runs = RESULTS / f"small_data_{options.half}.json", []
    with ProcessPoolExecutor(options.jobs) as pool:
        tasks = product(DATA[options.half], options.sizes, options.seeds)
        for done in as_completed([pool.submit(run, options.half, *task) for task in tasks]):
            if (row := done.result()) is not None:
                runs.append(row)
                print(json.dumps(row), flush=True)
    runs.sort(key=lambda run: (run["data"], run["n"], run["seed"]))
    content = json.dumps({"summary": summary(options.half, runs), "provenance": provenance(), "runs": runs}, indent=1)
    write_atomically(path, lambda part: part.write_text(content + "\n"))
    print(json.dumps(summary(options.half, runs), indent=1))


if __name__ == "__main__":
    main()
