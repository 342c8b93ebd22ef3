"""Data for benchmarks of verdicts: simulators with known structure, parts of real sets, and what is done to them.

Each function returns one that makes an AnnData from a seed.
"""

from collections.abc import Callable
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from _common import load

#: real cells and genes of a case: enough to be real, few enough for hundreds of fits
REAL_CELLS, REAL_GENES = 1000, 500

Make = Callable[[int], ad.AnnData]


def factors(n: int, genes: int, *, rank: int = 3, signal: float = 1.0, noise: str = "nb", depth: float = 2000.0):
    """Continuous factors (a trajectory) in counts, real values or 0/1; labels are the signs of the first two."""

    def make(seed: int) -> ad.AnnData:
        rng = np.random.default_rng([seed, n, genes, rank])
        z_NK = rng.normal(size=(n, rank))
        low_NG = signal * z_NK @ rng.normal(size=(rank, genes)) / np.sqrt(rank)
        mean_G = rng.normal(0, 1, genes)
        if noise == "gaussian":
            x = mean_G * 3 + low_NG + rng.normal(size=(n, genes)) * rng.uniform(0.5, 2, genes)
        elif noise == "t":
            x = mean_G * 3 + low_NG + rng.standard_t(3, size=(n, genes))
        elif noise == "bernoulli":
            x = rng.random((n, genes)) < 1 / (1 + np.exp(-(low_NG + mean_G - 1)))
        else:
            rate_NG = np.exp(mean_G + low_NG)
            rate_NG *= depth * rng.lognormal(0, 0.4, (n, 1)) / rate_NG.sum(1, keepdims=True)
            if noise == "nb":
                rate_NG = rng.gamma(2.0, rate_NG / 2.0)
            if noise == "zinb":
                rate_NG = rng.gamma(2.0, rate_NG / 2.0) * (rng.random((n, genes)) > 0.2)
            x = rng.poisson(rate_NG)
        label = (z_NK[:, 0] > 0) * 2 + (z_NK[:, -1] > 0)
        obs = pd.DataFrame(
            {"label": pd.Categorical([f"part {c}" for c in label]), "batch": pd.Categorical(["one"] * n)}
        )
        return ad.AnnData(sp.csr_matrix(x.astype(np.float32)) if noise not in ("gaussian", "t") else x, obs=obs)

    return make


def dispersions(n: int, genes: int, between: tuple[float, float], *, rank: int = 3, depth: float = 2000.0) -> Make:
    """Continuous factors in NB counts whose θ lie log-uniformly in a range."""

    def make(seed: int) -> ad.AnnData:
        rng = np.random.default_rng([seed, n, genes, 11])
        low_NG = rng.normal(size=(n, rank)) @ rng.normal(size=(rank, genes)) / np.sqrt(rank)
        rate_NG = np.exp(rng.normal(0, 1, genes) + low_NG)
        rate_NG *= depth * rng.lognormal(0, 0.4, (n, 1)) / rate_NG.sum(1, keepdims=True)
        theta_G = np.exp(rng.uniform(*np.log(between), genes))
        x = rng.poisson(rate_NG * rng.gamma(theta_G, 1 / theta_G, (n, genes)))
        kept = x.sum(1) > 0
        return ad.AnnData(sp.csr_matrix(x[kept].astype(np.float32)))

    return make


def peaks(n: int, n_peaks: int, *, n_types: int = 6, depth: float = 60.0) -> Make:
    """Fragments in open chromatin peaks: rare, clumped (θ near 0.007), a tenth of the peaks specific to a cell type."""

    def make(seed: int) -> ad.AnnData:
        rng = np.random.default_rng([seed, n, n_peaks, 12])
        open_TP = np.exp(rng.normal(0, 1, n_peaks) + 2 * (rng.random((n_types, n_peaks)) < 0.1))
        label = rng.integers(0, n_types, n)
        rate_NP = open_TP[label]
        rate_NP *= depth * rng.lognormal(0, 0.4, (n, 1)) / rate_NP.sum(1, keepdims=True)
        theta_P = np.exp(rng.normal(-5, 0.7, n_peaks))
        x = rng.poisson(rate_NP * rng.gamma(theta_P, 1 / theta_P, (n, n_peaks)))
        kept = x.sum(1) > 0
        obs = pd.DataFrame({"label": pd.Categorical([f"type {t}" for t in label[kept]])})
        obs.index = obs.index.astype(str)
        return ad.AnnData(sp.csr_matrix(x[kept].astype(np.float32)), obs=obs)

    return make


