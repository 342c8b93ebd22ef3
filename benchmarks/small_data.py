"""What the defaults for few cells are worth: encoder dropout 0.5 and weight decay 7 / n, beside 0.1 and none.

Fits of n cells of each data set, in pairs with the same cells, split and seed; the bound is that of up to 1000 other
cells. `tune` sets are those by which the defaults were chosen; `report` sets took no part.

    python benchmarks/small_data.py --half report --jobs 2
"""

import argparse
import json
import logging
import warnings
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import product

import numpy as np
from _common import RESULTS, provenance
from verdict_data import factors, real, types

from omicvae._core.files import write_atomically

SIZES = (40, 100, 200, 400, 800)
TEST_CELLS = 1000
ARMS = {"plain": {"dropout_rate": 0.1, "weight_decay": 0.0}, "default": {}}
DATA = {
    "tune": {
        "pbmc_facs": real("pbmc_facs", 4000),
        "paul15": real("paul15", 4000),
        "bulk_brca_pam50": real("bulk_brca_pam50"),
        "cbmc_top2000": real("cbmc_top2000", 4000),
        "factors gaussian 200": factors(2000, 200, noise="gaussian", signal=0.8),
    },
    "report": {
        "kang_ctrl_8donors": real("kang_ctrl_8donors", 4000),
        "mouse_bladder": real("mouse_bladder", 4000),
        "sc_mixology_5batch": real("sc_mixology_5batch", 4000),
        "bulk_tissues_gtex_tcga": real("bulk_tissues_gtex_tcga"),
        "bulk_covid_series": real("bulk_covid_series"),
        "bulk_signature_3batch_log": real("bulk_signature_3batch_log"),
        "types 300": types(2000, 300, n_types=6),
    },
}


def run(half: str, data: str, n: int, seed: int) -> dict | None:
    """Fit both arms; bounds of the cells left out, nats per cell. None where fewer than ten are left."""
    import torch

    import omicvae as ov

    torch.set_num_threads(1)
    logging.getLogger("omicvae").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    adata = DATA[half][data](seed)
    if adata.n_obs < n + 10:
        return None
    order = np.random.default_rng([seed, n]).permutation(adata.n_obs)
    cells, test = (adata[np.sort(part)].copy() for part in (order[:n], order[n : n + TEST_CELLS]))
    row = {"data": data, "n": n, "seed": seed, "n_test": test.n_obs}
    for arm, settings in ARMS.items():
        ov.CVAE.setup_anndata(cells)
        network = {name: settings[name] for name in settings if name == "dropout_rate"}
        model = ov.CVAE(cells, seed=seed, **network)
        model.train(progress_bar=False, **{name: settings[name] for name in settings if name not in network})
        row[arm] = round(float(model.get_elbo(test, n_samples=5)), 3)
    return {**row, "change": round(row["default"] - row["plain"], 3)}


def summary(runs: list[dict]) -> list[dict]:
    """Median change by data set and n, nats per cell, and how many seeds gained."""
    rows = []
    for data, n in dict.fromkeys((run["data"], run["n"]) for run in runs):
        changes = [run["change"] for run in runs if (run["data"], run["n"]) == (data, n)]
        rows.append({"data": data, "n": n, "change": float(np.median(changes)), "better": sum(c > 0 for c in changes)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=tuple(DATA), default="report")
    parser.add_argument("--seeds", type=int, nargs="+", default=[10, 11, 12])
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    path, runs = RESULTS / f"small_data_{options.half}.json", []
    with ProcessPoolExecutor(options.jobs) as pool:
        tasks = product(DATA[options.half], SIZES, options.seeds)
        for done in as_completed([pool.submit(run, options.half, *task) for task in tasks]):
            if (row := done.result()) is not None:
                runs.append(row)
                print(json.dumps(row), flush=True)
    runs.sort(key=lambda run: (run["data"], run["n"], run["seed"]))
    content = json.dumps({"summary": summary(runs), "provenance": provenance(), "runs": runs}, indent=1)
    write_atomically(path, lambda part: part.write_text(content + "\n"))
    print(json.dumps(summary(runs), indent=1))


if __name__ == "__main__":
    main()
