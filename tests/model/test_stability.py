"""``ov.stability``: several fits of one data set or of a model's settings, and what they agree on."""

import tracemalloc

import numpy as np
import pytest

import omicvae as ov
from omicvae._core import DataError, NotSupportedError, SettingError
from omicvae.model.stability import _contrasts, _effects

from .conftest import FAST, SETUP
from .forms import FORMS

QUICK = {"n_latent": 2, "n_hidden": 8, "max_epochs": 6, "accelerator": "cpu"}


@pytest.fixture
def own(counts):
    ov.CVAE.setup_anndata(counts, **SETUP)
    return counts


def test_fits_are_those_of_their_seeds(own):
    found = ov.stability(own, [0, 3], **QUICK)
    assert found.fits["seed"].tolist() == [0, 3]
    first = ov.CVAE(own, n_latent=2, n_hidden=8, seed=0)
    first.train(**FAST)
    elbo = first.get_elbo(indices=first.validation_indices.tolist())
    assert found.fits["elbo"][0] == pytest.approx(elbo, abs=1e-9)
    assert found.fits["elbo"][0] != found.fits["elbo"][1]
    again = ov.stability(own, [0, 3], **QUICK)
    assert again.to_frame().equals(found.to_frame())
    assert again.genes.equals(found.genes)


def test_a_model_is_one_of_the_fits_and_stays_as_it_is(own):
    model = ov.CVAE(own, "poisson", 2, n_hidden=8, seed=1)
    model.train(**FAST, objective={"beta": 0.5})
    model.train(2, progress_bar=False, accelerator="cpu")
    before = model.get_latent_representation()
    found = ov.stability(model, 2.0)
    assert found.fits["seed"].tolist() == [1, 0]
    np.testing.assert_array_equal(model.get_latent_representation(), before)
    assert len(model.fits) == 2
    assert found.fits["elbo"][0] == pytest.approx(model.get_elbo(indices=model.validation_indices.tolist()))
    # the other one is the same model and the same two runs with another seed
    other = ov.CVAE(own, "poisson", 2, n_hidden=8, seed=0)
    other.state.split = model.state.split
    other.train(**FAST, objective={"beta": 0.5})
    other.train(2, progress_bar=False, accelerator="cpu")
    assert found.fits["elbo"][1] == pytest.approx(other.get_elbo(indices=model.validation_indices.tolist()))


@pytest.mark.parametrize(
    ("groupby", "contrasts", "name"),
    [
        (None, ["b2 − b1"], "effect of batch"),
        ("donor", ["x − others", "y − others", "z − others"], "effect of donor"),
        ("age", None, "effect of age"),
        ("label", ["type 0 − others", "type 1 − others", "type 2 − others"], "effect of label"),
    ],
)
def test_effects_are_of_a_covariate_or_a_column(own, groupby, contrasts, name):
    found = ov.stability(own, 2, groupby=groupby, **QUICK)
    if contrasts is None:  # one SD above the mean less one below
        (contrast,) = found.genes["contrast"].unique()
        high, low = map(float, contrast.split(" − "))
        assert (high - low) / 2 == pytest.approx(own.obs["age"].std(), rel=0.1)
        contrasts = [contrast]
    assert found.genes["contrast"].unique().tolist() == contrasts
    assert len(found.genes) == 30 * len(contrasts)
    assert name in found.effects.name


