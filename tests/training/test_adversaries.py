"""Opponents do what they are for: the signs, the phases, the gradients."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

import omicvae as ov
from omicvae._core import SettingError

FAST = {"progress_bar": False, "accelerator": "cpu"}


def data(likelihood="nb"):
    adata = ov.datasets.simulate_counts(600, 60, n_types=3, n_batches=2, seed=0)
    # a batch effect that a network which is not told of the batch has to encode
    shifted = adata.obs["batch"].to_numpy() == adata.obs["batch"].unique()[0]
    x = adata.X.toarray() if hasattr(adata.X, "toarray") else np.array(adata.X)
    x[np.ix_(shifted, np.arange(20))] += 4
    adata.X = x.astype(np.float32)
    if likelihood == "bernoulli":
        adata.X = (adata.X > 1).astype(np.float32)
    if likelihood == "gaussian":
        adata.X = np.log1p(adata.X)
    ov.CVAE.setup_anndata(adata, batch_key="batch")
    return adata


def batch_probe(weight):
    model = ov.CVAE(data(), "nb", 5, n_hidden=32, seed=0, encode_covariates=True, decode_covariates=False)
    objective = {} if weight is None else {"adversary": {"covariates": ["batch"], "weight": weight}}
    model.train(60, objective=objective, **FAST)
    z = model.get_latent_representation(give_mean=False)
    score = cross_val_score(LogisticRegression(max_iter=1000), z, model.adata.obs["batch"], cv=3).mean()
    return score, model


def test_the_latent_adversary_makes_the_covariate_less_predictable():
    without, _ = batch_probe(None)
    against, model = batch_probe(20.0)
    assert without > 0.9
    assert against < without - 0.1
    # nats that the classifier is left with: near that of the shares, log 2
    assert model.history["adversary_loss_train"].iloc[-1] > 0.5


@pytest.mark.parametrize("likelihood", ["nb", "zinb", "poisson", "gaussian", "bernoulli"])
def test_the_discriminator_is_exactly_off_in_phase_one(likelihood, caplog):
    model = ov.CVAE(data(likelihood), likelihood, 3, n_hidden=16, seed=0)
    with caplog.at_level("INFO", "omicvae"):
        model.train(10, objective={"discriminator": {"start_epochs": 4, "ramp": 0.1}}, **FAST)
    history = model.history
    assert (history["discriminator_loss_train"].iloc[:4] == 0).all()
    assert (history["discriminator_weight"].iloc[:4] == 0).all()
    assert (history["discriminator_loss_train"].iloc[4:] > 0).all()
    assert (history["discriminator_weight"].iloc[4:] > 0).all()
    assert history["phase"].tolist() == [1.0] * 4 + [2.0] * 6
    lines = [record.message for record in caplog.records if record.message.startswith("epoch")]
    steps = len(model.train_indices) // 128 + 1
    assert f"discriminator off until step {4 * steps + 1}: a zero loss is expected" in lines[0]
    assert "discriminator loss=" in lines[-1]
    assert np.isfinite(history).all(axis=None)


def test_phase_one_is_the_run_without_a_discriminator():
    runs = []
    for objective in ({}, {"discriminator": {"start_epochs": 4}}):
        model = ov.CVAE(data(), "nb", 3, n_hidden=16, seed=0)
        model.train(8, objective=objective, precision="32-true", **FAST)
        runs.append(model.history["loss_train"].to_numpy())
    np.testing.assert_allclose(runs[0][:4], runs[1][:4], rtol=1e-4)
    assert not np.allclose(runs[0][4:], runs[1][4:], rtol=1e-5)


def test_an_adversary_without_weight_changes_nothing_but_learns():
    runs = []
    for objective in ({"total_correlation": 1e-30}, {"total_correlation": 1e-30, "adversary": {"weight": 0.0}}):
        model = ov.CVAE(data(), "nb", 3, n_hidden=16, seed=0)
        model.train(4, objective=objective, **FAST)
        runs.append(model)
    states = (model.module.state_dict().values() for model in runs)
    assert all(torch.equal(a, b) for a, b in zip(*states, strict=True))
    losses = runs[1].history["adversary_loss_train"]
    assert losses.iloc[-1] < losses.iloc[0]


@pytest.mark.parametrize("covariates", [["donor"], []])
def test_covariates_that_the_model_does_not_have_are_refused(covariates):
    model = ov.CVAE(data(), "nb", 3, n_hidden=16)
    with pytest.raises(SettingError, match=r"\['batch'\]"):
        model.train(2, objective={"adversary": {"covariates": covariates}}, **FAST)
