"""Rescue: fits that are ill on data with signal are mended, sound ones left alone, and nothing gets worse."""

import logging
from dataclasses import replace

import numpy as np
import pytest

import omicvae as ov
from omicvae._core.errors import DataError, NotSupportedError, SettingError
from omicvae.diagnostics import Remedy
from omicvae.model import rescue_search
from omicvae.model.rescue_search import Attempt

DEAR = {"beta": 1e4}
SMALL = Remedy({"beta": 1.0}, "", model={"n_latent": 3})
LONG = Remedy({"beta": 1.0}, "", {"fresh": True, "max_epochs": 80})
BETTER = Remedy({"beta": 2.0}, "", {"fresh": True})


@pytest.fixture(scope="module")
def cells():
    adata = ov.datasets.simulate_counts(400, 120, seed=3)
    ov.CVAE.setup_anndata(adata, batch_key="batch", labels_key="cell_type")
    return adata


@pytest.fixture(scope="module")
def collapsed(cells):
    model = ov.CVAE(cells)
    model.train(30, objective=DEAR, progress_bar=False)
    return model


def test_a_collapsed_fit_is_mended_and_the_given_model_left_as_it_was(collapsed):
    before = collapsed.get_latent_representation()
    rescue = ov.rescue(collapsed, progress_bar=False)
    first, last = rescue.attempts[0], rescue.attempts[-1]
    assert first.remedy is None
    assert first.diagnosis.verdict == "collapsed"
    assert rescue.healed
    assert rescue.diagnosis.verdict == "healthy"
    assert rescue.model is not collapsed
    assert last.elbo > first.elbo
    # the same cells decide about all attempts
    np.testing.assert_array_equal(rescue.model.validation_indices, collapsed.validation_indices)
    np.testing.assert_array_equal(collapsed.get_latent_representation(), before)
    frame = rescue.to_frame()
    assert frame["chosen"].tolist() == [False, True]
    assert frame["remedy"].iloc[0] == "as given"
    assert frame["remedy"].iloc[1] == last.remedy.line
    assert repr(rescue) == "<Rescue: collapsed → healthy, 2 fits>"
    # the outcome is a whole model
    assert rescue.model.diagnose(umap=False).verdict == "healthy"
    rescue.model.write_latent()


def test_train_with_rescue_becomes_the_best_fit(cells, tmp_path):
    model = ov.CVAE(cells)
    model.train(30, objective=DEAR, rescue=True, progress_bar=False)
    assert [attempt.diagnosis.verdict for attempt in model.attempts] == ["collapsed", "healthy"]
    assert model.objective["beta"] == 1.0
    assert len(model.history) == len(model.attempts[-1].history)
    assert model.diagnose(umap=False).verdict == "healthy"
    model.save(tmp_path / "model")
    again = ov.CVAE.load(tmp_path / "model", adata=cells)
    np.testing.assert_array_equal(again.get_latent_representation(), model.get_latent_representation())
    model.train(2, progress_bar=False)  # goes on


def test_a_sound_fit_is_left_alone(cells):
    model = ov.CVAE(cells)
    model.train(progress_bar=False)
    rescue = ov.rescue(model)
    assert rescue.model is model
    assert len(rescue.attempts) == 1
    assert rescue.healed


def test_data_without_signal_are_left_alone():
    adata = ov.datasets.simulate_counts(300, 100, signal=0.0, seed=1)
    ov.CVAE.setup_anndata(adata, batch_key="batch")
    model = ov.CVAE(adata)
    model.train(25, progress_bar=False)
    rescue = ov.rescue(model)
    assert rescue.diagnosis.verdict == "no_signal"
    assert rescue.model is model
    assert len(rescue.attempts) == 1


def test_the_best_of_bad_fits_is_never_worse_than_the_given_one(collapsed, caplog):
    with caplog.at_level(logging.WARNING, logger="omicvae"):
        rescue = ov.rescue(collapsed, max_attempts=1, learning_rate=1e-9, progress_bar=False)
    assert not rescue.healed
    assert len(rescue.attempts) == 2
    assert rescue.attempts[rescue.chosen].elbo == max(attempt.elbo for attempt in rescue.attempts)
    assert "none of 1 attempts was sound" in caplog.text


def test_the_budget_ends_the_search(collapsed):
    rescue = ov.rescue(collapsed, max_seconds=0.0)
    assert rescue.model is collapsed
    assert len(rescue.attempts) == 1


def test_what_the_user_wants_of_the_objective_is_kept(cells):
    model = ov.CVAE(cells)
    model.train(30, objective={**DEAR, "adversary": {"covariates": ["batch"]}}, progress_bar=False)
    rescue = ov.rescue(model, max_attempts=1, progress_bar=False)
    assert rescue.chosen == 1
    assert rescue.model.objective["adversary"]["covariates"] == ("batch",)
    assert "adversary" in rescue.to_frame()["remedy"].iloc[1]