def test_the_effect_of_a_covariate_is_the_difference_of_decoded_levels(own):
    found = ov.stability(own, [0, 1], **QUICK)
    means, split = [], None
    for seed in (0, 1):
        model = ov.CVAE(own, n_latent=2, n_hidden=8, seed=seed)
        model.state.split = split
        model.train(**FAST)
        split = model.state.split
        low, high = (np.log(model.get_normalized_expression(transform_batch=level)).mean(0) for level in ("b1", "b2"))
        means.append((high - low).to_numpy())
    np.testing.assert_allclose(found.genes["mean"], np.mean(means, 0), rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(found.genes["one_sign"], np.sign(means[0]) == np.sign(means[1]))


def test_without_covariates_it_is_the_variance_that_the_latent_gives(counts):
    found = ov.stability(counts, 2, labels_key="label", **QUICK)
    assert found.effects.name == "variance that the latent gives genes"
    assert (found.genes["mean"] >= 0).all()
    assert found.fits["probe"].between(0, 1).all()
    assert "label read from a draw" in found.headline


@pytest.mark.parametrize("form", ["nb", "zinb, embedded covariates", "gaussian, VampPrior", "bernoulli, decoder alone"])
def test_every_likelihood_prior_and_covariate(form):
    _, model = FORMS[form]()
    model.train(**FAST)
    found = ov.stability(model, 2)
    assert found.to_frame()["lowest"].notna().all()
    assert found.n_cells == 150


def test_the_default_is_a_covariate_that_can_be_compared(own):
    own.obs["many"] = [f"l{n % 60}" for n in range(own.n_obs)]
    ov.CVAE.setup_anndata(own, batch_key="many", categorical_covariate_keys=["donor"])
    assert "effect of donor" in ov.stability(own, 2, **QUICK).effects.name


def test_where_covariates_do_not_enter_the_decoder_cells_of_levels_are_compared(own):
    found = ov.stability(own, 2, groupby="batch", decode_covariates=False, **QUICK)
    assert np.isfinite(found.effects.lowest)
    assert (found.genes["mean"] != 0).any()


def test_memory_does_not_grow_with_the_levels(own):
    own.obs["many"] = [f"l{n % 40:02}" for n in range(own.n_obs)]
    ov.CVAE.setup_anndata(own, batch_key="batch", categorical_covariate_keys=["many"])
    model = ov.CVAE(own, "nb", 2, n_hidden=8)
    model.train(**FAST)

    def peak(groupby):
        levels = _contrasts(model.state, groupby).levels.values()
        _effects(model.state, levels)  # once for what is made at the first call
        tracemalloc.start()
        _effects(model.state, levels)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert peak("many") < 2 * peak("batch")


def test_a_model_of_mapped_cells_is_refused_before_any_work(own, monkeypatch):
    model = ov.CVAE(own, "nb", 2, n_hidden=8)
    model.train(**FAST)
    query = own.copy()
    query.obs["batch"] = "new"
    mapped = ov.CVAE.load_query_data(query, model)
    with pytest.raises(NotSupportedError, match="none of the mapped cells has trained"):
        mapped.diagnose()
    mapped.train(**FAST)
    monkeypatch.setattr(ov.CVAE, "diagnose", None)
    with pytest.raises(NotSupportedError, match="weights of the reference"):
        ov.stability(mapped, 2)


def test_a_collapse_is_not_called_reliable_though_means_agree(counts):
    found = ov.stability(counts, 2, **{**QUICK, "max_epochs": 40}, objective={"beta": 1000})
    assert not found.sound
    assert "Mend the fits first" in str(found)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"seeds": 1}, SettingError, "two or more"),
        ({"seeds": [2, 2]}, SettingError, "two or more different"),
        ({"seeds": 2.5}, SettingError, "whole number"),
        ({"lr": 0.1}, SettingError, "write learning_rate"),
        ({"n_latnt": 3}, SettingError, "write n_latent"),
        ({"seed": 3}, SettingError, "Unknown"),
        ({"groupby": "name"}, SettingError, "120 levels among the cells"),
        ({"groupby": "doner"}, DataError, "Did you mean 'donor'"),
        ({"labels_key": "lable"}, DataError, "Did you mean 'label'"),
    ],
)
def test_what_is_refused(own, arguments, error, message):
    own.obs["name"] = own.obs_names
    with pytest.raises(error, match=message):
        ov.stability(own, **arguments)


def test_what_a_model_must_be(own):
    model = ov.CVAE(own, "nb", 2, n_hidden=8)
    with pytest.raises(NotSupportedError, match="trained"):
        ov.stability(model, 2)
    model.train(**FAST)
    with pytest.raises(SettingError, match="keeps its settings; leave out n_latent"):
        ov.stability(model, 2, n_latent=3)


def test_the_figure_has_a_row_for_each_agreement(own, tmp_path):
    found = ov.stability(own, 3, **QUICK)
    ax = ov.pl.stability(found)
    assert [tick.get_text().replace("\n", " ") for tick in ax.get_yticklabels()][::-1] == [
        one.name for one in found.agreements
    ]
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(dots[0].get_xdata(), found.latent.pairs_P)
    with pytest.raises(DataError, match=r"ov.stability\(\) returned"):
        ov.pl.stability({})
