"""Sweep of peak rate, steps and warm-up on the tuning sets: the defaults are chosen from it by held-out ELBO."""

import argparse
import itertools
import json
import logging
import time

from _common import TUNING_SETS, hold_out, load, write

import omicvae as ov


def run(data: str, seed: int, steps: int, rate: float, warmup: float, dropout_rate: float) -> dict:
    """Fit once with the given settings and score the test cells."""
    adata = load(data)
    batch_key = "batch" if adata.obs["batch"].nunique() > 1 else None
    fit, test = hold_out(adata, batch_key, seed)
    ov.CVAE.setup_anndata(fit, batch_key=batch_key)
    model = ov.CVAE(fit, "nb", seed=seed, encode_covariates=False, dropout_rate=dropout_rate)
    steps_per_epoch = max(1, -(-int(0.9 * fit.n_obs) // 128))
    started = time.perf_counter()
    model.train(
        max_epochs=max(2, round(steps / steps_per_epoch)),
        learning_rate=rate,
        objective={"warmup": warmup},
        progress_bar=False,
    )
    return {
        "data": data,
        "seed": seed,
        "steps": steps,
        "rate": rate,
        "warmup": warmup,
        "dropout_rate": dropout_rate,
        "epochs": len(model.history),
        "best_epoch": model.fits[-1].best_epoch,
        "seconds": time.perf_counter() - started,
        "elbo": model.get_elbo(test, n_samples=10),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", default=list(TUNING_SETS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, nargs="+", default=[500, 1000, 2000, 4000])
    parser.add_argument("--rates", type=float, nargs="+", default=[5e-3, 1e-2, 2e-2])
    parser.add_argument("--warmups", type=float, nargs="+", default=[0.3])
    parser.add_argument("--dropouts", type=float, nargs="+", default=[0.1])
    parser.add_argument("--name", default="defaults")
    options = parser.parse_args()
    logging.getLogger("omicvae").setLevel(logging.ERROR)
    runs = []
    grid = itertools.product(
        options.data, options.seeds, options.steps, options.rates, options.warmups, options.dropouts
    )
    for settings in grid:
        runs.append(run(*settings))
        print(json.dumps(runs[-1]), flush=True)
        write(options.name, runs)


if __name__ == "__main__":
    main()
