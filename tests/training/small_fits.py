"""A small simulated data set, and what a step of its fit is made from."""

import numpy as np

import omicvae as ov
from omicvae.objective import Objective


def data(likelihood):
    adata = ov.datasets.simulate_counts(300, 120, n_types=3, n_batches=2, seed=0)
    if likelihood == "bernoulli":
        adata.X = (adata.X > 0).astype(np.float32)
    if likelihood == "gaussian":
        adata.X = np.log1p(adata.X.toarray() if hasattr(adata.X, "toarray") else adata.X).astype(np.float32)
    ov.CVAE.setup_anndata(adata, batch_key="batch")
    return adata


def parts(objective=None, **settings):
    """Module in training mode, store, and objective of a run of 100 steps."""
    model = ov.CVAE(data("nb"), "nb", seed=1, n_hidden=16, **settings)
    planned = Objective.parse(objective).scheduled(100, 3, n_genes=120, n_latent=10)
    model.module.train()
    return model.module, model.state.store, planned
