"""Fits of other programs whose verdict is known from how they were made.

``tune``: rules were looked at on these. ``report``: other data sets and seeds, for figures.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from _common import load
from foreign_models import dense
from verdict_cases import Data
from verdict_data import Make, curve, detected, factors, few, log_normalised, shuffled, types
from verdict_wild import peaks, pooled, replicates

CELLS, GENES = 520, 160
#: of peaks and detections, which tell less each
PEAKS = 300
FIRST_SEED = {"tune": 0, "report": 100}


@dataclass(frozen=True)
class Case:
    """One fit: data, program, what was set, and what that makes of it."""

    data: Data
    family: str
    setting: str
    made: str
    seed: int
    model: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Name of the case."""
        return f"{self.data.name}/{self.family}/{self.setting}/{self.seed}"

    @property
    def held_out(self) -> float:
        """Share of the cells that the fit does not see."""
        return 0.6 if self.data.name.startswith(("few", "80 of")) else 0.25

    @property
    def sibling(self) -> str:
        """Name of the run of default length on the same cells."""
        return f"{self.data.name}/{self.family}/default/{self.seed}"


def telling(make: Make, genes: int = GENES, *, skip: int = 0) -> Make:
    """Keep so many genes whose log counts vary most, after ``skip`` of them, and at most 520 cells."""

    def choose(seed: int) -> ad.AnnData:
        adata = make(seed)
        order = np.argsort(-np.log1p(dense(adata)).var(0), kind="stable")
        chosen = np.random.default_rng([seed, 5]).permutation(adata.n_obs)[:CELLS]
        adata = adata[np.sort(chosen), np.sort(order[skip : skip + genes])].copy()
        return adata[dense(adata).sum(1) > 0].copy()

    return choose


def whole(name: str) -> Make:
    """Read all of a shared data set, or of the counts that ship inside scanpy."""

    def make(seed: int) -> ad.AnnData:
        if name != "pbmc68k":
            return load(name, None)
        import omicvae as ov

        adata = ov.datasets.pbmc68k_counts()
        adata.obs["label"], adata.obs["batch"] = adata.obs["bulk_labels"], pd.Categorical(["one"] * adata.n_obs)
        return adata

    return make


def standardised(make: Make) -> Make:
    """Log-normalise and give every gene variance 1, values beyond 10 cut off: what notebooks feed a squared error."""

    def change(seed: int) -> ad.AnnData:
        adata = log_normalised(make)(seed)
        sd_G = adata.X.std(0)
        adata = adata[:, sd_G > 0].copy()
        adata.X = np.clip((adata.X - adata.X.mean(0)) / sd_G[sd_G > 0], -10, 10).astype(np.float32)
        return adata

    return change


def _real(name: str, **settings: int) -> Make:
    return telling(whole(name), **settings)


def _few(name: str) -> Make:
    return few(_real(name, genes=300, skip=60), 200)


