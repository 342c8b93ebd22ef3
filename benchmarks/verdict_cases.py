"""Fits whose verdict is known from how they were made: data with or without structure, and what was done in training.

Every data generator and data set belongs to one part. Thresholds were set on ``tune``. ``report`` was for figures only
until its errors led to changes of rules; so were ``fresh`` (other simulators, genes and forms of the data) and ``last``
(yet others); ``final`` was made after those, and its first run is what the docs show. ``wild`` has cases of its own
(``verdict_wild.py``).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import anndata as ad
import lightning.pytorch as pl
import torch
from _common import batch_key
from verdict_data import (
    Make,
    bulk,
    curve,
    detected,
    factors,
    few,
    log_normalised,
    real,
    second_genes,
    shuffled,
    thinned,
    types,
    unequal_batches,
)

#: counts of bulk samples are thousands of times deeper, so is what a latent may earn before the KL shuts it
UMI_DEAR, BULK_DEAR = 1e4, 1e7
#: so few cells that a cheap KL makes them overfit instead
TINY = ("factors gaussian 80x300", "factors gaussian 40x200", "branches gaussian 90x400", "simulated bulk 60x400")


@dataclass(frozen=True)
class Data:
    """A data set by name, how to make it, and its half."""

    name: str
    half: str
    make: Make
    likelihood: str = "auto"
    signal: bool = True
    dear: float = UMI_DEAR
    labels: bool = True


@dataclass(frozen=True)
class Case:
    """One fit: data, setting, and the verdict that it must get; empty where cells that it never saw decide."""

    data: Data
    setting: str
    expected: str
    seed: int
    model: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)
    spoil: str = ""

    @property
    def key(self) -> str:
        """Name of the case."""
        return f"{self.data.name}/{self.setting}/{self.seed}"


TUNE_REAL = ("cbmc_top2000", "paul15", "pbmc_facs")
REPORT_REAL = (
    "kang_ctrl_8donors",
    "kang_ifnb",
    "pbmc_3chem",
    "mouse_bladder",
    "sc_mixology_5batch",
    "sc_mixology_6batch_hvg",
    "gbm_panobinostat",
    "rnamix_2protocols",
    "pancreas_3batch",
)

FRESH_REAL = (
    "kang_ctrl_8donors",
    "kang_ifnb",
    "pbmc_3chem",
    "mouse_bladder",
    "sc_mixology_5batch",
    "rnamix_2protocols",
    "pancreas_3batch",
)
LAST_THIRD = ("pancreas_3batch", "pbmc_3chem", "mouse_bladder", "sc_mixology_5batch", "rnamix_2protocols")
LAST_THINNED = ("kang_ctrl_8donors", "sc_mixology_6batch_hvg", "gbm_panobinostat", "pancreas_3batch")
LAST_LOG = ("sc_mixology_5batch", "kang_ifnb")
FRESH_LOG = ("kang_ctrl_8donors", "pbmc_3chem", "mouse_bladder", "sc_mixology_6batch_hvg", "gbm_panobinostat")
FRESH_DETECTED = ("pbmc_3chem", "sc_mixology_5batch")

FINAL_ZINB = ("pbmc_3chem", "mouse_bladder", "sc_mixology_5batch", "kang_ctrl_8donors")
FINAL_POISSON = ("kang_ifnb", "mouse_bladder")
FINAL_LOG = ("bulk_tissues_gtex_tcga", "bulk_covid_series")

SIGNAL: tuple[Data, ...] = (
    *(Data(f"{name}, zinb", "final", real(name), "zinb") for name in FINAL_ZINB),
    *(Data(f"{name}, poisson", "final", real(name), "poisson") for name in FINAL_POISSON),
    *(Data(f"{name}, log", "final", log_normalised(real(name)), "gaussian", dear=BULK_DEAR) for name in FINAL_LOG),
    Data("pbmc_3chem, second genes, log", "final", log_normalised(second_genes("pbmc_3chem")), "gaussian"),
    Data(
        "kang_ctrl_8donors, log, thinned", "final", log_normalised(thinned(real("kang_ctrl_8donors"), 0.6)), "gaussian"
    ),
    Data("kang_ctrl_8donors, detected", "final", detected(real("kang_ctrl_8donors"))),
    Data("rnamix_2protocols, detected", "final", detected(real("rnamix_2protocols"))),
    Data("mouse_bladder, thinned", "final", thinned(real("mouse_bladder"), 0.6)),
    Data("pbmc_3chem, thinned", "final", thinned(real("pbmc_3chem"), 0.6)),
    Data("types 1200x250, 3 batches", "final", types(1200, 250, n_types=9, n_batches=3)),
    Data("types 450x500", "final", types(450, 500, n_types=6, library=1200.0)),
    Data("types 5000x220", "final", types(5000, 220, n_types=12, library=900.0), labels=False),
    Data("circle gaussian 250x300", "final", curve(250, 300, shape="circle", noise="gaussian")),
    Data("circle nb 600x400", "final", curve(600, 400, shape="circle", depth=2000.0), labels=False),
    Data("branches nb 1500x400", "final", curve(1500, 400, shape="branches")),
    Data("branches poisson 600x600", "final", curve(600, 600, shape="branches", noise="poisson"), "poisson"),
    Data("factors zinb 900x300", "final", factors(900, 300, noise="zinb", rank=2), "zinb"),
    Data("factors gaussian 700x150, rank 6", "final", factors(700, 150, rank=6, noise="gaussian", signal=1.5)),
    Data("factors bernoulli 2500x200", "final", factors(2500, 200, noise="bernoulli", signal=1.8)),
    Data("simulated bulk 100x500", "final", bulk(100, 500)),
    Data("simulated bulk 300x300", "final", bulk(300, 300)),
    *(Data(name, "tune", real(name)) for name in TUNE_REAL),
    Data("bulk_brca_pam50", "tune", real("bulk_brca_pam50"), dear=BULK_DEAR),
    Data("bulk_immune_sorted", "tune", real("bulk_immune_sorted"), dear=BULK_DEAR),
    Data("types 600x200", "tune", types(600, 200)),
    Data("types 4000x300", "tune", types(4000, 300, n_types=8, library=600.0)),
    Data("factors nb 800x300", "tune", factors(800, 300)),
    Data("factors gaussian 300x200", "tune", factors(300, 200, noise="gaussian")),
    Data("factors bernoulli 1000x300", "tune", factors(1000, 300, noise="bernoulli", signal=1.5)),
    Data("simulated bulk 120x500", "tune", bulk(120, 500)),
    *(Data(name, "report", real(name)) for name in REPORT_REAL),
    *(
        Data(name, "report", real(name), dear=BULK_DEAR)
        for name in ("bulk_tissues_gtex_tcga", "bulk_covid_series", "bulk_signature_3batch_log")
    ),
    Data("types 300x400, 3 batches", "report", types(300, 400, n_types=3, n_batches=3)),
    Data("types 1500x150", "report", types(1500, 150, n_types=6, library=800.0)),
    Data("types 20000x200", "report", types(20000, 200, n_types=10, library=500.0), labels=False),
    Data("types 1000x300, weak", "report", types(1000, 300, signal=0.5)),
    Data("types 2000x1000, shallow", "report", types(2000, 1000, n_types=5, library=400.0), labels=False),
    Data("factors nb 1200x400, rank 6", "report", factors(1200, 400, rank=6)),
    Data("factors nb 400x200, rank 2", "report", factors(400, 200, rank=2), labels=False),
    Data("factors poisson 1500x250", "report", factors(1500, 250, noise="poisson"), "poisson"),
    Data("factors zinb 1500x250", "report", factors(1500, 250, noise="zinb"), "zinb"),
    Data("factors gaussian 1000x300", "report", factors(1000, 300, noise="gaussian")),
    Data("factors gaussian 80x300", "report", factors(80, 300, rank=2, noise="gaussian", signal=2.0)),
    Data("factors gaussian 40x200", "report", factors(40, 200, rank=1, noise="gaussian", signal=3.0), labels=False),
    Data("factors t 600x200", "report", factors(600, 200, noise="t", signal=1.5)),
    Data("factors bernoulli 1500x400", "report", factors(1500, 400, noise="bernoulli", signal=2.0)),
    Data("simulated bulk 80x800", "report", bulk(80, 800)),
    *(Data(f"{name}, third genes", "last", second_genes(name, skip=500)) for name in LAST_THIRD),
    *(Data(f"{name}, thinned", "last", thinned(real(name), 0.4)) for name in LAST_THINNED),
    *(Data(f"{name}, second genes, log", "last", log_normalised(second_genes(name)), "gaussian") for name in LAST_LOG),
    *(Data(f"{name}, detected", "last", detected(real(name))) for name in ("kang_ifnb", "mouse_bladder")),
    Data("bulk_tissues, third genes", "last", second_genes("bulk_tissues_gtex_tcga", skip=3000), dear=BULK_DEAR),
    Data("branches nb 500x500", "last", curve(500, 500, shape="branches", depth=2500.0)),
    Data("branches poisson 8000x120", "last", curve(8000, 120, shape="branches", noise="poisson", depth=500.0)),
    Data("circle nb 2500x180", "last", curve(2500, 180, shape="circle", depth=800.0), labels=False),
    Data("circle poisson 700x300", "last", curve(700, 300, shape="circle", noise="poisson"), "poisson"),
    Data("branches gaussian 400x250", "last", curve(400, 250, shape="branches", noise="gaussian"), labels=False),
    Data("types 2500x250, 4 batches", "last", types(2500, 250, n_types=7, n_batches=4, library=700.0)),
    Data("types zinb fit 700x300", "last", types(700, 300, n_types=5), "zinb"),
    Data("factors bernoulli 700x500", "last", factors(700, 500, noise="bernoulli", signal=1.5, rank=4)),
    Data("factors t 300x350", "last", factors(300, 350, noise="t", signal=1.5, rank=5)),
    Data("simulated bulk 150x1200", "last", bulk(150, 1200)),
    Data("types 350x200", "last", types(350, 200, n_types=4)),
    Data("factors nb 900x250, rank 5", "last", factors(900, 250, rank=5)),
    *(Data(f"{name}, second genes", "fresh", second_genes(name)) for name in FRESH_REAL),
    *(
        Data(f"{name}, second genes", "fresh", second_genes(name), dear=BULK_DEAR)
        for name in ("bulk_tissues_gtex_tcga", "bulk_covid_series")
    ),
    *(Data(f"{name}, log", "fresh", log_normalised(real(name)), "gaussian") for name in FRESH_LOG),
    *(Data(f"{name}, detected", "fresh", detected(second_genes(name))) for name in FRESH_DETECTED),
    Data("branches nb 800x300", "fresh", curve(800, 300, shape="branches")),
    Data("branches nb 12000x150", "fresh", curve(12000, 150, shape="branches", depth=600.0), labels=False),
    Data("branches poisson 2000x200", "fresh", curve(2000, 200, shape="branches", noise="poisson"), "poisson"),
    Data("branches zinb fit 1000x250", "fresh", curve(1000, 250, shape="branches"), "zinb"),
    Data("circle nb 1000x250", "fresh", curve(1000, 250, shape="circle")),
    Data("circle gaussian 500x150", "fresh", curve(500, 150, shape="circle", noise="gaussian")),
    Data("branches gaussian 90x400", "fresh", curve(90, 400, shape="branches", noise="gaussian", signal=2.0)),
    Data("types 900x350, 15 types", "fresh", types(900, 350, n_types=15)),
    Data("factors gaussian 150x250, rank 4", "fresh", factors(150, 250, rank=4, noise="gaussian", signal=1.5)),
    Data("simulated bulk 60x400", "fresh", bulk(60, 400)),
    Data("simulated bulk 200x600", "fresh", bulk(200, 600)),
)

NOISE: tuple[Data, ...] = (
    Data("no types 500x200", "tune", types(500, 200, signal=0.0), signal=False),
    Data("shuffled cbmc_top2000", "tune", shuffled(real("cbmc_top2000")), signal=False),
    Data("shuffled brca", "tune", shuffled(few(real("bulk_brca_pam50"), 251)), signal=False),
    Data("no factors gaussian 200x150", "tune", factors(200, 150, noise="gaussian", signal=0.0), signal=False),
    Data("no types 60x300", "report", types(60, 300, signal=0.0, n_batches=1), signal=False),
    Data("no types 3000x300", "report", types(3000, 300, signal=0.0, n_batches=4), signal=False),
    Data("no types 10000x150", "report", types(10000, 150, signal=0.0), signal=False),
    Data("shuffled kang_ifnb", "report", shuffled(real("kang_ifnb")), signal=False),
    Data("shuffled mouse_bladder", "report", shuffled(real("mouse_bladder")), signal=False),
    Data("shuffled rnamix", "report", shuffled(real("rnamix_2protocols")), signal=False),
    Data("shuffled signature", "report", shuffled(real("bulk_signature_3batch_log")), signal=False),
    Data("no factors gaussian 100x400", "report", factors(100, 400, noise="gaussian", signal=0.0), signal=False),
    Data("no factors t 500x200", "report", factors(500, 200, noise="t", signal=0.0), signal=False),
    Data("no factors bernoulli 800x200", "report", factors(800, 200, noise="bernoulli", signal=0.0), signal=False),
    *(
        Data(f"shuffled {name}, second genes", "fresh", shuffled(second_genes(name)), signal=False)
        for name in ("pbmc_3chem", "kang_ctrl_8donors", "sc_mixology_5batch", "bulk_tissues_gtex_tcga")
    ),
    Data(
        "shuffled mouse_bladder, log",
        "fresh",
        shuffled(log_normalised(real("mouse_bladder"))),
        "gaussian",
        signal=False,
    ),
    Data("shuffled pbmc_3chem, detected", "fresh", shuffled(detected(second_genes("pbmc_3chem"))), signal=False),
    *(
        Data(f"shuffled {name}, third genes", "last", shuffled(second_genes(name, skip=500)), signal=False)
        for name in ("kang_ifnb", "rnamix_2protocols", "mouse_bladder")
    ),
    Data("shuffled gbm_panobinostat", "last", shuffled(real("gbm_panobinostat")), signal=False),
    Data("shuffled pancreas_3batch, thinned", "last", shuffled(thinned(real("pancreas_3batch"), 0.4)), signal=False),
    Data(
        "shuffled kang_ifnb, second genes, log",
        "last",
        shuffled(log_normalised(second_genes("kang_ifnb"))),
        "gaussian",
        signal=False,
    ),
    Data("shuffled kang_ifnb, detected", "last", shuffled(detected(real("kang_ifnb"))), signal=False),
    *(
        Data(f"shuffled {name}, thinned", "final", shuffled(thinned(real(name), 0.6)), signal=False)
        for name in ("pbmc_3chem", "kang_ctrl_8donors", "rnamix_2protocols")
    ),
    Data("shuffled pbmc_3chem, zinb", "final", shuffled(real("pbmc_3chem")), "zinb", signal=False),
    Data("shuffled kang_ifnb, poisson", "final", shuffled(real("kang_ifnb")), "poisson", signal=False),
    Data(
        "shuffled bulk_tissues, log",
        "final",
        shuffled(log_normalised(real("bulk_tissues_gtex_tcga"))),
        "gaussian",
        signal=False,
    ),
    Data("shuffled rnamix_2protocols, detected", "final", shuffled(detected(real("rnamix_2protocols"))), signal=False),
    Data("one point nb 2000x150", "final", curve(2000, 150, shape="point", depth=500.0), signal=False),
    Data("one point gaussian 120x400", "final", curve(120, 400, shape="point", noise="gaussian"), signal=False),
    Data("unequal batches 600x150", "final", unequal_batches(600, 150), signal=False),
    Data("one point nb 600x500", "last", curve(600, 500, shape="point", depth=3000.0), signal=False),
    Data("one point gaussian 300x100", "last", curve(300, 100, shape="point", noise="gaussian"), signal=False),
    Data("unequal batches 80x600", "last", unequal_batches(80, 600), signal=False),
    Data("one point nb 1500x300", "fresh", curve(1500, 300, shape="point"), signal=False),
    Data("one point poisson 400x200", "fresh", curve(400, 200, shape="point", noise="poisson"), signal=False),
    Data("one point gaussian 50x500", "fresh", curve(50, 500, shape="point", noise="gaussian"), signal=False),
    Data("unequal batches 300x200", "fresh", unequal_batches(300, 200), signal=False),
)

#: of data with signal, few cells of which are memorised
SMALL: tuple[Data, ...] = (
    Data("few cbmc", "tune", few(real("cbmc_top2000"), 80)),
    Data("few types", "tune", few(types(600, 400, n_batches=1, library=1000.0), 60)),
    Data("few mouse_bladder", "report", few(real("mouse_bladder"), 80)),
    Data("few kang_ifnb", "report", few(real("kang_ifnb"), 100)),
    Data("few pbmc_3chem", "report", few(real("pbmc_3chem"), 60)),
    Data("few factors nb", "report", few(factors(800, 400), 50)),
    Data("few factors gaussian", "report", few(factors(800, 300, noise="gaussian", signal=0.7), 40)),
    Data("few kang_ctrl_8donors, thinned", "final", few(thinned(real("kang_ctrl_8donors"), 0.6), 80)),
    Data("few rnamix_2protocols, detected", "final", few(detected(real("rnamix_2protocols")), 60)),
    Data("few pbmc_3chem, second genes, zinb", "final", few(second_genes("pbmc_3chem"), 90), "zinb"),
    Data(
        "few branches of poisson",
        "final",
        few(curve(800, 350, shape="branches", noise="poisson", signal=0.4), 60),
        "poisson",
    ),
    Data("few factors gaussian, rank 5", "final", few(factors(900, 350, rank=5, noise="gaussian", signal=0.7), 50)),
    Data("few kang_ifnb, third genes", "last", few(second_genes("kang_ifnb", skip=500), 80)),
    Data("few pbmc_3chem, thinned", "last", few(thinned(real("pbmc_3chem"), 0.4), 70)),
    Data("few mouse_bladder, third genes", "last", few(second_genes("mouse_bladder", skip=500), 90)),
    Data("few types", "last", few(types(900, 500, n_batches=1, library=600.0), 50)),
    Data("few factors t", "last", few(factors(900, 250, noise="t", signal=0.7), 45)),
    Data("few kang_ctrl_8donors, second genes", "fresh", few(second_genes("kang_ctrl_8donors"), 90)),
    Data("few pbmc_3chem, second genes", "fresh", few(second_genes("pbmc_3chem"), 70)),
    Data("few mouse_bladder, log", "fresh", few(log_normalised(real("mouse_bladder")), 60), "gaussian"),
    Data("few branches", "fresh", few(curve(800, 300, shape="branches", signal=0.5), 50)),
    Data("few on a circle", "fresh", few(curve(800, 250, shape="circle", noise="gaussian", signal=0.5), 40)),
)


MEMORISING = {
    "max_epochs": 400,
    "early_stopping": False,
    "lr_schedule": "constant",
    "learning_rate": 3e-3,
    "weight_decay": 0.0,
}

#: A first report, on seeds from 0, showed faults of some rules (a signal that only the labels show, gaps of bounds in
#: place of gains). They were mended, so figures come from fits with other seeds.
FIRST_SEED = {"tune": 0, "report": 100, "fresh": 200, "last": 300, "final": 400, "wild": 800}


def cases(half: str, first: int | None = None) -> Iterator[Case]:
    """Every fit of a half, with seeds from ``first``, or from its own."""
    first = FIRST_SEED[half] if first is None else first
    for data in SIGNAL:
        if data.half != half:
            continue
        for seed in range(first, first + (2 if half == "tune" else 4)):
            width = {} if seed % 2 == 0 else {"n_latent": 20}
            yield Case(data, "default" if not width else "20 dimensions", "healthy", seed, width)
            yield from _collapsed(data, seed)
        brief = {"max_epochs": 1, "batch_size": 4096, "objective": {"schedule": "constant"}}
        yield Case(data, "one epoch of 4096 cells a step", "undertrained", first, train=brief)
        yield Case(data, "rate 1e-6", "undertrained", first + 1, train={"max_epochs": 30, "learning_rate": 1e-6})
        yield Case(data, "weights not finite", "diverged", first, train={"max_epochs": 5}, spoil="nan")
        yield Case(
            data,
            "rate 30, last weights",
            "diverged",
            first + 1,
            train={"max_epochs": 20, "learning_rate": 30.0, "lr_schedule": "constant", "early_stopping": False},
            spoil="last",
        )
        if data.dear == UMI_DEAR and data.name not in TINY:
            cheap = {"max_epochs": 150, "objective": {"beta": 1e-4}}
            free = {"max_epochs": 150, "objective": {"beta": 0.0}}
            yield Case(data, "beta 1e-4", "under_regularised", first, train=cheap)
            yield Case(data, "no KL", "under_regularised", first + 1, {"n_latent": 20}, free)
    for data in NOISE:
        if data.half == half:
            for seed in range(first, first + 2):
                yield Case(data, "default", "no_signal", seed)
            yield Case(data, "beta 100", "no_signal", first + 2, train={"objective": {"beta": 100.0}})
    for data in SMALL:
        if data.half == half:
            for seed in range(first, first + 3):
                yield Case(
                    data,
                    "wide, 400 epochs, last weights",
                    "overfit",
                    seed,
                    {"n_hidden": 256, "dropout_rate": 0.0},
                    MEMORISING,
                    "last",
                )


def _collapsed(data: Data, seed: int) -> Iterator[Case]:
    settings: dict[str, dict[str, Any]] = {
        "dear": {"beta": data.dear},
        "dear from the start, 20 dimensions": {"beta": data.dear, "schedule": "constant"},
        "dear, cyclical": {"beta": data.dear, "schedule": "cyclical"},
        "means": {"beta": data.dear, "reduction": "mean"},
    }
    name = list(settings)[seed % len(settings)]
    width = {"n_latent": 20} if seed % 2 else {}
    yield Case(data, name, "collapsed", seed, width, {"objective": settings[name]})


class LastWeights(pl.Callback):
    """Remember the weights of the last epoch, as programs without a validation monitor keep them."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Take a copy."""
        self.state = {name: value.detach().clone() for name, value in pl_module.module.state_dict().items()}


def fit(case: Case, adata: ad.AnnData | None = None):
    """Train as the case says, on its cells or on those of them that are given; return the model."""
    import omicvae as ov

    adata = case.data.make(case.seed) if adata is None else adata
    labels = "label" if case.data.labels and "label" in adata.obs and adata.obs["label"].nunique() > 1 else None
    batch = batch_key(adata) if "batch" in adata.obs else None
    ov.CVAE.setup_anndata(adata, batch_key=batch, labels_key=labels)
    model = ov.CVAE(adata, case.data.likelihood, seed=case.seed, **case.model)
    last = LastWeights()
    arguments = {"callbacks": [last]} if case.spoil == "last" else {}
    model.train(progress_bar=False, on_bad_steps="stop", **case.train, **arguments)
    if case.spoil == "last":
        model.module.load_state_dict(last.state)
    if case.spoil == "nan":
        with torch.no_grad():
            next(model.module.parameters())[0] = float("nan")
    return model
