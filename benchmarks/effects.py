"""Effects across replicates: false hits where nothing differs, power where it is known what does, cover of intervals.

    OMICVAE_DATA=... python benchmarks/effects.py

Null: cells of one type of eight donors (kang_ctrl_8donors), four donors against four. Power: the same with the counts
of 10 % of the genes thinned binomially in one of the groups, half of them in either; the cells are encoded again.
edgeR's quasi-likelihood test on pseudobulk (Rscript with edgeR) is left out by name where it is not installed. The test
was developed on the CD4 T cells; monocytes and the simulated cells took no part in that, gbm_panobinostat (pairs, no
truth) none but to look at.
"""

import itertools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from _common import parser, write
from scipy import stats

import omicvae as ov

FDR, SPIKED, N_FITTED = 0.05, 0.1, 3
#: splits by fold change; the first type is the one on which the test was developed
TYPES = {"CD4 T cells": {None: 12, 1.5: 6, 2.0: 6}, "CD14+ Monocytes": {None: 6, 1.5: 3}}
DEVELOPED = "CD4 T cells"


def donors(kind: str) -> ad.AnnData:
    adata = ad.read_h5ad(Path(os.environ["OMICVAE_DATA"]) / "kang_ctrl_8donors.h5ad")
    return adata[adata.obs["label"] == kind].copy()


def fitted(adata: ad.AnnData, batch_key: str | None, **covariates: list[str]) -> ov.CVAE:
    ov.CVAE.setup_anndata(adata, batch_key=batch_key, **covariates)
    model = ov.CVAE(adata, likelihood="nb", seed=0)
    model.train()
    return model


def labelled(adata: ad.AnnData, split: tuple[int, ...], fold: float | None, seed: int) -> tuple[ad.AnnData, np.ndarray]:
    """Name the donors of ``split`` b and the others a; thin genes where there is a fold change; and which they are."""
    group = np.isin(adata.obs["batch"].cat.codes, split)
    counts, spiked = adata.X.toarray(), np.zeros(adata.n_vars, bool)
    if fold:
        rng = np.random.default_rng(seed)
        for place, gene in enumerate(rng.choice(adata.n_vars, int(SPIKED * adata.n_vars), replace=False)):
            rows = group if place % 2 else ~group
            counts[rows, gene] = rng.binomial(counts[rows, gene].astype(int), 1 / fold)
            spiked[gene] = True
    obs = adata.obs.assign(group=pd.Categorical(np.where(group, "b", "a")))
    return ad.AnnData(sp.csr_matrix(counts.astype(np.float32)), obs=obs, var=adata.var), spiked


def pseudobulk(adata: ad.AnnData, unit: np.ndarray) -> np.ndarray:
    return np.stack([np.asarray(adata.X[unit == u].sum(0)).ravel() for u in np.unique(unit)])


def q_values(p: np.ndarray) -> np.ndarray:
    return stats.false_discovery_control(np.nan_to_num(p, nan=1.0))


def wilcoxon(adata: ad.AnnData) -> np.ndarray:
    """Cells as if they were independent, log1p CP10k."""
    counts, group = adata.X.toarray(), (adata.obs["group"] == "b").to_numpy()
    values = np.log1p(counts / counts.sum(1, keepdims=True) * 1e4)
    return q_values(stats.mannwhitneyu(values[group], values[~group]).pvalue)


def pseudobulk_t(adata: ad.AnnData) -> np.ndarray:
    unit = adata.obs["batch"].cat.codes.to_numpy()
    sums = pseudobulk(adata, unit)
    values = np.log1p(sums / sums.sum(1, keepdims=True) * 1e6)
    group = np.array([(adata.obs["group"][unit == u] == "b").all() for u in np.unique(unit)])
    return q_values(stats.ttest_ind(values[group], values[~group]).pvalue)


