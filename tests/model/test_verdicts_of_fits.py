"""Verdicts on small fits whose truth is known: data with nothing to encode, and learning rates that are too high."""

import anndata as ad
import numpy as np
import pytest

import omicvae as ov


def diagnosed(adata, likelihood="auto", labels_key=None, **settings):
    ov.CVAE.setup_anndata(adata, labels_key=labels_key)
    model = ov.CVAE(adata, likelihood, n_hidden=32, seed=1)
    model.train(progress_bar=False, on_bad_steps="stop", **settings)
    return model.history, model.diagnose(umap=False)


@pytest.mark.parametrize("likelihood", ["nb", "poisson"])
@pytest.mark.parametrize("name", ["equal cells", "replicates of 1e5"])
def test_a_fit_that_converged_on_data_without_structure_has_not_diverged(name, likelihood):
    rng = np.random.default_rng(2)
    counts = np.tile(rng.poisson(20, 20), (80, 1)) if name == "equal cells" else rng.poisson(1e5, (80, 20))
    history, diagnosis = diagnosed(ad.AnnData(counts.astype(np.float32)), likelihood, max_epochs=60)
    assert history["loss_train"].iloc[-1] < 0.8 * history["loss_train"].iloc[0]
    assert diagnosis.verdict == "no_signal"
    assert not {"diverged", "unstable"} & set(diagnosis.findings)
    assert diagnosis.remedies == ()


@pytest.mark.parametrize("likelihood", ["nb", "gaussian"])
def test_many_cells_that_are_all_alike_are_diagnosed(likelihood):
    values = np.tile(np.random.default_rng(1).poisson(25, 60), (150, 1)).astype(np.float32)
    _, diagnosis = diagnosed(ad.AnnData(values), likelihood, max_epochs=60)
    assert diagnosis.verdict == "no_signal"


@pytest.mark.parametrize("rate", [3.0, 10.0])
def test_a_rate_that_is_too_high_has_its_own_name_and_a_lower_one_as_its_remedy(rate):
    adata = ov.datasets.simulate_counts(240, 60, seed=3)
    history, diagnosis = diagnosed(adata, labels_key="cell_type", max_epochs=30, learning_rate=rate)
    assert diagnosis.verdict in ("unstable", "diverged")
    assert diagnosis.findings == ()
    assert diagnosis.remedies[0].arguments["learning_rate"] < rate
    assert ov.diagnose_history(history).verdict in ("unstable", "diverged")
