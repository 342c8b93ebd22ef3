"""Default runs of SCVI and omicvae side by side: held-out ELBO and seconds of ``train()``.

Same cells to train on, same network (one hidden layer of 128, 10 latent dimensions, BatchNorm, dropout 0.1, NB with
one dispersion per gene, covariates in the decoder only, SCVI's default), batch size 128, same threads. Test cells are
seen by neither; SCVI scores them with its own ``get_elbo``, omicvae with its own.
"""

import argparse
import json
import time
import warnings

import numpy as np
from _common import (
    BULK_BATCHES,
    N_DRAWS,
    SINGLE_CELL_BATCHES,
    TUNING_SETS,
    fit_scvi,
    hold_out,
    load,
    read_runs,
    run_child,
    scvi_elbo,
    write,
)


def run_omicvae(fit, test, seed: int) -> dict:
    import omicvae as ov

    ov.CVAE.setup_anndata(fit, batch_key="batch")
    model = ov.CVAE(fit, "nb", seed=seed, encode_covariates=False)
    started = time.perf_counter()
    model.train(progress_bar=False, accelerator="cpu")
    seconds = time.perf_counter() - started
    elbo = model.get_elbo(test, n_samples=N_DRAWS)
    kl = float(model.get_latent_representation(test, return_dist=True)[0].var(0).sum())
    return {"seconds": seconds, "elbo": elbo, "epochs": len(model.history), "latent_variance": kl}


def run_scvi(fit, test, seed: int) -> dict:
    model, result = fit_scvi(fit, seed)
    return {"seconds": result["seconds"], "elbo": scvi_elbo(model, test), "epochs": result["epochs"]}


SIDES = {"omicvae": run_omicvae, "scvi": run_scvi}


def child(side: str, data: str, seed: int, genes: int | None) -> dict:
    """Run one side once."""
    warnings.simplefilter("ignore")
    fit, test = hold_out(load(data, genes), "batch", seed)
    return {**SIDES[side](fit, test, seed), "n_fit": fit.n_obs, "n_test": test.n_obs, "n_genes": fit.n_vars}


def summarise(runs: list[dict]) -> list[dict]:
    """One row per data set: medians over seeds."""
    rows = []
    sides = {data: {run["side"] for run in runs if run["data"] == data} for data in (run["data"] for run in runs)}
    for data in (data for data, known in sides.items() if known == set(SIDES)):
        median = {
            (side, key): float(np.median([run[key] for run in runs if run["data"] == data and run["side"] == side]))
            for side in SIDES
            for key in ("elbo", "seconds")
        }
        rows.append(
            {
                "data": data,
                "role": "tuned on" if data in TUNING_SETS else "report",
                "elbo_omicvae": median["omicvae", "elbo"],
                "elbo_scvi": median["scvi", "elbo"],
                "gain_nats": median["omicvae", "elbo"] - median["scvi", "elbo"],
                "seconds_omicvae": median["omicvae", "seconds"],
                "seconds_scvi": median["scvi", "seconds"],
                "times_faster": median["scvi", "seconds"] / median["omicvae", "seconds"],
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child", type=json.loads)
    parser.add_argument("--data", nargs="+", default=[*SINGLE_CELL_BATCHES, *BULK_BATCHES])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--genes", type=int, default=2000, help="variable genes of single-cell sets; 0 for all")
    parser.add_argument("--name", default="held_out_elbo")
    parser.add_argument("--sides", nargs="+", choices=tuple(SIDES), default=list(SIDES), help="others keep their runs")
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child(**options.child)))
        return
    runs = [run for run in read_runs(options.name) if run["side"] not in options.sides]
    for data in options.data:
        for seed in options.seeds:
            for side in options.sides:
                run = run_child(__file__, side=side, data=data, seed=seed, genes=options.genes or None)
                print(json.dumps(run), flush=True)
                runs.append(run)
            write(options.name, runs, summary=summarise([run for run in runs if "error" not in run]))


if __name__ == "__main__":
    main()
