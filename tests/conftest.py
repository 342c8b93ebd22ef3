import logging
import os
from pathlib import Path

import anndata as ad
import hypothesis
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

# a machine that others share makes no test fail
hypothesis.settings.register_profile("without a clock", deadline=None)
hypothesis.settings.load_profile("without a clock")


@pytest.fixture(autouse=True)
def levels_of_loggers():
    """Leave loggers as they were: the command line sets them up for its process, which is that of other tests here."""
    loggers = [logging.getLogger(name) for name in (None, "omicvae")]
    before = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


@pytest.fixture(scope="session")
def real_data():
    """Loader of the shared real data sets, found through ``OMICVAE_DATA``."""
    folder = os.environ.get("OMICVAE_DATA")

    def load(name):
        if folder is None:
            pytest.skip(f"OMICVAE_DATA is not set: needs {name}.h5ad")
        return ad.read_h5ad(Path(folder) / f"{name}.h5ad")

    return load


@pytest.fixture
def counts():
    """120 cells × 30 genes of counts with two batches, a second factor, a continuous covariate and labels."""
    rng = np.random.default_rng(0)
    types = rng.integers(0, 3, 120)
    profile = rng.gamma(1.0, 4.0, (3, 30))
    x = rng.poisson(profile[types]).astype(np.float32)
    obs = pd.DataFrame(
        {
            "batch": pd.Categorical(rng.choice(["b1", "b2"], 120)),
            "donor": pd.Categorical(rng.choice(["x", "y", "z"], 120)),
            "age": rng.normal(50, 10, 120),
            "label": pd.Categorical([f"type {t}" for t in types]),
        },
        index=[f"cell{i}" for i in range(120)],
    )
    return ad.AnnData(sp.csr_matrix(x), obs=obs, var=pd.DataFrame(index=[f"gene{g}" for g in range(30)]))
