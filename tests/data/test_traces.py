"""What has been made of counts is recognised, and what has not been is left alone."""

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp

from omicvae._core import DataError
from omicvae.data import choose_likelihood
from omicvae.data.traces import Traces
from omicvae.datasets import pbmc68k_counts

from .test_summary import summarise

rng = np.random.default_rng(0)
SHAPE = (200, 300)


def few_counts():
    """Counts of 200 cells whose depths differ, mostly zeros."""
    mean_G = rng.gamma(0.4, 1.5, size=SHAPE[1])
    return rng.poisson(mean_G * rng.lognormal(0, 0.5, (SHAPE[0], 1))).astype(float)


def bulk_counts():
    own = rng.lognormal(0, 0.5, (40, SHAPE[1])) * rng.lognormal(0, 0.5, (40, 1))
    return rng.poisson(rng.lognormal(3, 2.5, size=SHAPE[1]) * own).astype(float)


def to_total(x, total=1e4):
    return x / x.sum(1, keepdims=True) * total


def without_soup(x, share=0.1):
    """Subtract the expected ambient counts, as SoupX does."""
    return np.maximum(x - share * x.sum(1, keepdims=True) * x.sum(0) / x.sum(), 0)


def decontaminated(x, share=0.1):
    """Multiply counts by the probability that they are the cell's own, as decontX does."""
    return x * (1 - rng.beta(2, 2 / share - 2, x.shape))


def expected(x):
    """Some counts are shares of reads that map to several genes."""
    return np.where(rng.random(x.shape) < 0.4, x * rng.random(x.shape), x)


def panel(mean=30):
    """Counts of few genes, 30 or so a cell."""
    counts = rng.poisson(rng.dirichlet(np.full(SHAPE[1], 0.3)) * mean * rng.lognormal(0, 0.4, (600, 1)))
    return counts[counts.any(1)].astype(float)


def with_few_fractions(x):
    x[rng.integers(0, len(x), 20), rng.integers(0, SHAPE[1], 20)] += 0.5
    return x


def per_length():
    """Counts by the lengths of genes, which leave no traces."""
    return few_counts() / rng.lognormal(0, 1, SHAPE[1])


LOOKS = {
    "CP10k": ("normalised", lambda: to_total(few_counts())),
    "CPM of bulk": ("normalised", lambda: to_total(bulk_counts(), 1e6)),
    "CP10k of a small panel": ("normalised", lambda: to_total(panel())),
    "CP10k after another batch": ("normalised", lambda: np.vstack([per_length(), to_total(panel(300))])),
    "proportions": ("normalised", lambda: to_total(few_counts(), 1.0)),
    "chosen genes of CP10k": ("normalised", lambda: to_total(few_counts())[:, ::3]),
    "log1p": ("log1p", lambda: np.log1p(to_total(few_counts()))),
    "log2": ("log2", lambda: np.log2(1 + to_total(few_counts()))),
    "chosen genes of log2": ("log2", lambda: np.log2(1 + to_total(few_counts()))[:, ::3]),
    "log10": ("log10", lambda: np.log10(1 + to_total(few_counts()))),
    "log2 of raw counts": ("log2", lambda: np.log2(1 + few_counts())),
    "SoupX": ("corrected", lambda: without_soup(few_counts())),
    "much ambient RNA": ("corrected", lambda: without_soup(few_counts(), 0.3)),
    "decontX": ("corrected", lambda: decontaminated(few_counts())),
    "expected counts": ("corrected", lambda: expected(few_counts())),
    "expected counts of bulk": ("corrected", lambda: expected(bulk_counts())),
    "expected counts, most of them large": (
        "corrected",
        lambda: expected(rng.poisson(rng.lognormal(5, 1, SHAPE)) * (rng.random(SHAPE) < 0.9)),
    ),
    "few corrected": ("corrected", lambda: with_few_fractions(few_counts())),
}
betas = rng.beta(0.3, 0.3, SHAPE)
intensities = rng.normal(25, 2, SHAPE)
NOTHING = {
    "counts": few_counts,
    "bulk counts": bulk_counts,
    "TPM": lambda: to_total(bulk_counts() / rng.lognormal(0, 1, SHAPE[1]), 1e6),
    "TPM of cells": lambda: to_total(few_counts() / rng.lognormal(0, 1, SHAPE[1]), 1e6),
    "log2 TPM": lambda: np.log2(1 + to_total(bulk_counts() / rng.lognormal(0, 1, SHAPE[1]), 1e6)),
    "log2 of bulk counts": lambda: np.log2(1 + bulk_counts()),
    "log2 CPM of bulk": lambda: np.log2(1 + to_total(bulk_counts(), 1e6)),
    "log2 CPM with a prior count": lambda: np.log2(0.5 + to_total(bulk_counts(), 1e6)),
    "roots of counts": lambda: np.sqrt(few_counts()),
    "methylation": lambda: betas,
    "methylation, rounded": lambda: betas.round(2),
    "methylation, three digits": lambda: betas.round(3),
    "methylation, low coverage": lambda: rng.binomial(2, betas) / 2,
    "methylation, reads": lambda: rng.binomial(n := rng.integers(1, 30, SHAPE), betas) / n,
    "protein intensities": lambda: intensities,
    "protein intensities with gaps": lambda: np.where(rng.random(SHAPE) < 0.3, 0, intensities),
    "microarray": lambda: rng.normal(8, 2, SHAPE).clip(2),
    "microarray, rounded": lambda: rng.normal(8, 2, SHAPE).clip(2).round(1),
    "binary peaks": lambda: (few_counts() > 0).astype(float),
    "mutations and expression": lambda: np.hstack([rng.random((200, 100)) < 0.3, rng.normal(7, 2, (200, 200)).clip(0)]),
    "shares of many": lambda: rng.dirichlet(np.full(3000, 0.3), 100).round(6),
    "small numbers, rounded": lambda: rng.exponential(0.05, SHAPE).round(3),
    "shares": lambda: rng.dirichlet(np.full(30, 0.3), 100),
    "skewed": lambda: rng.exponential(3, SHAPE) * (rng.random(SHAPE) < 0.2),
    "centred": lambda: intensities - intensities.mean(0),
}