def types(n: int, genes: int, **settings: Any) -> Make:
    """Cell types and batches, by ``ov.datasets.simulate_counts``."""

    def make(seed: int) -> ad.AnnData:
        import omicvae as ov

        adata = ov.datasets.simulate_counts(n, genes, seed=seed, **settings)
        adata.obs["label"] = adata.obs["cell_type"]
        return adata

    return make


def bulk(n: int, genes: int) -> Make:
    """Bulk samples with batches and a disease, by ``ov.datasets.simulate_bulk``."""

    def make(seed: int) -> ad.AnnData:
        import omicvae as ov

        adata = ov.datasets.simulate_bulk(n, genes, seed=seed)
        adata.obs["label"] = adata.obs["tissue"]
        return adata

    return make


def real(name: str, cells: int = REAL_CELLS, genes: int = REAL_GENES) -> Make:
    """Read a shared data set: so many of its cells and of its most variable genes."""

    def make(seed: int) -> ad.AnnData:
        adata = load(name, genes)
        if name.startswith("bulk") and adata.n_vars > 4 * genes:
            x = np.log1p(adata.X.toarray()) if sp.issparse(adata.X) else np.asarray(adata.X)
            adata = adata[:, np.sort(np.argsort(-x.var(0))[: 4 * genes])].copy()
        chosen = np.random.default_rng([seed, 5]).permutation(adata.n_obs)[:cells]
        adata = adata[np.sort(chosen)].copy()
        adata = adata[:, np.asarray(adata.X.sum(0)).ravel() > 0].copy()
        return adata[np.asarray(adata.X.sum(1)).ravel() > 0].copy() if sp.issparse(adata.X) else adata

    return make


def shuffled(make: Make) -> Make:
    """Shuffle every gene over cells within batches: real noise, no structure."""

    def shuffle(seed: int) -> ad.AnnData:
        adata = make(seed)
        rng = np.random.default_rng([seed, 6])
        x = adata.X.toarray() if sp.issparse(adata.X) else np.array(adata.X)
        batch = adata.obs["batch"].cat.codes.to_numpy() if "batch" in adata.obs else np.zeros(adata.n_obs)
        for code in np.unique(batch):
            rows = np.flatnonzero(batch == code)
            x[rows] = rng.permuted(x[rows], axis=0)
        kept = x.sum(1) != 0
        x = sp.csr_matrix(x) if sp.issparse(adata.X) else x
        return ad.AnnData(x, obs=adata.obs, var=adata.var)[kept].copy()

    return shuffle


def few(make: Make, n: int) -> Make:
    """So many cells of it, without batches."""

    def thin(seed: int) -> ad.AnnData:
        adata = make(seed)
        chosen = np.sort(np.random.default_rng([seed, 8]).permutation(adata.n_obs)[:n])
        adata = adata[chosen].copy()
        adata.obs["batch"] = pd.Categorical(["one"] * adata.n_obs)
        return adata[:, np.asarray(adata.X.sum(0)).ravel() > 0].copy()

    return thin


def second_genes(name: str, cells: int = REAL_CELLS, genes: int = REAL_GENES, *, skip: int = 0) -> Make:
    """Read a shared data set without its ``genes`` most variable genes: so many of the next, after ``skip`` of them."""

    def make(seed: int) -> ad.AnnData:
        every, first = load(name, None), set(real(name, cells, genes)(seed).var_names)
        adata = every[:, [gene not in first for gene in every.var_names]].copy()
        spread_G = np.log1p(adata.X.toarray()).var(0)
        adata = adata[:, np.sort(np.argsort(-spread_G)[skip : skip + genes])].copy()
        chosen = np.random.default_rng([seed, 5]).permutation(adata.n_obs)[:cells]
        adata = adata[np.sort(chosen)].copy()
        return adata[np.asarray(adata.X.sum(1)).ravel() > 0].copy()

    return make


