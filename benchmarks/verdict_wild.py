"""The part ``wild``: learning rates from 0.03 to 30, constants, replicates, peak counts and methylation-like values.

Limits were set on other simulators, sizes and seeds of the same kinds. What a fit at an odd rate, or of peaks, has come
to is not known from how it was made: cells that it never saw decide (``verdict_truth.py``).
"""

from collections.abc import Iterator

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from verdict_cases import Case, Data
from verdict_data import Make, bulk, curve, factors, real, types

RATES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


def pooled(make: Make) -> Make:
    """Make it one batch: what batches differ by is a structure like any other."""

    def pool(seed: int) -> ad.AnnData:
        adata = make(seed)
        adata.obs["batch"] = pd.Categorical(["one"] * adata.n_obs)
        return adata

    return pool


def _labelled(x: np.ndarray, type_N: np.ndarray) -> ad.AnnData:
    obs = pd.DataFrame({"label": pd.Categorical([f"type {code}" for code in type_N])})
    return ad.AnnData(x.astype(np.float32), obs=obs)


def constant(n: int, genes: int, *, noise: str) -> Make:
    """Cells that are all alike: counts, or real values."""

    def make(seed: int) -> ad.AnnData:
        rng = np.random.default_rng([seed, n, genes, 41])
        x_G = rng.normal(5, 2, genes) if noise == "gaussian" else rng.poisson(25, genes)
        return ad.AnnData(np.tile(x_G, (n, 1)).astype(np.float32))

    return make


def replicates(n: int, genes: int, *, mean: float, noise: str = "poisson", depth_sd: float = 0.0) -> Make:
    """Measure one sample n times: Poisson, negative binomial (dispersion 10) or normal noise, nothing else."""

    def make(seed: int) -> ad.AnnData:
        rng = np.random.default_rng([seed, n, genes, 42])
        mean_NG = mean * rng.lognormal(0, 0.5, genes) * rng.lognormal(0, depth_sd, (n, 1))
        if noise == "gaussian":
            return ad.AnnData((mean_NG + rng.normal(size=(n, genes))).astype(np.float32))
        rate_NG = rng.gamma(10.0, mean_NG / 10.0) if noise == "nb" else mean_NG
        return ad.AnnData(rng.poisson(rate_NG).astype(np.float32))

    return make


def peaks(n: int, genes: int, *, mean: float = 0.1, log_theta: float = -2.0, signal: float = 2.0) -> Make:
    """Count reads in peaks: very small means, strongly overdispersed; four types differ in 30 % of the peaks."""

    def make(seed: int) -> ad.AnnData:
        rng = np.random.default_rng([seed, n, genes, 43])
        type_N, theta = rng.integers(4, size=n), np.exp(log_theta)
        effect_TG = np.exp(signal * rng.normal(size=(4, genes)) * (rng.random(genes) < 0.3))
        mean_NG = (mean * rng.lognormal(0, 0.8, genes) * effect_TG)[type_N] * rng.lognormal(0, 0.4, (n, 1))
        counts = rng.poisson(rng.gamma(theta, mean_NG / theta))
        adata = _labelled(counts, type_N)[counts.sum(1) > 0].copy()
        adata.X = sp.csr_matrix(adata.X)
        return adata

    return make


def methylation(n: int, sites: int, *, signal: float = 1.0) -> Make:
    """Give shares of methylated reads, in [0, 1], mostly near 0 or 1; three types differ in 40 % of the sites."""

    def make(seed: int) -> ad.AnnData:
        rng = np.random.default_rng([seed, n, sites, 44])
        type_N = rng.integers(3, size=n)
        effect_TG = signal * rng.normal(size=(3, sites)) * (rng.random(sites) < 0.4)
        logit_NG = (rng.choice([-2.0, 2.0], sites) + rng.normal(0, 0.6, sites) + effect_TG)[type_N]
        share_NG, reads = 1 / (1 + np.exp(-logit_NG)), 15.0
        return _labelled(rng.beta(share_NG * reads, (1 - share_NG) * reads), type_N)

    return make


