"""What a diagnosis is given: a permuted z stays within its stratum, and every cell keeps its own covariates."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import omicvae as ov
from omicvae.training import CellPasses

from .conftest import FAST


@pytest.fixture(scope="module")
def fitted():
    """A model of cells that differ by batch and dose alone, which the decoder is given."""
    rng = np.random.default_rng(0)
    batch_N, dose_N = rng.integers(0, 2, 200), rng.normal(size=200)
    profile = np.where(np.arange(30) % 2 == np.arange(2)[:, None], 20.0, 1.0)
    mean_NG = profile[batch_N] * np.exp(dose_N[:, None] * np.where(np.arange(30) < 15, 1, -1))
    obs = pd.DataFrame({"batch": pd.Categorical(np.array(["b1", "b2"])[batch_N]), "dose": dose_N})
    obs.index = [f"cell{i}" for i in range(200)]
    adata = ad.AnnData(sp.csr_matrix(rng.poisson(mean_NG).astype(np.float32)), obs=obs)
    ov.CVAE.setup_anndata(adata, batch_key="batch", continuous_covariate_keys=["dose"])
    model = ov.CVAE(adata, "poisson", 3, n_hidden=16)
    model.train(**{**FAST, "max_epochs": 40}, train_size=0.5)
    return model


def test_a_permuted_z_is_that_of_another_cell_of_the_same_stratum(fitted, monkeypatch):
    decoded, reconstruct = [], CellPasses.reconstruction_errors
    monkeypatch.setattr(
        CellPasses, "reconstruction_errors", lambda self, z_NK: decoded.append(z_NK) or reconstruct(self, z_NK)
    )
    fitted.diagnose(umap=False)
    own_WK, permuted_WK = decoded[:2]
    distance_WW = np.abs(permuted_WK[:, None] - own_WK).sum(axis=2)
    order = distance_WW.argmin(axis=1)
    assert distance_WW.min(axis=1).max() < 1e-4
    assert sorted(order) == list(range(len(own_WK)))
    assert (order != np.arange(len(order))).all()
    batch_W = fitted.adata.obs["batch"].to_numpy()[fitted.validation_indices]
    assert set(batch_W) == {"b1", "b2"}
    assert (batch_W[order] == batch_W).all()


def test_a_permuted_z_costs_nothing_where_covariates_tell_all(fitted):
    evidence = fitted.diagnose(umap=False).evidence.set_index("check")
    # with another cell's dose the reconstruction would be hundreds of nats worse
    assert abs(evidence.loc["decoder use", "value"]) < 20