def test_settings_of_the_run_and_of_the_rescue_are_heard(cells, monkeypatch):
    model = ov.CVAE(cells)
    heard = []
    whole = ov.CVAE.train

    def train(self, *arguments, **settings):
        heard.append(settings)
        return whole(self, *arguments, **settings)

    monkeypatch.setattr(ov.CVAE, "train", train)
    settings = {"batch_size": 64, "weight_decay": 1e-4, "seed": 5}
    model.train(30, objective=DEAR, rescue={"max_attempts": 1}, progress_bar=False, **settings)
    assert len(model.attempts) == 2
    assert {name: heard[1][name] for name in settings} == settings
    model.train(1, objective={"schedule": "constant"}, progress_bar=False)
    assert model.attempts == ()  # of another fit


@pytest.fixture
def scripted(collapsed, monkeypatch):
    """Rescue with scripted outcomes, (remedies, ELBO) of the given fit and of each attempt; return what was tried."""
    ill = collapsed.diagnose(umap=False)

    def run(given, *attempts, **settings):
        tried, outcomes = [], iter(attempts)

        def fit(model, remedy, labels_key, arguments):
            tried.append(remedy)
            remedies, elbo = next(outcomes)
            return model, Attempt(remedy, replace(ill, verdict="overfit", remedies=remedies), elbo, model.history, 0.0)

        monkeypatch.setattr(rescue_search, "try_remedy", fit)
        monkeypatch.setattr(ov.CVAE, "diagnose", lambda self, *args, **kwargs: replace(ill, remedies=given))
        return ov.rescue(collapsed, **settings), tried

    return run


def test_the_next_remedy_is_for_the_best_fit_so_far(scripted):
    outcomes = [((SMALL, BETTER), 1e3), ((LONG, BETTER), 2e3), ((SMALL,), 1.5e3), ((SMALL,), 1.0)]
    rescue, tried = scripted((BETTER, SMALL), *outcomes, max_attempts=4)
    assert [(dict(r), dict(r.model), dict(r.arguments)) for r in tried] == [
        ({"beta": 2.0}, {}, {"fresh": True}),  # what the given fit needs first
        ({"beta": 1.0}, {"n_latent": 3}, {}),  # it made the best fit, so what that needs
        ({"beta": 1.0}, {"n_latent": 3}, {"max_epochs": 80}),  # on top of the smaller network
        ({"beta": 2.0}, {"n_latent": 3}, {}),  # longer was no better, so the next for the smaller network
    ]
    assert rescue.chosen == 2


def test_a_run_is_lengthened_once_and_nothing_is_tried_twice(scripted):
    slow = Remedy({"beta": 1.0}, "", {"fresh": True, "learning_rate": 1e-3})
    longer = replace(LONG, arguments={"fresh": True, "max_epochs": 160})
    outcomes = [((longer, slow), 1e3), ((longer,), 2e3), ((LONG,), 1.5e3), ((), 1e3), ((), 1e3)]
    _, tried = scripted((LONG, slow), *outcomes)
    assert [dict(remedy.arguments) for remedy in tried] == [
        {"fresh": True, "max_epochs": 80},
        {"fresh": True, "max_epochs": 80, "learning_rate": 1e-3},
        {"fresh": True, "learning_rate": 1e-3},  # of the given fit; then longer on top of it is the second again
    ]


def test_what_cannot_be_rescued_says_so(cells):
    model = ov.CVAE(cells)
    with pytest.raises(SettingError, match=r"train_size=1\.0 leaves none"):
        model.train(2, train_size=1.0, rescue=True)
    with pytest.raises(SettingError, match="a mapping with labels_key, max_attempts, max_seconds, got"):
        model.train(2, rescue={"attempts": 3})
    assert not model.fits
    with pytest.raises(NotSupportedError, match="needs a trained model"):
        ov.rescue(model)
    model.train(2, train_size=1.0, objective={"schedule": "constant"}, progress_bar=False)
    with pytest.raises(SettingError, match="compares fits on validation cells"):
        ov.rescue(model)
    with pytest.raises(SettingError, match="compares fits on validation cells"):  # the split is kept
        model.train(2, rescue=True)
    assert len(model.fits) == 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"max_attempts": 0}, "max_attempts must be at least 1"),
        ({"max_seconds": "soon"}, "max_seconds must be a finite number"),
        ({"labels_key": "cell_typ"}, "no column 'cell_typ'"),
        ("yes", "rescue must be True or False"),
    ],
)
def test_limits_are_judged_before_the_fit(cells, given, words):
    model = ov.CVAE(cells)
    with pytest.raises((SettingError, DataError), match=words):
        model.train(2, rescue=given)
    assert not model.fits
