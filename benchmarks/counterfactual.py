"""What a model predicts for a group of cells whose cells in the target state it has not seen.

Each group in turn (cell type of `kang_ifnb`, patient of `gbm_panobinostat`): its stimulated cells are left out of
training, and predicted from its control cells. The condition is the only covariate. All genes of the file: choosing by
variance would have looked at the cells left out.

Arms: `omicvae`, `CVAE(encode_covariates=False)` with a latent adversary, as `docs/counterfactual.md` advises;
`omicvae_no_adversary`, the same without; `omicvae_default`, the condition in encoder and decoder; `scvi`, SCVI
(nb), its samples with `transform_batch` used in the same way (80 epochs, rate 4e-3, warm-up of 20; its own 400 take 5
times as long). Baselines: `no_change`; `mean_shift`, observed control mean plus the mean of the other groups' shifts.

Figures by `omicvae.metrics.change_agreement` in log1p of counts per 10,000: R² of means over all genes and over the 100
and 20 genes that differ most, Pearson correlation of changes, share of right directions (top 100), R² of variances of
predicted samples (`mean_shift`: control variance plus the mean shift of variances). `told`: balanced accuracy with
which z tells the state. `beats`: what the result itself says of the model against the mean shift. `decoded_only`: from
the mean of samples at c′ alone, without the observed control mean.

`chosen_on` marks groups on which the settings were chosen; `fresh` summaries leave them out. `leak`: largest difference
in the prediction of the first group after its held-out cells were replaced by noise, 0 if bit-identical.

Arm `null`: conditions permuted within groups, nothing held out, default model; `hits` are the genes at q ≤ 0.05
by group, which should be 0, and `hits_unpermuted` that of the real conditions.
"""

import warnings

import numpy as np
from _common import fit_scvi, load, parser, read_runs, write

DATA = {
    "kang_ifnb": ("label", "stim", ("CD4 T", "CD14 Mono", "FCGR3A Mono", "B", "NK", "CD8 T", "Dendritic")),
    "gbm_panobinostat": ("batch", "panobinostat", ("PW030", "PW032", "PW034", "PW036", "PW040")),
}
CHOSEN_ON = {"kang_ifnb": ("CD4 T", "NK", "FCGR3A Mono"), "gbm_panobinostat": ()}
DECODER_ONLY = {"encode_covariates": False}
ARMS = {
    "omicvae": (DECODER_ONLY, {"objective": {"adversary": {"covariates": ["condition"]}}}),
    "omicvae_no_adversary": (DECODER_ONLY, {}),
    "omicvae_default": ({}, {}),
}
#: draws of each cell
N_SAMPLES = 10
SCVI = {"max_epochs": 80, "lr": 4e-3, "n_epochs_kl_warmup": 20}
FIGURES = ("r2_means", "r2_means_top100", "r2_means_top20", "pearson", "direction_top100")
FIGURES = (*FIGURES, "r2_variances", "r2_variances_top100")


def unit(counts) -> np.ndarray:
    """log1p of counts per 10,000, dense."""
    counts = np.asarray(counts.todense() if hasattr(counts, "todense") else counts, dtype=float)
    return np.log1p(1e4 * counts / np.maximum(counts.sum(1, keepdims=True), 1))


def figures(own_AG: np.ndarray, observed_BG: np.ndarray, mean_G: np.ndarray, variance_G: np.ndarray | None) -> dict:
    """Figures of one prediction."""
    from omicvae.metrics import change_agreement

    top, twenty = (change_agreement(own_AG, observed_BG, mean_G, variance_G, n_top=n) for n in (100, 20))
    found = {
        "r2_means": top.r2_means,
        "r2_means_top100": top.r2_means_top,
        "r2_means_top20": twenty.r2_means_top,
        "pearson": top.pearson,
        "direction_top100": top.direction_top,
        "r2_variances": top.r2_variances,
        "r2_variances_top100": top.r2_variances_top,
    }
    return {name: None if value != value else round(value, 4) for name, value in found.items()}


