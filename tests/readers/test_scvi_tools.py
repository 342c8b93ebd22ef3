"""Fits of scvi-tools: what is read of them is what they say themselves, and what is said of them is right."""

import numpy as np
import pytest

from omicvae.readers.scvi_tools import read_model

pytestmark = pytest.mark.filterwarnings("ignore")

MODELS = {
    "SCVI": ("SCVI", {"gene_likelihood": "nb"}),
    "a library of its own": ("SCVI", {"use_observed_lib_size": False}),
    "a dispersion per cell": ("SCVI", {"dispersion": "gene-cell"}),
    "a logistic normal latent": ("SCVI", {"latent_distribution": "ln"}),
    "Poisson": ("SCVI", {"gene_likelihood": "poisson"}),
    "LinearSCVI": ("LinearSCVI", {}),
    "AUTOZI": ("AUTOZI", {}),
    "PEAKVI": ("PEAKVI", {}),
    "SCANVI": ("SCANVI", {"n_layers": 2}),
    "TOTALVI": ("TOTALVI", {}),
}
SETUP = {
    "SCANVI": {"labels_key": "cell_type", "unlabeled_category": "unknown"},
    "TOTALVI": {"protein_expression_obsm_key": "proteins"},
}


@pytest.fixture(scope="module")
def with_proteins(cells):
    adata, rng = cells.copy(), np.random.default_rng(0)
    profile = rng.gamma(1, 20, (4, 8))
    adata.obsm["proteins"] = rng.poisson(profile[adata.obs["cell_type"].cat.codes]).astype(np.float32)
    return adata


@pytest.mark.parametrize("name", MODELS)
def test_bounds_are_those_of_the_model(name, train_scvi, with_proteins):
    model_class, arguments = MODELS[name]
    setup = {"batch_key": "batch", **SETUP.get(name, {})}
    model = train_scvi(model_class, 10, setup=setup, data=with_proteins, **arguments)
    fit, rows = read_model(model), np.sort(model.validation_indices)
    assert (len(fit.train), fit.validation.tolist()) == (240, rows.tolist())
    mean_NK, sd_NK = fit.encode()
    gaussian = 0.5 * (sd_NK**2 + mean_NK**2 - 1 - 2 * np.log(sd_NK)).sum(1)[rows]
    rng = np.random.default_rng(0)
    drawn = [(mean_NK + sd_NK * rng.standard_normal(mean_NK.shape))[rows] for _ in range(10)]
    kls = [gaussian if fit.kl is None else fit.kl(z_WK, rows).sum(1) for z_WK in drawn]
    found = [np.mean(fit.nll(z_WK, rows) + kl_W) for z_WK, kl_W in zip(drawn, kls, strict=True)]

    def own():
        if name in ("PEAKVI", "TOTALVI"):  # the first has no get_elbo that works, that of the second holds proteins
            parts = model.get_reconstruction_error(indices=rows)
            return (
                float(parts[{"PEAKVI": "reconstruction_loss", "TOTALVI": "reconst_loss_gene"}[name]]) + gaussian.mean()
            )
        return -float(model.get_elbo(indices=rows))

    theirs = [own() for _ in range(10)]
    error = np.hypot(np.std(found), np.std(theirs)) / 3
    assert np.mean(found) == pytest.approx(np.mean(theirs), rel=1e-4, abs=4 * error)
    assert error < 0.01 * abs(np.mean(theirs))


def test_a_prior_that_is_no_gaussian_and_labels_that_were_given_are_said(train_scvi):
    scanvi = read_model(train_scvi("SCANVI", 2, setup=SETUP["SCANVI"]))
    assert (scanvi.kl is not None, scanvi.conditioned) == (True, ("cell_type",))
    per_label = {"labels_key": "cell_type"}
    assert read_model(train_scvi("SCVI", 2, setup=per_label, dispersion="gene-label")).conditioned == ("cell_type",)
    assert read_model(train_scvi("SCVI", 2, setup=per_label)).conditioned == ()


def test_every_covariate_of_the_setup_reaches_the_model_without_z(train_scvi, cells):
    adata = cells.copy()
    adata.obs["dose"] = np.linspace(0, 1, adata.n_obs)
    adata.obs["donor"] = np.resize(["x", "y", "z"], adata.n_obs)
    adata.obs["depth"] = np.linspace(0.5, 2, adata.n_obs)
    setup = {"categorical_covariate_keys": ["donor"], "continuous_covariate_keys": ["dose"], "size_factor_key": "depth"}
    fit = read_model(train_scvi("SCVI", 2, setup=setup, data=adata))
    np.testing.assert_array_equal(fit.categorical["donor"], adata.obs["donor"])
    assert (list(fit.categorical), list(fit.continuous)) == (["donor"], ["dose"])  # one batch alone is none
    np.testing.assert_allclose(fit.continuous["dose"], adata.obs["dose"], atol=1e-6)
    np.testing.assert_allclose(fit.size_factors_N, adata.obs["depth"])


def test_the_depth_of_peaks_is_no_merit_of_z_and_a_weight_of_1_is_no_beta_of_1(train_scvi):
    fit = read_model(train_scvi("PEAKVI", 2))
    assert list(fit.continuous) == ["log depth"]
    assert np.unique(fit.matrix.toarray()).tolist() == [0, 1]
    assert fit.run["kl_unit"] == 128  # of scvi-tools 1.4: one that mends its loss has 1 here
    assert fit.run["direct"] == ["n_epochs_kl_warmup", "lr"]
    assert "recon_train" in fit.history
    assert not [name for name in fit.history if name.startswith("loss_")]  # totals that are no nats per cell


def test_a_library_that_is_inferred_costs_the_model_without_z_as_much(train_scvi):
    fit = read_model(train_scvi("SCVI", 5, use_observed_lib_size=False))
    assert fit.besides_N.shape == (300,)
    assert (fit.besides_N > 0).all()
    assert read_model(train_scvi("SCVI", 2)).besides_N is None


def test_a_saved_fit_is_judged_as_it_was(train_scvi, tmp_path):
    import scvi

    model = train_scvi("SCVI", 5)
    model.save(tmp_path / "model")
    loaded = scvi.model.SCVI.load(tmp_path / "model", adata=model.adata)
    rows = np.arange(20)
    first, again = (read_model(m) for m in (model, loaded))
    np.testing.assert_allclose(again.nll(np.zeros((20, 10)), rows), first.nll(np.zeros((20, 10)), rows), rtol=1e-5)
    assert again.validation.tolist() == first.validation.tolist()
    assert len(again.history) == len(first.history) == 5
