"""Evidence of a fit in a file is judged as the fit itself is, number for number, whatever the likelihood and prior."""

import numpy as np
import pandas as pd
import pytest

import omicvae as ov

REAL, BINARY = ("gaussian", "student_t"), ("bernoulli",)


@pytest.mark.parametrize(
    ("likelihood", "settings"),
    [
        *((name, {}) for name in ("nb", "zinb", "poisson", *REAL, *BINARY)),
        ("nb", {"prior": "vamp", "n_pseudo_inputs": 5}),
        ("gaussian", {"prior": "conditional"}),
    ],
)
def test_an_evidence_file_gives_the_diagnosis_of_its_model(tmp_path, likelihood, settings):
    adata = ov.datasets.simulate_counts(120, 24, seed=3)
    if likelihood in REAL:
        adata.X = np.log1p(adata.X.toarray())
    elif likelihood in BINARY:
        adata.X = (adata.X.toarray() > 5).astype(np.float32)
    ov.CVAE.setup_anndata(adata, batch_key="batch", labels_key="cell_type")
    model = ov.CVAE(adata, likelihood, n_latent=3, n_hidden=16, seed=2, **settings)
    model.train(6, progress_bar=False, accelerator="cpu")
    own = model.diagnose(umap=False)
    read = ov.diagnose(ov.read_evidence(ov.write_evidence(model, tmp_path / "run.safetensors")), umap=False)
    pd.testing.assert_frame_equal(read.evidence, own.evidence, check_exact=True)
    pd.testing.assert_frame_equal(read.probes, own.probes, check_exact=True)
    np.testing.assert_array_equal(read.kl_per_dimension, own.kl_per_dimension)
    assert (read.verdict, read.headline, read.findings) == (own.verdict, own.headline, own.findings)
    assert read.remarks == own.remarks