def baselines(cells_NG: np.ndarray, own: dict, target: dict, group: str) -> dict:
    """Figures of the two baselines; ``own`` and ``target`` are rows by group."""
    own_AG, observed_BG = cells_NG[own[group]], cells_NG[target[group]]
    others = [name for name in own if name != group]
    shift = {
        moment: np.mean([moment(cells_NG[target[o]], 0) - moment(cells_NG[own[o]], 0) for o in others], axis=0)
        for moment in (np.mean, np.var)
    }
    spread_G = np.maximum(own_AG.var(0) + shift[np.var], 0)
    return {
        "no_change": figures(own_AG, observed_BG, own_AG.mean(0), own_AG.var(0)),
        "mean_shift": figures(own_AG, observed_BG, own_AG.mean(0) + shift[np.mean], spread_G),
    }


def predicted(model, adata, rows: np.ndarray, state: str, key: str, seed: int) -> tuple[dict, np.ndarray]:
    """Mean, mean of samples alone, variance, and what the result says; the change of each cell too."""
    result = model.counterfactual(adata, rows, {"condition": state}, groupby=key, n_samples=N_SAMPLES, seed=seed)
    said = result.uns["omicvae"]["counterfactual"]
    genes, (row,) = said["genes"], said["groups"].to_dict("records")
    moments = {name: genes[f"predicted_{name}"].to_numpy() for name in ("mean", "variance")}
    moments["samples"] = np.asarray(result.layers["mean"], dtype=np.float64).mean(0)
    told = {"told": said["told_by_z"], "beats": row["against_mean_shift"]}
    return {**moments, **told}, np.asarray(result.X)


def measure(data: str, group: str, arm: str, seed: int, quick: bool) -> dict:
    """Fit without the group's target cells, predict them, and measure."""
    import omicvae as ov
    from omicvae.training.clock import timed

    warnings.simplefilter("ignore")
    key, state, groups = DATA[data]
    adata = load(data, None)
    label_N, there_N = adata.obs[key].astype(str).to_numpy(), (adata.obs["condition"] == state).to_numpy()
    own, target = ({g: np.flatnonzero((label_N == g) & (there_N == moved)) for g in groups} for moved in (False, True))
    cells_NG = unit(adata.X)
    short = {"max_epochs": 3} if quick else {}
    if arm == "null":
        return null(adata, key, state, groups, seed, **short)
    if arm == "baselines":
        return baselines(cells_NG, own, target, group)
    own_AG, observed_BG = cells_NG[own[group]], cells_NG[target[group]]
    fitted = adata[~((label_N == group) & there_N)].copy()
    if arm == "scvi":
        fitted.obs["batch"] = fitted.obs["condition"].astype(str).astype("category")
        model, cost = fit_scvi(fitted, seed, **{**SCVI, **short})
        rows, means = np.flatnonzero(np.isin(fitted.obs_names, adata.obs_names[own[group]])), []
        for level in (None, [state]):
            samples = model.posterior_predictive_sample(
                indices=rows, transform_batch=level, n_samples=N_SAMPLES
            ).todense()
            means.append(np.stack([unit(samples[..., s]) for s in range(N_SAMPLES)]).reshape(-1, adata.n_vars))
        mean_G = own_AG.mean(0) + means[1].mean(0) - means[0].mean(0)
        return {**figures(own_AG, observed_BG, mean_G, means[1].var(0)), "seconds": cost["seconds"]}
    settings, training = ARMS[arm]
    ov.CVAE.setup_anndata(fitted, batch_key="condition")
    model = ov.CVAE(fitted, seed=seed, **settings)
    _, seconds = timed(model.train, **training, **short, progress_bar=False)
    found, change_NG = predicted(model, adata, own[group], state, key, seed)
    more = {"told": found["told"], "beats": found["beats"], "seconds": seconds}
    more["decoded_only"] = figures(own_AG, observed_BG, found["samples"], None)
    if group == groups[0]:
        noise = adata.copy()
        counts = noise.X.tolil()
        counts[target[group]] = np.random.default_rng(0).poisson(1.0, (len(target[group]), adata.n_vars))
        noise.X = counts.tocsr()
        again, again_NG = predicted(model, noise, own[group], state, key, seed)
        more["leak"] = float(max(np.abs(again_NG - change_NG).max(), np.abs(again["mean"] - found["mean"]).max()))
    return {**figures(own_AG, observed_BG, found["mean"], found["variance"]), **more}


