import numpy as np
import pytest

import omicvae as ov
from omicvae._core import DataError
from omicvae.analysis import Reconstruction


def of(x, predicted, baseline, **changes):
    names = {"cells": tuple(f"c{i}" for i in range(len(x))), "genes": tuple(f"g{i}" for i in range(x.shape[1]))}
    made = ov.metrics.calibration(x, [predicted, baseline], genes=names["genes"])
    given = {"observed_NG": x, "predicted_NG": predicted, "baseline_NG": baseline, "counts": False, **names}
    return Reconstruction(**{**given, "calibration": made, **changes})


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(np.arange(8.0), 1, (30, 8))


def test_what_gene_means_do_as_well_is_said(x):
    means = np.broadcast_to(x.mean(0), x.shape)
    none, all_of_it = of(x, means, means), of(x, x, means)
    assert "no more than gene means do" in str(none)
    assert "no more" not in str(all_of_it)
    np.testing.assert_allclose(none.explained_G, 0, atol=1e-12)
    np.testing.assert_allclose(all_of_it.explained_G, 1)
    np.testing.assert_allclose(all_of_it.correlation_N, 1)
    np.testing.assert_array_equal(none.correlation_N, none.baseline_correlation_N)
    assert none.baseline_correlation_N.mean() > 0.8  # genes differ


def test_correlations_are_pearsons_and_of_counts_on_the_logarithm(x):
    counts, other = np.round(np.exp(x / 2)), np.exp(x[::-1] / 2)
    found = of(counts, other, other, counts=True)
    expected = [np.corrcoef(np.log1p(a), np.log1p(b))[0, 1] for a, b in zip(counts, other, strict=True)]
    np.testing.assert_allclose(found.correlation_N, expected)
    assert found.to_frame().loc["g3", "explained"] == found.explained_G[3]
    assert found.cells_to_frame().loc["c3", "correlation"] == found.correlation_N[3]


def test_what_is_constant_has_no_value_and_shapes_must_agree(x):
    x[:, 2] = 3.0
    means = np.broadcast_to(x.mean(0), x.shape)
    assert np.isnan(of(x, means + 1, means).explained_G).tolist() == [g == 2 for g in range(8)]
    with pytest.raises(DataError, match="three arrays"):
        of(x, means, means, cells=("one",))


def test_one_gene_has_no_correlation_and_a_constant_one_nothing_to_explain(x):
    one = of(x[:, :1], x[:, :1] / 2, np.broadcast_to(x[:, :1].mean(0), (30, 1)))
    assert "correlation" not in str(one)
    assert "explained" in str(one)
    flat = np.ones((30, 2))
    assert "nan" not in str(of(flat, flat, flat))


def test_cells_without_a_correlation_are_not_counted(x):
    x[:15] = 5.0
    means = np.broadcast_to(np.arange(8.0), x.shape)
    ax = ov.pl.reconstruction_cells(of(x, x, means))
    assert ax.get_title() == "cells: 100% above"


def test_figures_show_the_numbers(x):
    means = np.broadcast_to(x.mean(0), x.shape)
    result = of(x, (x + means) / 2, means)
    points = ov.pl.reconstruction_cells(result).collections[0].get_offsets()
    np.testing.assert_allclose(points, np.stack([result.baseline_correlation_N, result.correlation_N], 1))
    points = ov.pl.reconstruction(result).collections[0].get_offsets()
    np.testing.assert_allclose(points, np.stack([result.predicted_NG.ravel(), x.ravel()], 1))
    points = ov.pl.reconstruction_genes(result).collections[1].get_offsets()
    np.testing.assert_allclose(points[:, 1], x.mean(0))
    (line,) = [line for line in ov.pl.calibration(result.calibration).lines if len(line.get_xdata()) > 2]
    np.testing.assert_allclose(np.diff(line.get_ydata()), result.calibration.pit_B)
