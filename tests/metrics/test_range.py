"""What every metric promises: what it gives where the latents are the truth, and where they know nothing of it."""

import inspect
import re

import numpy as np
import pandas as pd
import pytest

from omicvae import metrics
from omicvae._core import DataError


def _changed(change_G):
    """Cells before and after so much was added to each gene."""
    noise = np.array([[-0.001], [0.001]])
    return noise + 0 * change_G, noise + change_G


#: a row a metric: how it is asked, its value where latents are the factors, and where they are noise
ROWS = {
    "probe": (lambda z, v: metrics.probe(z, v[:, 0]).balanced_accuracy, 1.0, 1 / 4),
    "compare_probes": (
        lambda z, v: metrics.compare_probes(*(metrics.probe(x, v[:, 0]) for x in (z, v)))[0],
        0.0,
        -3 / 4,
    ),
    "neighbourhood_purity": (lambda z, v: metrics.neighbourhood_purity(z, v[:, 0]), 1.0, 1 / 4),
    "silhouette": (lambda z, v: metrics.silhouette(z[:, :1], v[:, 0]), 1.0, -0.1),
    "silhouette_label": (lambda z, v: metrics.silhouette_label(z[:, :1], v[:, 0]), 1.0, 0.45),
    "silhouette_batch": (lambda z, v: metrics.silhouette_batch(z, v[:, 0], v[:, 1]), 0.0, 0.95),
    "ilisi": (lambda z, v: metrics.ilisi(z, v[:, 1]), 0.0, (1 / (1 / 3 + 2 / 3 / 30) - 1) / 2),
    "clisi": (lambda z, v: metrics.clisi(z, v[:, 1]), 1.0, 1 - (1 / (1 / 3 + 2 / 3 / 30) - 1) / 2),
    "graph_connectivity": (lambda z, v: metrics.graph_connectivity(z[:, :1], v[:, 0], k=8), 1.0, 0.1),
    "pcr": (lambda z, v: metrics.pcr(z[:, :1], v[:, 0]), 1.0, 3 / 479),
    "pcr_comparison": (lambda z, v: metrics.pcr_comparison(v, z, v[:, 0]).score, 0.0, 1.0),
    "mig": (lambda z, v: metrics.mig(z.round(2), v).score, 1.0, 0.0),
    "sap": (lambda z, v: metrics.sap(z, v).score, 1.0, 0.0),
    "dci": (lambda z, v: metrics.dci(z, v).informativeness, 1.0, 0.0),
    "beta_vae_score": (lambda z, v: metrics.beta_vae_score(z, v, n_points=200).score, 1.0, 1 / 2),
    "factor_vae_score": (lambda z, v: metrics.factor_vae_score(z, v, n_points=200).score, 1.0, 1 / 2),
    "linear_cka": (lambda z, v: metrics.linear_cka(z, v), 1.0, 0.0),
    "effect_agreement": (lambda z, v: metrics.effect_agreement(z[:, 0], v[:, 0] - 1.5).sign_agreement, 1.0, 1 / 2),
    "change_agreement": (lambda z, v: metrics.change_agreement(*_changed(v[:, 0]), z[:, 0]).pearson, 1.0, 0.0),
}
#: no scores of latents: yardsticks, values of single cells or entries, and what takes draws of the whole model
OTHERS = {"benjamini_hochberg", "calibration", "kmeans_classes", "lisi", "permuted_interval", "purity_by_chance"}
OTHERS |= {"neighbour_overlap", "randomised_pit"}
FUNCTIONS = {name for name in metrics.__all__ if inspect.isfunction(getattr(metrics, name))}
by_row = pytest.mark.parametrize("name", ROWS)


@pytest.fixture(scope="module")
def factors():
    """Every combination of 4 × 3 levels, 40 times."""
    first, second = np.meshgrid(np.arange(4), np.arange(3), indexing="ij")
    return np.tile(np.column_stack([first.ravel(), second.ravel()]), (40, 1))


@pytest.fixture(scope="module")
def truth(factors):
    return factors - factors.mean(0) + 1e-4 * np.random.default_rng(0).normal(size=factors.shape)


@pytest.fixture(scope="module")
def noise(factors):
    return np.random.default_rng(1).normal(size=factors.shape)


def test_every_metric_has_its_row():
    assert set(ROWS) | OTHERS == FUNCTIONS


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_every_metric_says_its_range_once(name):
    assert len(re.findall(r"^ *Range: ", getattr(metrics, name).__doc__, flags=re.MULTILINE)) == 1


@by_row
def test_latents_that_are_the_truth_and_latents_that_know_nothing(name, truth, noise, factors):
    score, known, unknown = ROWS[name]
    assert score(truth, factors) == pytest.approx(known, abs=0.01)
    assert score(noise, factors) == pytest.approx(unknown, abs=0.1)


@by_row
def test_the_order_of_cells_does_not_matter(name, truth, factors):
    score, known, _ = ROWS[name]
    order = np.random.default_rng(2).permutation(len(factors))
    assert score(truth[order], factors[order]) == pytest.approx(known, abs=0.01)


@by_row
@pytest.mark.parametrize("which", ["latents", "factors"])
def test_masked_entries_are_refused(name, which, truth, factors):
    given = {"latents": np.ma.array(truth, copy=True), "factors": np.ma.array(factors, copy=True)}
    given[which][3] = np.ma.masked
    with pytest.raises(DataError, match=r"have \d+ masked entries.*what lies under the mask is no datum"):
        ROWS[name][0](given["latents"], given["factors"])
    whole = ROWS[name][0](np.ma.array(truth), np.ma.array(factors))
    assert whole == ROWS[name][0](truth, factors)


def test_a_missing_value_of_pandas_is_no_mask():
    rng = np.random.default_rng(0)
    for labels in (pd.array([1, 2, None] * 20, dtype="Int64"), pd.array([True, False, None] * 20, dtype="boolean")):
        as_objects = np.array([None if pd.isna(label) else str(label) for label in labels], dtype=object)
        xy = rng.normal(size=(60, 2))
        assert metrics.neighbourhood_purity(xy, labels) == metrics.neighbourhood_purity(xy, as_objects)


def test_masked_entries_of_what_is_no_score(truth, factors):
    masked_NK = np.ma.masked_greater(truth, 1.0)
    groups_N = np.ma.masked_equal(factors[:, 1], 2)
    for ask in (
        lambda: metrics.benjamini_hochberg(np.ma.masked_greater(np.linspace(0, 1, 5), 0.7)),
        lambda: metrics.calibration(masked_NK, [truth, truth]),
        lambda: metrics.randomised_pit(truth, [truth, masked_NK]),
        lambda: metrics.kmeans_classes(masked_NK, 3, np.random.default_rng(0)),
        lambda: metrics.lisi(truth, groups_N),
        lambda: metrics.permuted_interval(truth, groups_N),
        lambda: metrics.purity_by_chance(groups_N),
        lambda: metrics.probe(truth, factors[:, 0], groups=groups_N),
        lambda: metrics.silhouette(list(masked_NK), factors[:, 0]),
    ):
        with pytest.raises(DataError, match="masked entries"):
            ask()