def null(adata, key: str, state: str, groups: tuple[str, ...], seed: int, **training: int) -> dict:
    """Genes called in each group by a model of permuted conditions, and of the real ones."""
    import omicvae as ov

    cells, rng, hits = adata[np.isin(adata.obs[key].astype(str), groups)].copy(), np.random.default_rng(seed), {}
    for name in ("hits_unpermuted", "hits"):
        ov.CVAE.setup_anndata(cells, batch_key="condition")
        model = ov.CVAE(cells, seed=seed)
        model.train(**training, progress_bar=False)
        result = model.counterfactual(to={"condition": state}, groupby=key, n_samples=N_SAMPLES)
        genes = result.uns["omicvae"]["counterfactual"]["genes"]
        hits[name] = {group: int((part["q_value"] <= 0.05).sum()) for group, part in genes.groupby("group")}
        cells = cells.copy()
        for group in groups:
            rows = np.flatnonzero(cells.obs[key].astype(str) == group)
            cells.obs.iloc[rows, cells.obs.columns.get_loc("condition")] = cells.obs["condition"].to_numpy()[
                rng.permutation(rows)
            ]
    return hits


def summarise(runs: list[dict]) -> list[dict]:
    """Medians over groups (and seeds) of each arm, over all groups and over those that no setting was chosen on."""
    rows = []
    for data in DATA:
        for arm in ("no_change", "mean_shift", *ARMS, "scvi"):
            of_arm = [
                (run["group"], run[arm] if arm in ("no_change", "mean_shift") else run)
                for run in runs
                if run["data"] == data and "error" not in run and (run["arm"] == arm or arm in run)
            ]
            for groups, left_out in (("all", ()), ("fresh", CHOSEN_ON[data])):
                kept = [figures for group, figures in of_arm if group not in left_out]
                if kept:
                    values = {name: [f[name] for f in kept if f[name] is not None] for name in FIGURES}
                    medians = {name: float(np.median(of)) if of else None for name, of in values.items()}
                    asked = [f["beats"] == "beats" for f in kept if "beats" in f]
                    beats = sum(asked) if asked else None
                    rows.append({"data": data, "arm": arm, "groups": groups, "n": len(kept), "beats": beats, **medians})
    return rows


def main() -> None:
    """Run what the results do not hold yet."""
    arguments = parser(__doc__, "counterfactual")
    arguments.add_argument("--arms", nargs="+", default=["baselines", *ARMS, "scvi", "null"])
    arguments.add_argument("--data", nargs="+", default=list(DATA))
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0])
    given = arguments.parse_args()
    name = f"{given.name}_quick" if given.quick else given.name
    runs = read_runs(name)
    known = {(run["data"], run["group"], run["arm"], run["seed"]) for run in runs}
    wanted = [
        {"data": data, "group": group, "arm": arm, "seed": seed}
        for arm in given.arms
        for data in given.data
        for group in (("all",) if arm == "null" else DATA[data][2][: 1 if given.quick else None])
        for seed in (given.seeds if arm != "baselines" else [0])
    ]
    for run in wanted:
        if tuple(run.values()) not in known:
            found = measure(**run, quick=given.quick)
            runs.append({**run, "chosen_on": run["group"] in CHOSEN_ON[run["data"]], **found})
            write(name, runs, summary=summarise(runs))
            print(runs[-1], flush=True)


if __name__ == "__main__":
    main()
