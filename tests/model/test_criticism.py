"""scvi-tools' posterior predictive checks on a CVAE, whatever holds the data."""

import numpy as np
import pytest
import scipy.sparse as sp

import omicvae as ov

from .conftest import FAST

CONTAINERS = {
    "csr": lambda x: sp.csr_matrix(x),
    "csc": lambda x: sp.csc_matrix(x),
    "csr_array": lambda x: sp.csr_array(x),
    "whole numbers": lambda x: sp.csr_matrix(x.astype(np.int32)),
    "dense": lambda x: x,
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_gives_the_same_checks(fitted, counts, container):
    other = counts.copy()
    other.X = CONTAINERS[container](counts.X.toarray())
    check, dense = (ov.PosteriorPredictiveCheck(a, {"cvae": fitted}, n_samples=4) for a in (other, counts))
    for one in (check, dense):
        one.coefficient_of_variation()
        one.zero_fraction()
        one.calibration_error()
    assert check.metrics.keys() == dense.metrics.keys()
    for name, table in check.metrics.items():
        np.testing.assert_allclose(table.to_numpy(dtype=float), dense.metrics[name].to_numpy(dtype=float))
    zeros = check.metrics["zero_fraction"]
    np.testing.assert_allclose(zeros["Raw"], (counts.X.toarray() != 0).mean(0))


def test_calibration_is_of_each_model_by_its_name(fitted, counts):
    class Zeros:
        """Predicts that nothing is expressed."""

        adata = counts

        def posterior_predictive_sample(self, adata, **arguments):
            drawn = fitted.posterior_predictive_sample(adata, **arguments)
            return drawn * 0

    both = ov.PosteriorPredictiveCheck(counts, {"zeros": Zeros(), "cvae": fitted}, n_samples=20)
    both.calibration_error()
    error = both.metrics["calibration"].loc["features"]
    alone = ov.PosteriorPredictiveCheck(counts, {"cvae": fitted}, n_samples=20)
    alone.calibration_error()
    assert float(error["cvae"]) == pytest.approx(float(alone.metrics["calibration"].loc["features", "cvae"]))
    assert float(error["zeros"]) > 2 * float(error["cvae"])


def test_real_values_and_a_choice_of_cells(counts):
    counts.layers["logged"] = counts.X.copy().log1p()
    ov.CVAE.setup_anndata(counts, layer="logged")
    model = ov.CVAE(counts, "gaussian", 2, n_hidden=8)
    model.train(**FAST)
    check = ov.PosteriorPredictiveCheck(counts, {"cvae": model}, "logged", n_samples=3, indices=[5, 2, 9])
    check.coefficient_of_variation()
    assert check.raw_counts.shape == (3, 30)
    assert np.isfinite(check.metrics["cv_gene"]["cvae"]).all()
