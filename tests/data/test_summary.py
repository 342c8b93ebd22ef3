import logging

import numpy as np
import pytest
import scipy.sparse as sp

from omicvae._core import DataError, SettingError
from omicvae.data import check_support, choose_likelihood, iter_rows
from omicvae.data.matrix import finite_rows
from omicvae.data.summary import Summariser


def summarise(x):
    n, g = x.shape
    cells, genes = [f"cell{i}" for i in range(n)], [f"gene{i}" for i in range(g)]
    summariser = Summariser(cells, genes)
    for chunk in finite_rows(iter_rows(x), obs_names=cells, var_names=genes):
        summariser.update(chunk)
    return summariser.result()


def log_normalised(x):
    return np.log1p(x / np.maximum(x.sum(1, keepdims=True), 1) * 1e4)


def test_facts(counts):
    counts[2] = 0
    counts[:, 7] = 0
    result = summarise(sp.csr_matrix(counts))
    assert result.maximum == 300
    assert result.negative is result.fractional is None
    assert result.non_binary is not None
    assert summarise(-1 - counts).maximum == 0


def test_zero_cells_and_genes_are_one_info_line(counts, caplog):
    counts[[2, 5]] = 0
    counts[:, 7] = 0
    with caplog.at_level(logging.INFO, "omicvae"):
        summarise(counts)
    assert [record.getMessage() for record in caplog.records] == ["2 all-zero cells and 1 all-zero genes in the data."]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300], ids=str)
@pytest.mark.parametrize("convert", [np.asarray, sp.csr_matrix, sp.csc_matrix], ids=["dense", "csr", "csc"])
def test_not_finite(counts, value, convert):
    x = counts.astype(np.float64)
    x[5, 3] = x[20, 1] = value
    with pytest.raises(DataError, match=r"NaN, infinite.*: 2; the first is .*cell 'cell5', gene 'gene3'"):
        summarise(convert(x))


def test_not_finite_entries_of_later_chunks_are_counted(monkeypatch, counts):
    monkeypatch.setattr("omicvae.data.matrix.CHUNK_ENTRIES", 24)
    counts[5, 3] = counts[20, 1] = counts[29, 11] = np.nan
    with pytest.raises(DataError, match=r": 3; the first is nan \(cell 'cell5', gene 'gene3'\)"):
        summarise(counts)


def test_likelihood_follows_the_values(counts, rng):
    assert choose_likelihood(summarise(counts)) == "nb"
    assert choose_likelihood(summarise(counts.astype(int))) == "nb"
    assert choose_likelihood(summarise(counts > 0)) == "bernoulli"
    assert choose_likelihood(summarise(np.zeros((3, 2)))) == "bernoulli"
    assert choose_likelihood(summarise(-counts)) == "gaussian"
    assert choose_likelihood(summarise(rng.normal(size=(20, 5)))) == "gaussian"
    assert choose_likelihood(summarise(rng.gamma(1, size=(20, 50)) * (rng.random((20, 50)) < 0.5))) == "gaussian"


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("genes", [slice(None), slice(0, 40)], ids=["all genes", "chosen genes"])
def test_log_normalised_values_are_refused_by_auto(rng, dtype, genes):
    x = log_normalised(rng.poisson(rng.gamma(0.3, 3, size=100), size=(50, 100)))[:, genes].astype(dtype)
    result = summarise(sp.csr_matrix(x))
    assert result.look == "log1p"
    with pytest.raises(DataError, match=r"(?s)log-normalised.*layer=.*\.raw.*likelihood='gaussian'"):
        choose_likelihood(result)
    check_support(result, "real")  # what is asked for by name is given
    with pytest.raises(DataError, match="look log-normalised"):
        check_support(result, "counts")


def test_what_does_not_look_log_normalised(rng, counts):
    dense = rng.gamma(1, size=(20, 5))
    scaled = log_normalised(counts) - log_normalised(counts).mean(0)
    unequal = rng.gamma(1, size=(20, 50)) * (rng.random((20, 50)) < 0.5)
    for x in (counts, dense, scaled, unequal, 500 * unequal, log_normalised(counts)[:2]):
        assert summarise(x).look is None


def test_bundled_log_normalised_subset_is_recognised():
    scanpy = pytest.importorskip("scanpy")
    raw = scanpy.datasets.pbmc68k_reduced().raw
    assert summarise(raw.X).look == "log1p"


def test_support_of_counts(counts):
    check_support(summarise(counts), "counts")
    counts[4, 2] = -1
    with pytest.raises(
        DataError,
        match=r"whole numbers.*holds -1 \(cell 'cell4', gene 'gene2'\).*layer=.*likelihood='gaussian'",
    ):
        check_support(summarise(counts), "counts")
    counts[4, 2] = 1.5
    with pytest.raises(DataError, match=r"holds 1.5 \(cell 'cell4', gene 'gene2'\)"):
        check_support(summarise(counts), "counts")
    counts[4, 2] = -(2**31)
    with pytest.raises(DataError, match=r"R's missing integer"):
        check_support(summarise(counts), "counts")


def test_support_of_binary_and_real(counts):
    check_support(summarise(counts > 0), "binary")
    check_support(summarise(-counts / 2), "real")
    with pytest.raises(DataError, match="needs 0/1 values, but the data matrix holds 300"):
        check_support(summarise(300.0 * (counts > 0)), "binary")
    with pytest.raises(SettingError, match="'counts', 'binary', 'real'"):
        check_support(summarise(counts), "count")


def test_inexact_counts_warn(counts):
    counts[0, 0] = 2**24
    check_support(summarise(counts), "counts")
    large = counts.astype(np.int64)
    large[0, 0] = 2**24 + 1
    with pytest.warns(UserWarning, match=r"16777217; above 2\*\*24 = 16777216 float32 is inexact"):
        check_support(summarise(large), "counts")