#: kind of values → its data sets
DATA: dict[str, tuple[Data, ...]] = {
    "counts": (
        Data("cbmc_top2000", "tune", _real("cbmc_top2000")),
        Data("types 500x200", "tune", types(500, 200, n_types=5, library=800.0)),
        Data("pbmc68k", "report", _real("pbmc68k")),
        Data("kang_ifnb, 2 batches", "report", _real("kang_ifnb")),
        Data("branches nb 520x160", "report", curve(520, 160, shape="branches")),
        Data("sc_mixology, 6 batches", "report", _real("sc_mixology_6batch_hvg")),
        Data("types 520x180, 3 batches", "report", types(520, 180, n_types=7, n_batches=3, library=1200.0)),
        Data("pbmc_3chem, pooled", "report", pooled(_real("pbmc_3chem"))),
        Data("mouse_bladder", "report", _real("mouse_bladder")),
    ),
    "peaks": (
        Data("peaks 600x300", "tune", peaks(600, 300, mean=0.5, log_theta=0.0)),
        Data("peaks 560x300", "report", peaks(560, 300, mean=0.4, log_theta=1.0, signal=3.0)),
        Data("kang_ctrl, detected", "report", pooled(detected(_real("kang_ctrl_8donors", genes=PEAKS)))),
        Data("peaks 480x240", "report", peaks(480, 240, mean=0.7, log_theta=0.5, signal=3.0)),
        Data("pbmc_3chem, detected", "report", pooled(detected(_real("pbmc_3chem", genes=PEAKS, skip=100)))),
    ),
    "values": (
        Data("cbmc, scaled", "tune", standardised(_real("cbmc_top2000"))),
        Data("factors 500x150", "tune", pooled(factors(500, 150, noise="gaussian"))),
        Data("pbmc68k, scaled", "report", standardised(_real("pbmc68k"))),
        Data("mouse_bladder, scaled", "report", standardised(_real("mouse_bladder"))),
        Data("kang_ifnb, scaled", "report", pooled(standardised(_real("kang_ifnb")))),
        Data("pbmc_3chem, log", "report", pooled(log_normalised(_real("pbmc_3chem")))),
        Data("circle gaussian 520x160", "report", curve(520, 160, shape="circle", noise="gaussian")),
        Data("mixology, scaled", "report", pooled(standardised(_real("sc_mixology_6batch_hvg")))),
    ),
    # two hundred cells, of which eighty are fitted and all others held out
    "few counts": (
        Data("few cbmc", "tune", _few("cbmc_top2000")),
        Data("80 of pbmc68k", "report", _few("pbmc68k")),
        Data("80 of kang_ifnb", "report", _few("kang_ifnb")),
        Data("80 of branches", "report", few(curve(800, 300, shape="branches", signal=0.5), 200)),
        Data("80 of mouse_bladder", "report", _few("mouse_bladder")),
    ),
    "few values": (
        Data("few cbmc, scaled", "tune", few(standardised(_real("cbmc_top2000", genes=300, skip=60)), 200)),
        Data("80 of kang_ifnb, scaled", "report", few(standardised(_real("kang_ifnb", genes=300, skip=60)), 200)),
        Data(
            "80 of mouse_bladder, scaled", "report", few(standardised(_real("mouse_bladder", genes=300, skip=60)), 200)
        ),
        Data("80 of factors", "report", few(factors(800, 300, noise="gaussian", signal=0.5), 200)),
    ),
    "no counts": (
        Data("shuffled cbmc", "tune", shuffled(_real("cbmc_top2000")), signal=False),
        Data("shuffled mouse_bladder", "report", shuffled(_real("mouse_bladder")), signal=False),
        Data("one point nb 500x160", "report", curve(500, 160, shape="point"), signal=False),
        Data("shuffled kang_ifnb", "report", shuffled(pooled(_real("kang_ifnb"))), signal=False),
        Data("replicates nb 450x150", "report", replicates(450, 150, mean=5.0, noise="nb", depth_sd=0.3), signal=False),
    ),
    "no peaks": (
        Data("peaks without types 600x300", "tune", peaks(600, 300, mean=0.5, signal=0.0), signal=False),
        Data("peaks without types 560x300", "report", peaks(560, 300, mean=0.4, signal=0.0), signal=False),
        Data(
            "shuffled pbmc_3chem, detected",
            "report",
            shuffled(pooled(detected(_real("pbmc_3chem", genes=PEAKS, skip=100)))),
            signal=False,
        ),
    ),
    "no values": (
        Data("no factors 400x150", "tune", pooled(factors(400, 150, noise="gaussian", signal=0.0)), signal=False),
        Data("no factors 450x180", "report", pooled(factors(450, 180, noise="gaussian", signal=0.0)), signal=False),
        Data("shuffled pbmc68k, scaled", "report", shuffled(standardised(_real("pbmc68k"))), signal=False),
        Data("one point gaussian 400x160", "report", curve(400, 160, shape="point", noise="gaussian"), signal=False),
    ),
}

