"""Models of every likelihood, prior and kind of covariate on small simulated cells."""

import numpy as np

import omicvae as ov


def simulated(likelihood, n_cells=150, n_genes=25, seed=0):
    """Cells in the units of a likelihood, with a batch, a second factor, an age and size factors."""
    adata = ov.datasets.simulate_counts(n_cells, n_genes, n_types=3, n_batches=2, seed=seed)
    counts = adata.X.toarray() if hasattr(adata.X, "toarray") else np.asarray(adata.X)
    rng = np.random.default_rng(seed)
    adata.obs["donor"] = rng.choice(["x", "y", "z"], n_cells)
    adata.obs["age"] = rng.normal(50, 10, n_cells)
    adata.obs["size"] = counts.sum(1) / counts.sum(1).mean()
    if likelihood in ("gaussian", "student_t"):
        adata.X = np.log1p(counts).astype(np.float32)
    if likelihood == "bernoulli":
        adata.X = (counts > np.median(counts)).astype(np.float32)
    return adata


def halves_and_model(n_cells, n_train, n_genes, n_latent, epochs, seed=0):
    """Cells that train and cells that do not, counts, and a model of the first."""
    adata = simulated("nb", n_cells, n_genes, seed)
    halves = adata[:n_train].copy(), adata[n_train:].copy()
    ov.CVAE.setup_anndata(halves[0], batch_key="batch")
    model = ov.CVAE(halves[0], "nb", n_latent, n_hidden=32)
    model.train(epochs, progress_bar=False, accelerator="cpu")
    return halves, model


def _form(likelihood, setup=None, **settings):
    def make():
        adata = simulated(likelihood)
        ov.CVAE.setup_anndata(adata, batch_key="batch", **(setup or {}))
        return adata, ov.CVAE(adata, likelihood, 3, n_hidden=16, **settings)

    return make


MORE = {"categorical_covariate_keys": ["donor"], "continuous_covariate_keys": ["age"]}
FORMS = {
    "nb": _form("nb", MORE),
    "nb, size factors": _form("nb", {"size_factor_key": "size"}),
    "zinb, embedded covariates": _form("zinb", MORE, covariate_encoding="embedding"),
    "poisson, conditional prior": _form("poisson", MORE, prior="conditional"),
    "gaussian, VampPrior": _form("gaussian", MORE, prior="vamp"),
    "bernoulli, decoder alone": _form("bernoulli", MORE, encode_covariates=False),
    "student_t": _form("student_t", MORE),
}
