"""Real cells and bulk samples, found through ``OMICVAE_DATA``."""

import numpy as np

import omicvae as ov


def test_48_bulk_samples_are_split_and_trained_sensibly(real_data):
    adata = real_data("bulk_immune_sorted")[:, ::16].copy()
    ov.CVAE.setup_anndata(adata, batch_key="batch", labels_key="label")
    model = ov.CVAE(adata, "nb")
    model.train(progress_bar=False)
    assert 8 <= len(model.validation_indices) <= 10
    assert model.history["elbo_validation"].iloc[-1] > model.history["elbo_validation"].iloc[0]
    diagnosis = model.diagnose(umap=False)
    assert diagnosis.verdict == "healthy"


def test_three_chemistries_are_mixed_and_types_kept(real_data):
    adata = real_data("pbmc_3chem")
    variable = np.argsort(-adata.X.power(2).mean(0).A1)[:300]
    adata = adata[::4, np.sort(variable)].copy()
    ov.CVAE.setup_anndata(adata, batch_key="batch", labels_key="label")
    model = ov.CVAE(adata, "nb")
    model.train(progress_bar=False)
    diagnosis = model.diagnose(umap=False)
    checks = diagnosis.evidence.set_index("check")["value"]
    assert diagnosis.verdict == "healthy"
    # PCA tells the chemistries apart almost perfectly
    assert checks["leakage of batch"] < 0.9


def test_log_values_of_bulk_samples_are_gaussian(real_data):
    adata = real_data("bulk_signature_3batch_log")
    ov.CVAE.setup_anndata(adata, batch_key="batch", labels_key="label")
    model = ov.CVAE(adata)
    model.train(progress_bar=False)
    assert model.config.likelihood == "gaussian"
    predicted = model.get_normalized_expression(return_numpy=True)
    x = np.asarray(adata.X.todense() if hasattr(adata.X, "todense") else adata.X)
    residual = ((x - predicted) ** 2).mean()
    assert residual < 0.8 * x.var(0).mean()
