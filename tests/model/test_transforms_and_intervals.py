"""Expression at other covariates, its intervals and parameters, and the file that holds all of it."""

import json

import anndata as ad
import numpy as np
import pytest
import scipy.stats as st

import omicvae as ov
from omicvae._core import DataError, SavingError, SettingError

LIKELIHOODS = ("nb", "zinb", "poisson", "gaussian", "student_t", "bernoulli")


def test_transform_sets_covariates_of_every_kind(fitted, counts):
    z = fitted.get_latent_representation()
    wanted = {"batch": "b2", "donor": "z", "age": 60}
    expected = fitted.decode(z, wanted).X
    found = fitted.get_normalized_expression(transform=wanted, return_numpy=True)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    part = fitted.get_normalized_expression(transform={"age": 60}, transform_batch="b2", return_numpy=True)
    np.testing.assert_allclose(part, fitted.decode(z, {**wanted, "donor": counts.obs["donor"]}).X, rtol=1e-4)
    own = fitted.get_normalized_expression(transform={}, return_numpy=True)
    np.testing.assert_array_equal(own, fitted.get_normalized_expression(return_numpy=True))
    with pytest.raises(SettingError, match="both set 'batch'"):
        fitted.get_normalized_expression(transform={"batch": "b1"}, transform_batch="b2")
    with pytest.raises(SettingError, match=r"transform names 'sex'.*Its covariates"):
        fitted.posterior_predictive_sample(transform={"sex": "f"})
    with pytest.raises(DataError, match="outside of the training range"):
        fitted.get_normalized_expression(transform={"age": 5000})


def test_samples_and_parameters_follow_a_transform(fitted):
    far = {"batch": "b2", "donor": "z"}
    one, two = (fitted.posterior_predictive_sample(transform=t, n_samples=20).todense().mean() for t in (None, far))
    assert one == pytest.approx(two, rel=0.05)  # libraries stay the cells' own
    for n in (1, 2):
        drawn = fitted.posterior_predictive_sample(transform=far, n_samples=n).todense()
        out = np.empty(drawn.shape, np.float32)
        assert fitted.posterior_predictive_sample(transform=far, n_samples=n, out=out, batch_size=7) is out
        assert np.isclose(out, drawn).mean() > 0.99
    mean = fitted.get_likelihood_parameters(transform=far, gene_list=["gene3"])["mean"]
    rate = fitted.get_normalized_expression(transform=far, gene_list="gene3", return_numpy=True)
    np.testing.assert_allclose(mean / rate, np.broadcast_to(fitted.adata.X.sum(1), rate.shape), rtol=1e-4)


@pytest.fixture(scope="module", params=LIKELIHOODS)
def truth(request):
    """A model, cells that it has not seen, and another measurement of them, all from the model's own family."""
    rng = np.random.default_rng(0)
    n, genes = 900, 25
    linear = rng.normal(0, 1, genes) + rng.standard_normal((n, 2)) @ rng.normal(0, 0.6, (2, genes))
    rate = 400 * np.exp(linear) / np.exp(linear).sum(1, keepdims=True)
    draw = {
        "poisson": lambda: rng.poisson(rate),
        "nb": lambda: rng.poisson(rng.gamma(4, rate / 4)),
        "zinb": lambda: rng.poisson(rng.gamma(4, rate / 4)) * (rng.random(rate.shape) > 0.1),
        "bernoulli": lambda: rng.random(rate.shape) < 1 / (1 + np.exp(-linear)),
        "gaussian": lambda: rng.normal(linear, 0.7),
        "student_t": lambda: linear + 0.7 * rng.standard_t(5, linear.shape),
    }[request.param]
    first, second = (draw().astype(np.float32) for _ in range(2))
    cells = ad.AnnData(first[:750])
    ov.CVAE.setup_anndata(cells)
    model = ov.CVAE(cells, request.param, 4, n_hidden=32)
    model.train(40, progress_bar=False, accelerator="cpu")
    new = ad.AnnData(first[750:])
    return model, new, second[750:]


def test_predictive_intervals_cover_another_measurement(truth):
    model, new, again = truth
    draws = np.moveaxis(model.posterior_predictive_sample(new, n_samples=199).todense(), -1, 0)
    found = ov.metrics.calibration(again, draws, levels=[0.95])
    assert found.coverage_L[0] == pytest.approx(0.95, abs=0.03)
    interval = model.predictive_interval(new, return_numpy=True)
    inside = (again >= interval["lower"]) & (again <= interval["upper"])
    assert inside.mean() > 0.92
    narrow = model.predictive_interval(new, level=0.5, return_numpy=True)
    assert (narrow["lower"] >= interval["lower"]).all()
    assert (narrow["upper"] <= interval["upper"]).all()
    np.testing.assert_allclose(interval["lower"], np.sort(draws, 0)[4], atol=1e-5)
    np.testing.assert_allclose(interval["sd"], draws.std(0, ddof=1), rtol=1e-3, atol=1e-5)