#: name, arguments of the model, arguments of its training
Setting = tuple[str, dict[str, Any], dict[str, Any]]
SMALL = {"n_hidden": 64}


def _scvi(epochs: int, *, warmup: int = 12, weight: float = 1.0, lr: float = 8e-3, **plan: Any) -> dict[str, Any]:
    plan |= {"n_epochs_kl_warmup": warmup, "max_kl_weight": weight, "lr": lr}
    return {"max_epochs": epochs, "train_size": 0.8, "batch_size": 48, "plan_kwargs": plan}


def _watched(settings: dict[str, Any]) -> dict[str, Any]:
    """With a validation curve, which scvi-tools does not make by itself."""
    return {**settings, "check_val_every_n_epoch": 1}


def _peakvi(epochs: int, *, warmup: int = 15, weight: float = 128.0, lr: float = 6e-3) -> dict[str, Any]:
    # PEAKVI adds the KL of each of 128 cells to the reconstruction of all of them: a weight of 1 counts for 1/128
    return _scvi(epochs) | {
        "batch_size": 128,
        "lr": lr,
        "n_epochs_kl_warmup": warmup,
        "plan_kwargs": {"max_kl_weight": weight},
    }


def _of_scvi(lr: float, epochs: int) -> dict[str, list[Setting]]:
    wide = {"n_hidden": 256, "dropout_rate": 0.0}
    return {
        "healthy": [
            ("default", SMALL, _watched(_scvi(epochs, lr=lr))),
            ("20 dimensions", {**SMALL, "n_latent": 20}, _scvi(epochs, lr=lr)),
        ],
        "collapsed": [
            ("weight 1e4", SMALL, _scvi(30, weight=1e4)),
            ("weight 1e3 from the start", {**SMALL, "n_latent": 20}, _watched(_scvi(30, weight=1e3, warmup=0))),
            ("weight 100", SMALL, _scvi(40, weight=100.0)),
        ],
        "undertrained": [
            ("2 epochs", SMALL, _watched(_scvi(2, warmup=0, lr=1e-3))),
            ("rate 1e-6", SMALL, _scvi(15, warmup=5, lr=1e-6)),
        ],
        "under_regularised": [("no KL", SMALL, _scvi(80, weight=0.0))],
        "overfit": [
            ("memorise", wide, _watched(_scvi(200, weight_decay=0.0))),
            ("memorise, 20 dimensions", {**wide, "n_latent": 20}, _scvi(200, weight_decay=0.0)),
        ],
        "no_signal": [("default", SMALL, _scvi(epochs, lr=lr)), ("weight 100", SMALL, _scvi(30, weight=100.0))],
    }


def _of_torch(beta: float) -> dict[str, list[Setting]]:
    last, means = {"patience": None}, {"recon": "mean", "kl": "mean", "beta": beta}
    return {
        "healthy": [("default", {}, {"max_epochs": 200})],
        "collapsed": [
            ("mean, mean", {}, {"max_epochs": 70, **means}),
            ("mean, sum", {"n_latent": 20}, {"max_epochs": 70, "recon": "mean", "beta": 2.0, "warmup": 0}),
            ("mean, mean, last weights", {"n_latent": 6}, {"max_epochs": 60, **means, **last}),
        ],
        "undertrained": [
            ("3 epochs", {}, {"max_epochs": 3, "warmup": 0, **last}),
            ("rate 1e-6", {}, {"max_epochs": 20, "warmup": 3, "lr": 1e-6, **last}),
        ],
        "under_regularised": [("no KL", {}, {"max_epochs": 120, "beta": 0.0, **last})],
        "overfit": [
            ("memorise", {"n_hidden": 256, "dropout": 0.0}, {"max_epochs": 400, **last}),
            ("memorise, 20 dimensions", {"n_latent": 20, "dropout": 0.0}, {"max_epochs": 500, **last}),
        ],
        "no_signal": [
            ("default", {}, {"max_epochs": 200}),
            ("mean, sum", {}, {"max_epochs": 60, "recon": "mean", "beta": 2.0}),
        ],
    }


