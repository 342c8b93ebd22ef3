"""Rate and distortion as β grows, for three likelihoods.

β from 0.1 to 10, three likelihoods on the same cells: nb on counts, bernoulli on counts > 0, gaussian on log1p of
counts scaled to 10⁴ a cell. CVAE's defaults otherwise. Rate (KL) and distortion (−log p(x | z, c)) are nats per cell,
means of ten draws, on test cells that no run has seen (`rate_test`, `distortion_test`; the same cells for all β and
seeds) and on the validation cells of each run.

The summary has mean and standard error over seeds for each likelihood and β, and `inversions`: neighbouring β between
which the distortion falls or the rate rises by more than two standard errors of the difference, √(SE₁² + SE₂²);
`reversed` counts the neighbours that run the wrong way by any amount. Distortions of different likelihoods do not
compare: they are densities of different data. Runs that the file holds are skipped: it can be stopped and started
again.
"""

import itertools
import json
import math
import warnings

import numpy as np
from _fits import BOUNDS, PBMC68K, arguments, bounds, fit, run_all, shorten

BETAS = (0.1, 0.5, 1.0, 2.0, 4.0, 10.0)
LIKELIHOODS = ("bernoulli", "gaussian", "nb")
#: what is compared → the sign that its change with a growing β should have
DIRECTIONS = {"rate_test": -1, "distortion_test": 1, "rate": -1, "distortion": 1}


def prepared(adata, likelihood: str):
    """Return the cells in the units of the likelihood."""
    import scanpy as sc

    if likelihood == "bernoulli":
        adata.X = (adata.X > 0).astype(np.float32)
    if likelihood == "gaussian":
        sc.pp.normalize_total(adata, target_sum=1e4)
        sc.pp.log1p(adata)
    return adata


def child(data: str, likelihood: str, beta: float, seed: int, **settings: object) -> dict:
    """Fit once and measure."""
    warnings.simplefilter("ignore")
    settings |= {"objective": {"beta": beta}, "prepare": lambda adata: prepared(adata, likelihood)}
    model, test, result = fit(data, seed, likelihood=likelihood, **settings)
    return {**result, **bounds(model, test)}


def mean_se(values: list[float]) -> tuple[float, float | None]:
    """Mean and its standard error; None for a single value."""
    return float(np.mean(values)), float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None


def steps(points: list[dict]) -> list[dict]:
    """Compare neighbouring β: difference, its standard error, and whether it is an inversion."""
    found = []
    for before, after in itertools.pairwise(points):
        for name, sign in DIRECTIONS.items():
            difference = after[name] - before[name]
            errors = (before[f"{name}_se"], after[f"{name}_se"])
            se = None if None in errors else math.hypot(*errors)
            wrong = sign * difference < 0
            found.append(
                {
                    "figure": name,
                    "betas": [before["beta"], after["beta"]],
                    "difference": difference,
                    "se": se,
                    "reversed": wrong,
                    "inversion": None if se is None else wrong and abs(difference) > 2 * se,
                }
            )
    return found


def summarise(runs: list[dict]) -> list[dict]:
    """One row per data set and likelihood."""
    rows = []
    for data, likelihood in dict.fromkeys((run["data"], run["likelihood"]) for run in runs):
        group = [run for run in runs if (run["data"], run["likelihood"]) == (data, likelihood)]
        finished = [run for run in group if "error" not in run and all(run[name] is not None for name in BOUNDS)]
        points = []
        for beta in sorted({run["beta"] for run in finished}):
            here = [run for run in finished if run["beta"] == beta]
            point = {"beta": beta, "n_seeds": len(here)}
            for name in BOUNDS:
                point[name], point[f"{name}_se"] = mean_se([run[name] for run in here])
            points.append(point)
        found = steps(points)
        rows.append(
            {
                "data": data,
                "likelihood": likelihood,
                "points": points,
                "steps": found,
                "inversions": [step for step in found if step["inversion"]],
                "reversed": sum(step["reversed"] for step in found),
                "incomplete": [
                    [run["beta"], run["seed"], *run.get("error", [])] for run in group if run not in finished
                ],
            }
        )
    return rows


def main() -> None:
    made = arguments(__doc__, "beta_sweep", (PBMC68K,), (0, 1, 2))
    made.add_argument("--likelihoods", nargs="+", choices=LIKELIHOODS, default=list(LIKELIHOODS))
    made.add_argument("--betas", type=float, nargs="+", default=list(BETAS))
    options = made.parse_args()
    if options.child:
        print(json.dumps(child(**options.child)))
        return
    shorten(options)
    if options.quick:
        options.betas = options.betas[:: len(options.betas) - 1 or None]
    tasks = [
        {"data": data, "likelihood": likelihood, "beta": beta, "seed": seed}
        for seed in options.seeds
        for data in options.data
        for likelihood in options.likelihoods
        for beta in options.betas
    ]
    run_all(__file__, options, tasks, summarise)


if __name__ == "__main__":
    main()