def test_parameters_are_those_of_the_distribution(truth):
    model, new, _ = truth
    p = {name: values.astype(float) for name, values in model.get_likelihood_parameters(new).items()}
    m = p["mean"]
    by_name = {
        ("mean", "dispersions"): lambda: (m, m + m**2 / p["dispersions"]),
        ("mean", "dispersions", "dropout"): lambda: (
            m * (1 - p["dropout"]),
            (1 - p["dropout"]) * (m + m**2 * (1 / p["dispersions"] + p["dropout"])),
        ),
        ("mean", "sd"): lambda: (m, p["sd"] ** 2),
        ("mean", "scale", "degrees_of_freedom"): lambda: st.t.stats(p["degrees_of_freedom"], m, p["scale"]),
        ("mean",): lambda: (m, m * (1 - m) if m.max() <= 1 else m),
    }
    expected = by_name[tuple(p)]()
    z = model.get_latent_representation(new)
    made = model.decode(z, library_size=new.X.sum(1) if model.module.likelihood.support == "counts" else None)
    np.testing.assert_allclose(made.X, m, rtol=1e-3, atol=1e-4)
    state = model.module
    import torch

    batch = model.state.cells(new).batch(range(new.n_obs))
    with torch.no_grad():
        distribution = state.distribution(torch.from_numpy(z), batch)
        for found, values in zip((distribution.mean, distribution.variance), expected, strict=True):
            np.testing.assert_allclose(found, values, rtol=2e-3, atol=1e-4)
    several = model.get_likelihood_parameters(new, n_samples=3)["mean"]
    assert several.shape == (3, *m.shape)
    averaged = model.get_likelihood_parameters(new, n_samples=3, give_mean=True)["mean"]
    np.testing.assert_allclose(averaged, several.mean(0), rtol=1e-5)


def test_credible_intervals_are_ends_of_the_draws(fitted):
    found = fitted.get_normalized_expression(credible_interval=0.9, n_samples=39, library_size=1e4)
    draws = fitted.get_normalized_expression(n_samples=39, return_mean=False, return_numpy=True) * 1e4
    np.testing.assert_allclose(found["lower"], np.sort(draws, 0)[1], rtol=1e-4)
    np.testing.assert_allclose(found["upper"], np.sort(draws, 0)[-2], rtol=1e-4)
    np.testing.assert_allclose(found["mean"], draws.mean(0), rtol=1e-4)
    again = fitted.get_normalized_expression(credible_interval=0.9, n_samples=39, batch_size=7, library_size=1e4)
    np.testing.assert_allclose(again["upper"], found["upper"], rtol=1e-4)
    with pytest.raises(SettingError, match=r"needs at least 39 draws, got n_samples=1\."):
        fitted.get_normalized_expression(credible_interval=0.95)
    with pytest.raises(SettingError, match="takes no"):
        fitted.get_normalized_expression(credible_interval=0.9, n_samples=39, return_mean=False)


def test_mean_parameters_hold_one_draw_at_a_time(fitted):
    import tracemalloc

    peaks = []
    for n_samples in (2, 40):
        tracemalloc.start()
        fitted.get_likelihood_parameters(n_samples=n_samples, give_mean=True)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 2 * peaks[0]


def test_out_must_be_an_array(fitted):
    with pytest.raises(SettingError, match=r"shape \(120, 30\)"):
        fitted.get_normalized_expression(out=[1.0])


READ = {".h5ad": ad.read_h5ad, ".zarr": ad.read_zarr}


