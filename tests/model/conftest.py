import pytest

import omicvae as ov

FAST = {"max_epochs": 6, "progress_bar": False, "accelerator": "cpu"}
# four steps an epoch, for runs that need many: most of a tiny epoch is Lightning's
STEPS = {**FAST, "batch_size": 27}
SETUP = {
    "batch_key": "batch",
    "labels_key": "label",
    "categorical_covariate_keys": ["donor"],
    "continuous_covariate_keys": ["age"],
}


@pytest.fixture
def fitted(counts):
    ov.CVAE.setup_anndata(counts, **SETUP)
    model = ov.CVAE(counts, "nb", 3, n_hidden=16)
    model.train(**FAST)
    return model