AT_RATES: tuple[Data, ...] = (
    Data("types 420x180", "wild", pooled(types(420, 180, n_types=6, library=900.0))),
    Data("branches nb 360x160", "wild", pooled(curve(360, 160, shape="branches"))),
    Data("circle gaussian 260x120", "wild", pooled(curve(260, 120, shape="circle", noise="gaussian"))),
    Data("factors bernoulli 560x130", "wild", pooled(factors(560, 130, noise="bernoulli", signal=2.0))),
    Data("branches poisson 340x140", "wild", pooled(curve(340, 140, shape="branches", noise="poisson")), "poisson"),
    Data("pbmc_3chem 450x220", "wild", pooled(real("pbmc_3chem", 450, 220))),
    Data("simulated bulk 130x240", "wild", pooled(bulk(130, 240))),
    Data("peaks 800x300", "wild", peaks(800, 300)),
    Data("methylation 280x160", "wild", methylation(280, 160), "gaussian"),
)
EMPTY: tuple[Data, ...] = tuple(
    Data(name, "wild", make, likelihood, signal=False)
    for name, make, likelihood in (
        ("constant counts 250x60", constant(250, 60, noise="counts"), "auto"),
        ("constant counts 90x200, poisson", constant(90, 200, noise="counts"), "poisson"),
        ("constant counts 400x700", constant(400, 700, noise="counts"), "auto"),
        ("constant values 150x80", constant(150, 80, noise="gaussian"), "gaussian"),
        ("replicates of 50 350x90", replicates(350, 90, mean=50.0), "auto"),
        ("replicates of 3e3 120x150", replicates(120, 150, mean=3e3), "auto"),
        ("replicates of 3e3 240x70, poisson", replicates(240, 70, mean=3e3), "poisson"),
        ("replicates of 1e5 400x40", replicates(400, 40, mean=1e5), "auto"),
        ("replicates of 1e5 200x120, poisson", replicates(200, 120, mean=1e5), "poisson"),
        ("replicates of unlike depth 260x110", replicates(260, 110, mean=400.0, depth_sd=0.4), "auto"),
        ("overdispersed replicates 220x130", replicates(220, 130, mean=900.0, noise="nb"), "auto"),
        ("real replicates 180x140", replicates(180, 140, mean=8.0, noise="gaussian"), "gaussian"),
        ("peaks without types 700x350", peaks(700, 350, signal=0.0), "auto"),
        ("methylation without types 240x190", methylation(240, 190, signal=0.0), "gaussian"),
    )
)
SHAPES: tuple[Data, ...] = (
    Data("peaks 5000x2000", "wild", peaks(5000, 2000, mean=0.05, log_theta=-5.0)),
    Data("peaks 1500x400", "wild", peaks(1500, 400, mean=0.08)),
    Data("peaks 1000x600", "wild", peaks(1000, 600, mean=0.2, log_theta=-3.0)),
    Data("methylation 160x220", "wild", methylation(160, 220), "gaussian"),
    Data("methylation 500x120", "wild", methylation(500, 120, signal=0.8), "gaussian"),
)


def wild_cases(first: int) -> Iterator[Case]:
    """Every fit of the part, with seeds from ``first``; an empty expectation is left to the cells held out."""
    for data in AT_RATES:
        for seed, rate in enumerate(RATES, start=first):
            yield Case(data, f"rate {rate:g}", "", seed, train={"learning_rate": rate})
    for data in EMPTY:
        for seed in range(first, first + 2):
            yield Case(data, "default", "no_signal", seed)
    for data in SHAPES:
        for seed in range(first, first + 2):
            yield Case(data, "default", "", seed)
    for data in (*SHAPES[1:], *AT_RATES):
        for seed in range(first, first + 2):
            yield Case(data, "dear", "collapsed", seed, train={"objective": {"beta": 1e5}})