@pytest.mark.parametrize("suffix", READ)
def test_the_file_holds_what_is_computed_in_memory(fitted, counts, tmp_path, suffix):
    path = tmp_path / "folder" / f"expression{suffix}"
    at = {"batch": "b2", "age": 55.0}
    assert fitted.write_expression(path, transform=at, n_samples=6, indices=range(100), batch_size=7) == path
    written = READ[suffix](path)
    record = json.loads(written.uns["omicvae"]["expression"])
    assert record["library_size"] == np.median(counts.X.sum(1).A1[:100])
    draws = fitted.get_normalized_expression(
        transform=at, n_samples=6, return_mean=False, return_numpy=True, indices=range(100)
    )
    draws = draws * record["library_size"]
    np.testing.assert_allclose(written.X, draws.mean(0), rtol=1e-4)
    np.testing.assert_allclose(written.layers["sd"], draws.std(0, ddof=1), rtol=2e-2, atol=1e-3)
    assert list(written.obs_names) == list(counts.obs_names[:100])
    np.testing.assert_allclose(written.var["share_of_zeros"], (counts.X[:100].toarray() == 0).mean(0))
    assert "none is a measurement" in record["note"]
    with pytest.raises(SavingError, match="overwrite=True"):
        fitted.write_expression(path)
    fitted.write_expression(path, gene_list=["gene2"], n_samples=39, credible_interval=0.95, overwrite=True)
    written = READ[suffix](path)
    assert written.shape == (120, 1)
    assert set(written.layers) == {"sd", "lower", "upper"}
    assert (written.layers["lower"] < written.X).all()
    assert (written.layers["upper"] > written.X).all()
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    with pytest.raises(SettingError, match=r"'\.h5ad', '\.zarr'"):
        fitted.write_expression(tmp_path / "expression.csv")


def test_the_file_holds_data_units_of_every_likelihood(truth, tmp_path):
    model, new, _ = truth
    if model.module.likelihood.support == "real":
        new = ad.AnnData(new.X + np.float32(3))  # sums are no libraries
    path = model.write_expression(tmp_path / "all.h5ad", new, n_samples=3)
    written = ad.read_h5ad(path)
    scale = np.median(new.X.sum(1)) if model.module.likelihood.support == "counts" else 1
    expected = model.get_normalized_expression(new, n_samples=3, return_numpy=True) * scale
    np.testing.assert_allclose(written.X, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("suffix", READ)
def test_doubles_are_taken_and_wrong_names_cost_no_pass(fitted, tmp_path, suffix):
    path = fitted.write_expression(tmp_path / f"x{suffix}", n_samples=3.0, batch_size=50.0, indices=[2.0, 1.0])
    written = READ[suffix](path)
    assert list(written.obs_names) == ["cell2", "cell1"]
    seed = json.loads(written.uns["omicvae"]["expression"])["seed"]
    again = fitted.write_expression(path, n_samples=3, indices=[2, 1], seed=seed, overwrite=True)
    np.testing.assert_allclose(READ[suffix](again).X, written.X, rtol=1e-5)
    for wrong, message in (
        ({"transform": {"batch": "b9"}}, r"transform\['batch'\] names levels .*'b9'. Known levels: 'b1', 'b2'"),
        ({"gene_list": []}, "names no gene"),
        ({"gene_list": ["zz", 1]}, r"2 gene\(s\).*'1', 'zz'"),
        ({"seed": -1}, "seed"),
    ):
        with pytest.raises((DataError, SettingError), match=message):
            fitted.write_expression(tmp_path / f"y{suffix}", **wrong)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_genes_that_were_missing_are_said_to_be_imputed(fitted, counts, tmp_path):
    part = counts[:, :27].copy()
    fitted.write_expression(tmp_path / "part.h5ad", part, missing_genes="zero", n_samples=2)
    written = ad.read_h5ad(tmp_path / "part.h5ad")
    assert written.var_names[written.var["imputed"]].tolist() == ["gene27", "gene28", "gene29"]
    share = (part.X.toarray() == 0).mean()  # what was not measured was not 0
    assert np.isnan(written.var["share_of_zeros"]).tolist() == written.var["imputed"].tolist()
    note = json.loads(written.uns["omicvae"]["expression"])["note"]
    assert f"{share:.1%} of the entries were 0 in the data; 3 of 30 genes were missing" in note
    path = fitted.write_expression(
        tmp_path / "none.h5ad", part, missing_genes="zero", n_samples=2, gene_list=["gene28"]
    )
    note = json.loads(ad.read_h5ad(path).uns["omicvae"]["expression"])["note"]
    assert "entries" not in note
    assert "1 of 1 genes were missing" in note


def test_reconstructions_stand_beside_data_and_baseline(truth):
    model, new, _ = truth
    found = model.reconstruct(new, n_samples=40)
    np.testing.assert_array_equal(found.observed_NG, new.X)
    assert np.nanmedian(found.explained_G) > 0.02
    assert found.calibration.coverage_L[-1] == pytest.approx(0.95, abs=0.04)
    assert "x was seen" in str(found)
    assert list(found.to_frame().index) == list(new.var_names)
    assert list(found.cells_to_frame().index) == list(new.obs_names)
    for draw in (ov.pl.reconstruction, ov.pl.reconstruction_genes, ov.pl.reconstruction_cells, ov.pl.calibration):
        ax = draw(found)
        ax.figure.canvas.draw()
        assert ax.get_xlabel()
    with pytest.raises(DataError, match=r"model.reconstruct\(\)"):
        ov.pl.reconstruction(new)
