import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def counts(rng):
    """30 cells × 12 genes, sparse, with values beyond uint8."""
    x = rng.poisson(0.7, size=(30, 12)).astype(np.float32)
    x[3, 4] = 300
    return x


@pytest.fixture
def adata(counts, rng):
    """Counts as CSR with a batch, a covariate of each type and partly missing labels."""
    n = len(counts)
    obs = pd.DataFrame(
        {
            "batch": pd.Categorical(np.tile(["b", "a", "c"], n // 3), categories=["c", "b", "a", "unused"]),
            "site": np.repeat([2, 1], n // 2),
            "age": rng.normal(40, 10, n),
            "label": pd.Categorical(["T cell", "B cell", None] * (n // 3)),
            "size": rng.uniform(0.5, 2, n),
        },
        index=[f"cell{i}" for i in range(n)],
    )
    var = pd.DataFrame(index=[f"gene{i}" for i in range(counts.shape[1])])
    return ad.AnnData(sp.csr_matrix(counts), obs=obs, var=var)