def log_normalised(make: Make) -> Make:
    """Log1p of counts scaled to 10⁴ a cell: what many give to a Gaussian likelihood."""

    def change(seed: int) -> ad.AnnData:
        adata = make(seed)
        x = adata.X.toarray()
        x = np.log1p(1e4 * x / x.sum(1, keepdims=True))
        return ad.AnnData(x.astype(np.float32), obs=adata.obs, var=adata.var)

    return change


def thinned(make: Make, share: float) -> Make:
    """Keep each count with probability ``share``, as if sequenced less deeply; cells left empty go."""

    def thin(seed: int) -> ad.AnnData:
        adata = make(seed)
        counts = np.random.default_rng([seed, 12]).binomial(adata.X.toarray().astype(np.int64), share)
        x = sp.csr_matrix(counts.astype(np.float32))
        thin = ad.AnnData(x, obs=adata.obs, var=adata.var)[counts.sum(1) > 0]
        return thin[:, np.asarray(thin.X.sum(0)).ravel() > 0].copy()

    return thin


def detected(make: Make) -> Make:
    """0 or 1: whether a gene was seen."""

    def change(seed: int) -> ad.AnnData:
        adata = make(seed)
        x = adata.X.toarray() > 0
        return ad.AnnData(sp.csr_matrix(x.astype(np.float32)), obs=adata.obs, var=adata.var)

    return change


def curve(n: int, genes: int, *, shape: str, noise: str = "nb", signal: float = 1.0, depth: float = 1500.0) -> Make:
    """Cells along a curve, genes that rise and fall along it: three branches or a circle, or all alike (``"point"``).

    Dispersions differ from gene to gene (log-normal), as do mean expressions, over three decades.
    """

    def make(seed: int) -> ad.AnnData:
        rng = np.random.default_rng([seed, n, genes, len(shape)])
        time_N, branch_N = rng.random(n), rng.integers(3, size=n)
        if shape == "circle":
            angle_NG = 2 * np.pi * (time_N[:, None] - rng.random(genes))
            pattern_NG, branch_N = np.sin(angle_NG), (3 * time_N).astype(int)
        else:  # a bump along a branch, or the same along all of them
            bump_NG = np.exp(-0.5 * ((time_N[:, None] - rng.random(genes)) / 0.25) ** 2)
            pattern_NG = 2 * bump_NG * (rng.random((3, genes)) < 0.6)[branch_N]
        if shape == "point":
            pattern_NG = np.zeros_like(pattern_NG)
        low_NG = signal * pattern_NG * rng.lognormal(0, 0.5, genes)
        if noise == "gaussian":
            x = rng.normal(0, 3, genes) + low_NG + rng.normal(size=(n, genes)) * rng.uniform(0.5, 2, genes)
        else:
            rate_NG = np.exp(rng.normal(0, 1.5, genes) + low_NG)
            rate_NG *= depth * rng.lognormal(0, 0.5, (n, 1)) / rate_NG.sum(1, keepdims=True)
            if noise == "nb":
                inverse_G = rng.lognormal(1.0, 0.7, genes)
                rate_NG = rng.gamma(np.broadcast_to(inverse_G, rate_NG.shape), rate_NG / inverse_G)
            x = rng.poisson(rate_NG)
        kept = np.asarray(x).sum(1) != 0
        label = pd.Categorical(
            [f"{branch} {'late' if t > 0.5 else 'early'}" for branch, t in zip(branch_N, time_N, strict=True)]
        )
        obs = pd.DataFrame({"label": label, "batch": pd.Categorical(["one"] * n)})
        x = np.asarray(x, dtype=np.float32)
        return ad.AnnData(x if noise == "gaussian" else sp.csr_matrix(x), obs=obs)[kept].copy()

    return make


def unequal_batches(n: int, genes: int) -> Make:
    """Real values without structure, twice as noisy in one of two batches of unlike means."""

    def make(seed: int) -> ad.AnnData:
        rng = np.random.default_rng([seed, n, genes, 11])
        batch_N = rng.integers(2, size=n)
        x = rng.normal(size=(2, genes))[batch_N] + (1 + batch_N)[:, None] * rng.normal(size=(n, genes))
        batch = pd.Categorical([f"batch {b}" for b in batch_N])
        return ad.AnnData(x.astype(np.float32), obs=pd.DataFrame({"batch": batch}))

    return make