HALF_LABELLED = {**SMALL, "share_labelled": 0.5}

#: family → made to be → its settings
SETTINGS: dict[str, dict[str, list[Setting]]] = {
    "SCVI": _of_scvi(8e-3, 120),
    "LinearSCVI": _of_scvi(1.5e-2, 90),
    "SCANVI": {  # its loss weighs the KL of z₁ by 1 whatever the plan says, so no weight makes it collapse or frees it
        "healthy": [("default", HALF_LABELLED, _watched(_scvi(100)))],
        "undertrained": [
            ("2 epochs", HALF_LABELLED, _scvi(2, warmup=0, lr=1e-3)),
            ("rate 1e-6", HALF_LABELLED, _scvi(15, warmup=5, lr=1e-6)),
        ],
        "overfit": [
            ("memorise", {"dropout_rate": 0.0}, _scvi(150, weight_decay=0.0)),
            ("memorise, 20 dimensions", {"n_latent": 20, "dropout_rate": 0.0}, _scvi(150, weight_decay=0.0)),
        ],
    },
    "PEAKVI": {
        "healthy": [("default", {}, _peakvi(90))],
        "collapsed": [
            ("weight 1e6", {}, _peakvi(45, weight=1e6)),
            ("weight 1e5 from the start", {}, _peakvi(45, weight=1e5, warmup=0)),
        ],
        "undertrained": [("2 epochs", {}, _peakvi(2, warmup=0, lr=1e-3))],
        "under_regularised": [("no KL", {}, _peakvi(100, weight=0.0))],
        "no_signal": [("default", {}, _peakvi(70))],
    },
    "torch NB": _of_torch(6.0),
    "torch MSE": _of_torch(10.0),
}

#: family → its data with signal, of few cells, without signal; and of how many sets of each
PLAN: dict[str, dict[str, tuple[str, int]]] = {
    "SCVI": {"signal": ("counts", 6), "few": ("few counts", 4), "none": ("no counts", 3)},
    "LinearSCVI": {"signal": ("counts", 3), "few": ("few counts", 1), "none": ("no counts", 1)},
    "SCANVI": {"signal": ("counts", 5), "few": ("few counts", 2), "none": ("no counts", 0)},
    "PEAKVI": {"signal": ("peaks", 4), "few": ("few counts", 0), "none": ("no peaks", 2)},
    "torch NB": {"signal": ("counts", 7), "few": ("few counts", 4), "none": ("no counts", 4)},
    "torch MSE": {"signal": ("values", 6), "few": ("few values", 3), "none": ("no values", 3)},
}
#: how many fits of a kind a data set gives; settings take turns
FITS = {"healthy": 2, "collapsed": 2, "undertrained": 1, "under_regularised": 1, "overfit": 2, "no_signal": 2}
ANEW = ("healthy", "overfit", "no_signal")
WHERE = {"overfit": "few", "no_signal": "none"}


def cases(part: str, family: str) -> Iterator[Case]:
    """Every fit of a program in a part; the run of default length first, on the same cells as the others."""
    first = FIRST_SEED[part]
    for made, settings in SETTINGS[family].items():
        kind, n_sets = PLAN[family][WHERE.get(made, "signal")]
        sets = [data for data in DATA[kind] if data.half == part][:n_sets]
        for turn, data in enumerate(sets):
            for nth in range(min(FITS[made], len(settings)) if made in ("no_signal", "overfit") else FITS[made]):
                # a finished run of the same cells is what others are compared with, so those have its seed
                again, at = divmod(nth, len(settings)) if made in ANEW else (0, (turn + nth) % len(settings))
                name, model, train = settings[at]
                yield Case(data, family, name, made, first + again, model, train)
