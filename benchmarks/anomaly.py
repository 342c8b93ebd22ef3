"""How well ``anomaly_score`` finds spoilt cells, and ``impute`` masked entries, on cells that took no part in the fit.

    python benchmarks/anomaly.py

Figures of ``docs/anomaly.md``: medians over five seeds. Anomalies are a quarter of new PBMC: their counts of 80 genes
are shuffled within the cell, or taken from another cell. Entries are masked at random, and compared with the gene's
mean over the training cells, at the cell's own depth for counts.
"""

import json

import numpy as np
from _common import RESULTS, provenance
from sklearn.metrics import roc_auc_score

import omicvae as ov

SEEDS = range(5)
SHARES = (0.1, 0.5)


def dense(adata) -> np.ndarray:
    """Values as an array."""
    return np.asarray(adata.X.toarray() if hasattr(adata.X, "toarray") else adata.X, dtype=np.float64)


def halves(adata, n_new: int, seed: int):
    """Cells to fit on, and new ones."""
    order = np.random.default_rng([seed, 5]).permutation(adata.n_obs)
    return adata[order[n_new:]].copy(), adata[order[:n_new]].copy()


def fitted(adata, seed: int) -> ov.CVAE:
    """Return a model of the usual kind."""
    ov.CVAE.setup_anndata(adata)
    model = ov.CVAE(adata, seed=seed)
    model.train(progress_bar=False, accelerator="cpu")
    return model


def spoilt_cells(kind: str, seed: int) -> dict[str, float]:
    """AUROC of spoilt cells among new ones by ``z``, and by ``nll`` alone."""
    train, new = halves(ov.datasets.pbmc68k_counts(), 200, seed)
    rng, x_NG = np.random.default_rng([seed, 6]), dense(new)
    cells, genes = rng.permutation(200)[:50], rng.permutation(new.n_vars)[:80]
    part = x_NG[np.ix_(cells, genes)]
    x_NG[np.ix_(cells, genes)] = rng.permuted(part, axis=1) if kind == "shuffled" else np.roll(part, 1, axis=0)
    new.X = x_NG.astype(np.float32)
    scores, spoilt_N = fitted(train, seed).anomaly_score(new), np.isin(np.arange(200), cells)
    return {name: float(roc_auc_score(spoilt_N, scores[name])) for name in ("z", "nll")}


def masked_entries(name: str, share: float, seed: int) -> dict[str, float]:
    """Error of masked entries (mean Poisson deviance, or squared error), and coverage of the 90 % intervals."""
    made = {
        "PBMC": lambda: (ov.datasets.pbmc68k_counts(), 150),
        "simulated counts": lambda: (ov.datasets.simulate_counts(800, 200, seed=seed), 200),
        "simulated bulk": lambda: (ov.datasets.simulate_bulk(1000, 200, seed=seed), 200),
    }
    train, new = halves(*made[name](), seed)
    x_NG, seen_MG, counts = dense(new), dense(train), name != "simulated bulk"
    mask_NG = np.random.default_rng([seed, 7]).random(new.shape) < share
    table = fitted(train, seed).impute(new, mask_NG)
    truth = x_NG[mask_NG]

    def error(mean: np.ndarray) -> float:
        if not counts:
            return float(((truth - mean) ** 2).mean())
        mean = np.maximum(mean, 1e-9)
        return float(2 * (np.where(truth > 0, truth * np.log(np.maximum(truth, 1) / mean), 0) - truth + mean).mean())

    found = {"impute": error(table["mean"].to_numpy())}
    mean_NG = np.broadcast_to(seen_MG.mean(0), x_NG.shape)
    found["gene's mean"] = error(mean_NG[mask_NG])
    if counts:
        share_G = seen_MG.sum(0) / seen_MG.sum()
        observed_N1 = np.where(mask_NG, 0, x_NG).sum(1, keepdims=True) / (~mask_NG @ share_G)[:, None]
        found["gene's mean at the cell's depth"] = error((observed_N1 * share_G)[mask_NG])
    found["coverage"] = float(((table["low"] <= truth) & (truth <= table["high"])).mean())
    return found


def medians(runs: list[dict[str, float]]) -> dict[str, float]:
    """Median of each figure over the seeds."""
    return {name: float(np.median([run[name] for run in runs])) for name in runs[0]}


def main() -> None:
    result = {"provenance": provenance(), "seeds": len(SEEDS)}
    result["spoilt cells"] = {
        kind: medians([spoilt_cells(kind, seed) for seed in SEEDS]) for kind in ("shuffled", "of another cell")
    }
    print("spoilt cells, AUROC", result["spoilt cells"], flush=True)
    result["masked entries"] = {}
    for name in ("PBMC", "simulated counts", "simulated bulk"):
        for share in SHARES:
            found = medians([masked_entries(name, share, seed) for seed in SEEDS])
            result["masked entries"][f"{name}, {share:.0%}"] = found
            print(name, share, found, flush=True)
    (RESULTS / "anomaly.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