def edger(jobs: list[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray] | None:
    """q-values of pseudobulk counts (units × genes) under designs; None where it is not installed."""
    script = Path(__file__).with_name("edger.R")
    found = shutil.which("Rscript")
    if found is None or subprocess.run([found, "-e", "library(edgeR)"], capture_output=True, check=False).returncode:
        print("left out: edgeR (needs Rscript and the package edgeR)")
        return None
    with tempfile.TemporaryDirectory() as folder:
        for i, (counts, design) in enumerate(jobs):
            np.savetxt(f"{folder}/counts{i}.csv", counts, delimiter=",", fmt="%d")
            np.savetxt(f"{folder}/design{i}.csv", design, delimiter=",")
        subprocess.run([found, str(script), folder, str(len(jobs))], check=True)
        return [q_values(np.loadtxt(f"{folder}/p{i}.csv")) for i in range(len(jobs))]


def splits(n: int) -> list[tuple[int, ...]]:
    """Return the first of the 35 in a random order."""
    every = [split for split in itertools.combinations(range(8), 4) if 0 in split]
    return [every[i] for i in np.random.default_rng(0).permutation(len(every))[:n]]


def unpaired(split: tuple[int, ...]) -> np.ndarray:
    return np.stack([np.ones(8), np.isin(np.arange(8), split)], axis=1)


def four_against_four(kind: str, fold: float | None, model: ov.CVAE, chosen: list[tuple[int, ...]]) -> list[dict]:
    """Hits, true hits and spiked genes of each method and split."""
    adata, rows, jobs, truths = donors(kind), [], [], []

    def add(method: str, number: int, q: np.ndarray, spiked: np.ndarray) -> None:
        hits = q <= FDR
        counted = {"hits": int(hits.sum()), "true_hits": int((hits & spiked).sum()), "spiked": int(spiked.sum())}
        rows.append({"cells": kind, "fold": fold, "method": method, "split": number, **counted})

    for number, split in enumerate(chosen):
        cells, spiked = labelled(adata, split, fold, number)
        jobs.append((pseudobulk(cells, cells.obs["batch"].cat.codes.to_numpy()), unpaired(split)))
        truths.append(spiked)
        add("pseudobulk t-test", number, pseudobulk_t(cells), spiked)
        if not fold:
            add("cell-wise Wilcoxon", number, wilcoxon(cells), spiked)
        for states in ("as_found", "equal"):
            result = model.effects("group", "batch", adata=cells, states=states, n_permutations=0)
            q = result.to_frame()["q"].reindex(cells.var_names).fillna(1).to_numpy()
            add(f"effects, states {states}, model without donors", number, q, spiked)
    for number, q in enumerate(edger(jobs) or []):
        add("edgeR pseudobulk", number, q, truths[number])
    return rows


def fitted_on_these(fold: float | None, chosen: list[tuple[int, ...]]) -> list[dict]:
    """Fits of the spiked cells themselves: z may learn the effects, unless it sees the reference alone."""
    rows = []
    for number, split in enumerate(chosen):
        cells, spiked = labelled(donors(DEVELOPED), split, fold, number)
        reference = cells[cells.obs["group"] == "a"].copy()
        ways = {"group unknown": (cells, None), "group known": (cells, "group"), "reference only": (reference, None)}
        for way, (fit, key) in ways.items():
            result = fitted(fit.copy(), key).effects(
                "group", "batch", adata=cells, states="equal", n_permutations=34, n_samples=2
            )
            hits = result.to_frame()["q"].reindex(cells.var_names).to_numpy() <= FDR
            counted = {"hits": int(hits.sum()), "true_hits": int((hits & spiked).sum()), "spiked": int(spiked.sum())}
            method = f"effects, states equal, fitted on these cells, {way}"
            taken = {"equal_states": result.equal_states, "states_beyond": result.test.states_beyond}
            rows.append({"cells": DEVELOPED, "fold": fold, "method": method, "split": number, **counted, **taken})
    return rows


def paired() -> list[dict]:
    """Five patients, drug against vehicle: hits and those shared with edgeR; there is no truth."""
    adata = ad.read_h5ad(Path(os.environ["OMICVAE_DATA"]) / "gbm_panobinostat.h5ad")
    patient, drug = adata.obs["batch"].cat.codes.to_numpy(), (adata.obs["condition"] != "ctrl").to_numpy()
    unit = 2 * patient + drug
    codes = np.unique(unit)
    design = np.concatenate([np.eye(5)[codes // 2], (codes % 2)[:, None]], axis=1)
    q = edger([(pseudobulk(adata, unit), design)])
    rows = [] if q is None else [{"method": "edgeR pseudobulk, paired", "hits": int((q[0] <= FDR).sum())}]
    for name, covariates in {"unknown": None, "known": ["condition"]}.items():
        model = fitted(adata.copy(), "batch", categorical_covariate_keys=covariates)
        for states in ("as_found", "equal"):
            result = model.effects("condition", "batch", groups=("panobinostat", "ctrl"), states=states)
            row = {
                "method": f"effects, states {states}, condition {name} to the model",
                "hits": result.n_hits,
            }
            row["null_hits"] = result.null_hits.tolist()
            if q is not None:
                hits = result.to_frame()["q"].reindex(adata.var_names).to_numpy() <= FDR
                row["shared_with_edger"] = int((hits & (q[0] <= FDR)).sum())
            rows.append(row)
    return rows


def simulated(likelihood: str, seed: int) -> tuple[ad.AnnData, np.ndarray]:
    """Five donors against five, 60 cells each, 100 genes; donors vary by 0.2 SD, a fifth of the genes has an effect."""
    rng = np.random.default_rng(seed)
    donor, n_genes = np.repeat(np.arange(10), 60), 100
    effect = np.where(np.arange(n_genes) % 5 == 0, rng.choice([-1.0, 1.0], n_genes), 0.0)
    level = rng.normal(0, 0.2, (10, n_genes)) + (np.arange(10) >= 5)[:, None] * effect
    mean = rng.normal(0.5, 1.0, n_genes) + level[donor]
    size = np.exp(rng.normal(0, 0.3, (len(donor), 1)))
    rate = size * np.exp(mean)
    draw = {
        "nb": lambda: rng.poisson(rate * rng.gamma(2.0, 0.5, rate.shape)),
        "zinb": lambda: rng.poisson(rate * rng.gamma(2.0, 0.5, rate.shape)) * (rng.random(rate.shape) > 0.1),
        "poisson": lambda: rng.poisson(rate),
        "gaussian": lambda: mean + rng.normal(0, 1, mean.shape),
        "student_t": lambda: mean + rng.standard_t(5, mean.shape),
        "bernoulli": lambda: rng.random(mean.shape) < 1 / (1 + np.exp(-mean)),
    }
    obs = pd.DataFrame({"donor": [f"d{d}" for d in donor], "group": np.where(donor >= 5, "b", "a")})
    obs["size"] = size[:, 0]
    values = draw[likelihood]().astype(np.float32)
    return ad.AnnData(values, obs=obs.set_index(obs.index.astype(str))), effect


def cover(n_data: int) -> list[dict]:
    """Share of true effects inside the 95 % limits, states as found; counts with the size factors known."""
    rows = []
    for likelihood in ("nb", "zinb", "poisson", "gaussian", "student_t", "bernoulli"):
        inside = []
        for seed in range(n_data):
            adata, effect = simulated(likelihood, seed)
            counts = likelihood in ("nb", "zinb", "poisson")
            ov.CVAE.setup_anndata(adata, size_factor_key="size" if counts else None)
            model = ov.CVAE(adata, likelihood=likelihood, seed=0)
            model.train(max_epochs=2)
            frame = model.effects("group", "donor", states="as_found", n_permutations=0).to_frame()
            frame = frame.reindex(adata.var_names)
            inside.append(((frame["lower"] <= effect) & (effect <= frame["upper"]))[frame["p"].notna()])
        rows.append({"likelihood": likelihood, "cover": float(np.concatenate(inside).mean()), "data_sets": n_data})
    return rows


def summarised(rows: list[dict]) -> list[dict]:
    """Return false hits, power and mean false discovery proportion by method and fold change."""
    table = []
    for (kind, fold, method), part in pd.DataFrame(rows).fillna({"fold": 0}).groupby(["cells", "fold", "method"]):
        false = part["hits"] - part["true_hits"]
        row = {"cells": kind, "fold": float(fold) or None, "method": method, "splits": len(part)}
        if fold:
            row["power"] = round(float(part["true_hits"].sum() / part["spiked"].sum()), 3)
            row["fdr"] = round(float((false / part["hits"].clip(lower=1)).mean()), 3)
        else:
            row |= {"median_hits": float(part["hits"].median()), "max_hits": int(part["hits"].max())}
        table.append(row)
    return table


def main() -> None:
    arguments = parser(__doc__, "effects").parse_args()
    n = 2 if arguments.quick else None
    runs, pairs, intervals = [], paired(), cover(n or 3)

    def kept(rows: list[dict]) -> None:
        runs.extend(rows)
        write(arguments.name, runs, summary=summarised(runs), paired=pairs, intervals=intervals)

    for kind, folds in TYPES.items():
        model = fitted(donors(kind), None)
        for fold, n_splits in folds.items():
            kept(four_against_four(kind, fold, model, splits(n or n_splits)))
    kept(fitted_on_these(1.5, splits(n or N_FITTED)))
    for row in (*summarised(runs), *pairs, *intervals):
        print(row)


if __name__ == "__main__":
    main()