@pytest.mark.parametrize("convert", [sp.csr_matrix, lambda x: x.astype(np.float32)], ids=["sparse", "float32"])
@pytest.mark.parametrize("name", LOOKS)
def test_traces_of_counts_are_found(name, convert):
    look, make = LOOKS[name]
    summary = summarise(convert(make()))
    assert summary.look == look
    with pytest.raises(DataError, match=r"looks .*such as .*\(cell .*does not guess.*likelihood='gaussian'"):
        choose_likelihood(summary)


@pytest.mark.parametrize("name", NOTHING)
def test_where_there_are_none_none_are_found(name):
    summary = summarise(NOTHING[name]())
    assert summary.look is None
    choose_likelihood(summary)


def test_small_chunks_make_no_difference(monkeypatch):
    made = {name: make() for name, (_, make) in LOOKS.items()}
    monkeypatch.setattr("omicvae.data.matrix.CHUNK_ENTRIES", 900)
    assert {name: summarise(x).look for name, x in made.items()} == {name: look for name, (look, _) in LOOKS.items()}


def test_real_cells():
    counts = np.asarray(pbmc68k_counts().X.todense(), dtype=float)
    shown = {
        "normalised": to_total(counts),
        "log2": np.log2(1 + to_total(counts)),
        "corrected": without_soup(counts),
        None: counts,
    }
    assert {look: summarise(x).look for look, x in shown.items()} == {look: look for look in shown}


def standardised(x):
    return ((x - x.mean(0)) / np.maximum(x.std(0), 1e-9)).clip(None, 10)


def test_standardised_values_are_an_error_where_there_are_counts(caplog):
    counts = few_counts()
    adata = ad.AnnData(standardised(np.log1p(to_total(counts))))
    summary = summarise(adata.X)
    assert summary.look == "scaled"
    assert choose_likelihood(summary, adata) == "gaussian"
    adata.layers["other"] = adata.X
    assert choose_likelihood(summary, adata) == "gaussian"
    adata.layers["counts"] = sp.csr_matrix(counts)
    with pytest.raises(DataError, match=r"standardised .*Counts are there: use CVAE.setup_anndata\(adata, layer='cou"):
        choose_likelihood(summary, adata)
    del adata.layers["counts"]
    adata.raw = ad.AnnData(counts)
    with pytest.raises(DataError, match=r"use adata.raw.to_adata\(\)"):
        choose_likelihood(summary, adata)
    assert not caplog.records


def test_some_of_the_standardised_cells_are_standardised_values():
    assert summarise(standardised(np.log1p(to_total(few_counts())))[:90]).look == "scaled"


def test_a_wide_cell_is_not_kept_whole():
    traces = Traces(4)
    traces.update(sp.csr_matrix(rng.beta(0.3, 0.3, (4, 20_000))))
    assert sum(map(len, traces._small_values)) <= 4 * 5000


def test_counts_beside_other_real_values_are_said(caplog):
    counts = bulk_counts()
    adata = ad.AnnData(np.log2(1 + counts), layers={"counts": counts})
    assert choose_likelihood(summarise(adata.X), adata) == "gaussian"
    assert "Counts are there: use CVAE.setup_anndata(adata, layer='counts')." in caplog.text
    swapped = ad.AnnData(counts, layers={"log": adata.X})
    with pytest.raises(DataError, match=r"use CVAE.setup_anndata\(adata, layer=None\)"):
        choose_likelihood(summarise(to_total(counts)), swapped, "log")


def test_each_look_has_its_advice():
    message = {}
    for name in ("CP10k", "SoupX"):
        with pytest.raises(DataError) as caught:
            choose_likelihood(summarise(LOOKS[name][1]()))
        message[name] = str(caught.value)
    assert "scanpy.pp.log1p" in message["CP10k"]
    assert "CVAE.setup_anndata(adata, round_counts=True)" in message["SoupX"]
