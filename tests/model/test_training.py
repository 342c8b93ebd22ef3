import logging
import re

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import pytest
import torch

import omicvae as ov
from omicvae._core import NotSupportedError, SettingError, TrainingError
from omicvae.priors import DiagonalNormal, StandardNormal
from omicvae.training import derive_seed, plan, score_cells
from omicvae.training.average import WeightAverage

from .conftest import FAST, SETUP, STEPS

COLUMNS = [
    "loss_train",
    "recon_train",
    "kl_train",
    "loss_validation",
    "recon_validation",
    "kl_validation",
    "elbo_validation",
    "kl_weight",
    "lr",
    "cells_per_second",
]


def make(counts, **settings):
    ov.CVAE.setup_anndata(counts, **SETUP)
    return ov.CVAE(counts, "nb", 3, n_hidden=16, **settings)


def test_history_has_a_row_per_epoch_with_the_columns_of_the_contract(fitted):
    assert list(fitted.history.columns) == COLUMNS
    assert list(fitted.history.index) == [1, 2, 3, 4, 5, 6]
    assert np.isfinite(fitted.history).all(axis=None)


def test_the_history_is_consistent(fitted):
    history = fitted.history
    np.testing.assert_allclose(
        history["loss_validation"],
        history["recon_validation"] + history["kl_weight"] * history["kl_validation"],
        rtol=1e-6,
    )
    np.testing.assert_allclose(
        history["elbo_validation"], -history["recon_validation"] - history["kl_validation"], rtol=1e-6
    )
    assert history["kl_weight"].iloc[-1] == 1.0


def test_training_lowers_the_loss(counts):
    model = make(counts)
    model.train(**{**STEPS, "max_epochs": 15})
    assert model.history["elbo_validation"].iloc[-1] > model.history["elbo_validation"].iloc[0] + 1


def test_the_same_seed_gives_the_same_result_and_another_a_different_one(counts):
    latents = []
    for seed in (1, 1, 2):
        model = make(counts.copy(), seed=seed)
        model.train(**FAST)
        latents.append(model.get_latent_representation())
    np.testing.assert_array_equal(latents[0], latents[1])
    assert not np.array_equal(latents[0], latents[2])


def test_mixed_precision_keeps_the_likelihood_in_float32(counts):
    bounds = []
    for precision in ("auto", "bf16-mixed"):
        model = make(counts.copy())
        model.train(**{**STEPS, "max_epochs": 10}, precision=precision)
        bounds.append(model.history["elbo_validation"].iloc[-1])
    assert bounds[1] == pytest.approx(bounds[0], abs=2.0)


def test_global_generators_and_the_threads_are_left_alone(counts):
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002  # the legacy generator is what users' code may rely on
    expected = torch.rand(3), np.random.rand(3)  # noqa: NPY002
    threads = torch.get_num_threads()
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    model = make(counts)
    model.train(**FAST)
    model.get_elbo()
    model.posterior_predictive_sample(indices=[0])
    model.diagnose(umap=False)
    assert torch.equal(torch.rand(3), expected[0])
    np.testing.assert_array_equal(np.random.rand(3), expected[1])  # noqa: NPY002
    assert torch.get_num_threads() == threads


def test_one_log_line_an_epoch(counts, caplog):
    model = make(counts)
    with caplog.at_level(logging.INFO, "omicvae"):
        model.train(**FAST)
    lines = [record.message for record in caplog.records if record.message.startswith("epoch")]
    number = r"-?\d+\.\d+"
    part = rf"loss={number} recon={number} kl={number}"
    assert len(lines) == 6
    assert re.fullmatch(rf"epoch 003 \| train {part} \| val {part} \| kl_weight=[\d.e-]+", lines[2])


def test_the_best_weights_are_kept(counts):
    model = make(counts, dropout_rate=0.1)  # free to overfit, so that the last weights are far from the best
    model.train(**{**FAST, "max_epochs": 300}, learning_rate=0.05, weight_decay=0.0, early_stopping=False)
    result = model.fits[0]
    best = model.history.loc[result.best_epoch, "elbo_validation"]
    last = model.history["elbo_validation"].iloc[-1]
    # the noise differs, so the weights are told apart by many draws
    kept = model.get_elbo(indices=model.validation_indices, n_samples=200)
    assert result.best_epoch < len(model.history)
    assert abs(kept - best) < abs(best - last)


def test_early_stopping_counts_only_once_the_objective_has_settled(counts):
    model = make(counts)
    model.train(**{**FAST, "max_epochs": 400, "learning_rate": 0.1, "early_stopping_patience": 3})
    result = model.fits[0]
    assert result.stopped_early
    assert result.settled_epoch < len(model.history) < 400
    assert len(model.history) - result.best_epoch == 3


def test_a_second_run_goes_on_at_the_final_weight(fitted, caplog):
    before = fitted.get_latent_representation()
    fitted.train(**FAST)
    assert list(fitted.history.index) == list(range(1, 13))
    assert fitted.fits[1].settled_epoch == 7
    assert (fitted.history["kl_weight"].iloc[6:] == 1.0).all()
    assert "goes on from epoch 6" in caplog.text
    assert not np.array_equal(fitted.get_latent_representation(), before)


def test_a_second_run_keeps_the_split_and_the_final_weight(counts):
    model = make(counts)
    model.train(**FAST, objective={"beta": 3.0, "free_bits": 0.1})
    validation = model.validation_indices
    model.train(**FAST, seed=9)
    np.testing.assert_array_equal(model.validation_indices, validation)
    assert (model.history["kl_weight"].iloc[6:] == 3.0).all()
    assert model.objective["free_bits"] == 0.1


def prior_with(change):
    """Standard normal prior of three dimensions whose KL is what ``change`` makes of it and of the posterior."""

    class Density(DiagonalNormal):
        def kl(self, posterior, z_BK):
            return change(super().kl(posterior, z_BK), posterior)

    class Changed(StandardNormal):
        def at(self, c_BC, encode):
            p = super().at(c_BC, encode)
            return Density(p.mean_BK, p.log_variance_BK)

    return Changed(3)


def test_a_second_run_takes_no_other_split_and_is_judged_by_its_own(counts):
    model = ov.CVAE(counts, "nb", 2, n_hidden=8)
    model.train(**FAST, train_size=0.5)
    split = model.validation_indices
    with pytest.raises(SettingError, match=r"train_size=0\.8 has 96 cells train, and in the run before 60 did"):
        model.train(**FAST, train_size=0.8)
    model.train(**FAST, train_size=0.5)
    model.train(**FAST, early_stopping_patience=3)
    np.testing.assert_array_equal(model.validation_indices, split)
    model.train(**FAST, train_size=1.0, fresh=True)
    for given in ({"early_stopping_patience": 3}, {"lr_schedule": "plateau"}):
        with pytest.raises(SettingError, match="no cells validate"):
            model.train(**FAST, **given)
        model.train(**FAST, **given, train_size=0.5, fresh=True)
        model.train(**FAST, train_size=1.0, fresh=True)


def test_a_single_bad_step_is_skipped_and_counted(counts, caplog):
    model = make(counts)

    calls = []

    def once_broken(kl_BK, posterior):
        calls.extend([0] * torch.is_grad_enabled())
        return kl_BK * float("nan") if torch.is_grad_enabled() and len(calls) == 9 else kl_BK

    model.module.prior = prior_with(once_broken)
    model.train(**{**FAST, "batch_size": 16})
    assert "1 of 7 steps had a loss or gradient that was not finite" in caplog.text
    assert model.history["skipped_steps"].sum() == 1
    assert len(model.history) == 6
    assert np.isfinite(model.history).all(axis=None)


def test_a_run_that_ends_before_the_weight_settles_is_an_error_with_both_numbers(counts):
    with pytest.raises(SettingError, match=r"step 400.*ends after 6 steps"):
        make(counts).train(**FAST, objective={"warmup_epochs": 400})


def test_the_mean_convention_is_loud(counts, caplog):
    make(counts).train(**FAST, objective={"beta": 3.0, "reduction": "mean"})
    assert "acts like beta=30 on the ELBO" in caplog.text


def test_all_cells_can_train_without_validation(counts):
    model = make(counts)
    model.train(**FAST, train_size=1.0)
    assert len(model.validation_indices) == 0
    assert model.history["loss_validation"].isna().all()
    assert np.isfinite(model.diagnose(umap=False).evidence.set_index("check").loc["gain over null", "value"])


def test_lightning_callbacks_see_metrics_and_steps(counts):
    seen = []

    class Spy(pl.Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            seen.append((trainer.global_step, float(trainer.callback_metrics["elbo_validation"])))

    model = make(counts)
    model.train(**{**FAST, "batch_size": 16}, callbacks=[Spy()])
    steps = len(range(0, len(model.train_indices), 16))
    assert [step for step, _ in seen] == [steps * epoch for epoch in range(1, 7)]
    np.testing.assert_allclose([elbo for _, elbo in seen], model.history["elbo_validation"], rtol=1e-5)


def test_a_loss_that_is_not_finite_ends_the_run_and_spares_the_weights(counts):
    model = make(counts)
    model.train(**{**FAST, "max_epochs": 30})
    good = {name: value.clone() for name, value in model.module.named_parameters()}
    model.module.prior = prior_with(lambda kl_BK, posterior: kl_BK * float("nan"))
    with pytest.raises(TrainingError, match=r"not finite.*can be used"):
        model.train(**FAST)
    assert len(model.history) == 31
    assert all(torch.equal(value, good[name]) for name, value in model.module.named_parameters())


def test_a_run_that_was_never_finite_is_diverged(counts):
    model = make(counts)
    model.module.prior = prior_with(lambda kl_BK, posterior: kl_BK * float("nan"))
    model.train(**FAST, on_bad_steps="stop")
    assert model.diagnose(umap=False).verdict == "diverged"


def test_a_gradient_that_is_not_finite_never_reaches_the_weights(counts, caplog):
    def infinite_slope(kl_BK, posterior):
        return kl_BK + (posterior.mean_BK - posterior.mean_BK.detach()).abs().sqrt()

    model = make(counts)
    model.module.prior = prior_with(infinite_slope)
    model.train(**FAST, on_bad_steps="stop")
    assert "The weights or a setting" in caplog.text
    assert all(torch.isfinite(value).all() for value in model.module.parameters())


def test_a_stop_asked_for_by_a_callback_is_kept(counts):
    class Stop(pl.Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            trainer.should_stop = True

    model = make(counts)
    model.train(**FAST, callbacks=[Stop()])
    assert len(model.history) == 1


@pytest.mark.parametrize(("setting", "value"), [("devices", 2), ("precision", "64-true"), ("precision", "16-mixed")])
def test_hardware_that_the_step_cannot_use_is_refused(counts, setting, value):
    with pytest.raises(NotSupportedError, match=setting):
        make(counts).train(**FAST, **{setting: value})


def test_ctrl_c_keeps_history_and_a_usable_model(counts):
    class Interrupt(pl.Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            if trainer.current_epoch == 3:
                raise KeyboardInterrupt

    model = make(counts)
    model.train(**FAST, callbacks=[Interrupt()])
    assert len(model.history) == 4
    assert np.isfinite(model.get_latent_representation()).all()


def test_cells_are_split_disjoint_and_covering(fitted, counts):
    joined = np.sort(np.concatenate([fitted.train_indices, fitted.validation_indices]))
    np.testing.assert_array_equal(joined, np.arange(counts.n_obs))


def test_gene_order_in_training_changes_nothing_but_rounding(counts):
    # the untrained weights of a gene depend on its place, so the bound is compared, not the latent
    bounds = []
    for order in (np.arange(30), np.random.default_rng(0).permutation(30)):
        model = make(counts[:, order].copy())
        model.train(**{**STEPS, "max_epochs": 40})
        bounds.append(model.get_elbo())
    assert bounds[0] == pytest.approx(bounds[1], abs=1.5)


def test_the_scaling_of_continuous_covariates_is_that_of_the_training_cells(fitted, counts):
    ages = counts.obs["age"].to_numpy()[fitted.train_indices]
    assert fitted.schema.continuous[0].mean == pytest.approx(ages.mean())


def test_history_is_a_frame_even_before_training(counts):
    assert isinstance(make(counts).history, pd.DataFrame)


def test_lightnings_early_stopping_and_best_checkpoints_work(counts, tmp_path):
    stop = pl.callbacks.EarlyStopping("elbo_validation", mode="max", patience=2, min_delta=1e6)
    best = pl.callbacks.ModelCheckpoint(tmp_path, monitor="elbo_validation", mode="max", save_top_k=2)
    model = make(counts)
    model.train(**{**FAST, "max_epochs": 20}, callbacks=[stop, best])
    assert len(model.history) == 3
    assert len(list(tmp_path.glob("*.ckpt"))) == 2
    assert float(best.best_model_score) == pytest.approx(model.history["elbo_validation"].max(), rel=1e-5)
    state = torch.load(best.best_model_path, weights_only=False)["state_dict"]
    assert {name.removeprefix("module.") for name in state} == set(model.module.state_dict())


def test_a_logger_sees_every_epoch(counts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = make(counts)
    model.train(**FAST, logger=True)
    (path,) = tmp_path.glob("omicvae_logs/version_0/metrics.csv")
    table = pd.read_csv(path)
    logged = table["elbo_validation"].dropna().to_numpy()
    np.testing.assert_allclose(logged, model.history["elbo_validation"], rtol=1e-5)
    own = pl.loggers.CSVLogger(tmp_path / "own", name="run", version="v")
    model.train(**FAST, logger=own)
    assert (tmp_path / "own/run/v/metrics.csv").exists()


def test_tensorboard_sees_every_epoch_and_its_log_is_judged(counts, tmp_path):
    model = make(counts)
    model.train(**{**FAST, "max_epochs": 30}, logger=pl.loggers.TensorBoardLogger(tmp_path, name="run", version="v"))
    (path,) = (tmp_path / "run/v").glob("*tfevents*")
    curves = [name for name in COLUMNS if name != "cells_per_second"]
    for source in (path, path.parent):
        found = ov.diagnose_history(source)
        np.testing.assert_allclose(found.history[curves], model.history[curves], rtol=1e-5)
        assert found.verdict == ov.diagnose_history(model.history).verdict == "healthy"


def test_early_stopping_counts_what_is_larger_than_min_delta(counts):
    lengths = []
    for min_delta in (0.0, 1e6):
        model = make(counts)
        model.train(**{**FAST, "max_epochs": 60}, early_stopping_patience=4, early_stopping_min_delta=min_delta)
        lengths.append(len(model.history))
    # nothing improves by a million nats: four epochs after the first one that counts
    assert lengths[1] == 60 // 4 + 1 + 4
    assert lengths[1] < lengths[0]


@pytest.mark.parametrize(
    "settings",
    [
        {"lr_schedule": "constant", "learning_rate": 3e-3},
        {"lr_schedule": "plateau", "learning_rate": 3e-3},
        {"optimizer": "adamw", "weight_decay": 0.01},
        {"gradient_clip_norm": 1.0},
        {"ema_decay": 0.98},
    ],
)
def test_every_optimiser_lowers_the_loss(counts, settings):
    model = make(counts)
    model.train(**{**STEPS, "max_epochs": 15}, **settings)
    assert model.history["elbo_validation"].iloc[-1] > model.history["elbo_validation"].iloc[0] + 1
    if settings.get("lr_schedule") == "constant":
        assert model.history["lr"].nunique() == 1


def test_the_default_decay_is_that_of_a_normal_prior_of_the_weights(counts):
    weights = []
    n_train = round(0.9 * counts.n_obs)
    for settings in ({}, {"weight_decay": 50 / n_train}, {"weight_decay": 0.0}):
        model = make(counts)
        model.train(**STEPS, **settings)
        assert len(model.train_indices) == n_train
        weights.append(torch.cat([value.flatten() for value in model.module.parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert weights[0].norm() < weights[2].norm()


def test_few_cells_get_much_dropout(counts):
    assert make(counts).config.architecture.dropout_rate == 0.5
    many = ov.datasets.simulate_counts(500, 20, seed=0)
    assert ov.CVAE(many).config.architecture.dropout_rate == 0.1
    assert ov.CVAE(many, dropout_rate=0.3).config.architecture.dropout_rate == 0.3


@pytest.mark.parametrize("dropout_rate", [0.0, 0.1])
def test_the_moving_average_is_what_is_validated_and_kept(counts, monkeypatch, dropout_rate):
    """The average is worked out here, by its formula, from the weights after each step."""
    model, path = make(counts, dropout_rate=dropout_rate), []

    def note():
        path.append([value.detach().clone() for value in model.module.parameters()])

    class Watched(WeightAverage):
        def __init__(self, weights, decay):
            super().__init__(weights, decay)
            note()

        def update(self):
            super().update()
            note()

    monkeypatch.setattr(plan, "WeightAverage", Watched)
    schedules = {"objective": {"schedule": "constant"}, "lr_schedule": "constant", "learning_rate": 0.05}
    settings = {**FAST, "max_epochs": 1, "batch_size": 12, **schedules}
    model.train(**settings, ema_decay=0.6, early_stopping=False)
    kept = [value.detach().clone() for value in model.module.parameters()]

    average, *steps = path
    assert len(steps) == 9
    for t, weights in enumerate(steps):
        d = min(0.6, (1 + t) / (10 + t))
        average = [d * mean + (1 - d) * now for mean, now in zip(average, weights, strict=True)]
    for value, mean in zip(kept, average, strict=True):
        torch.testing.assert_close(value, mean, rtol=1e-4, atol=1e-6)

    def validated(weights):
        with torch.no_grad():
            for value, new in zip(model.module.parameters(), weights, strict=True):
                value.copy_(new)
        seed = derive_seed(derive_seed(0, "noise", 0), "validation")
        return score_cells(model.module, model.state.store, model.validation_indices, seed=seed).elbo_N.mean()

    reported = model.history["elbo_validation"].iloc[-1]
    assert reported == pytest.approx(validated(average), rel=1e-5)
    assert abs(validated(steps[-1]) - reported) > 0.01  # what the network itself would have been given


def test_validation_figures_are_means_over_all_validation_cells(counts):
    model = make(counts)
    model.train(**{**FAST, "max_epochs": 40}, early_stopping=False)
    best = model.fits[0].best_epoch
    seed = derive_seed(derive_seed(0, "noise", 0), "validation")
    scores = score_cells(model.module, model.state.store, model.validation_indices, seed=seed)
    assert len(scores.elbo_N) == len(model.validation_indices)
    row = model.history.loc[best]
    assert row["recon_validation"] == pytest.approx(scores.reconstruction_N.mean(), rel=1e-5)
    assert row["kl_validation"] == pytest.approx(scores.kl_NK.sum(1).mean(), rel=1e-4)


@pytest.mark.parametrize("target", [2.0, 8.0])
def test_a_target_rate_is_held(counts, target):
    model = make(counts)
    model.train(**{**STEPS, "max_epochs": 75}, objective={"target_rate": target}, early_stopping=False)
    assert model.history["kl_train"].iloc[-8:].mean() == pytest.approx(target, rel=0.1)


def test_a_capacity_is_reached(counts):
    model = make(counts)
    model.train(**{**STEPS, "max_epochs": 50}, objective={"capacity": 5.0}, early_stopping=False)
    assert model.history["kl_train"].iloc[-5:].mean() == pytest.approx(5.0, rel=0.1)
    assert model.history["capacity"].iloc[-1] == 5.0


def test_the_weight_of_total_correlation_lowers_it(counts):
    ends = []
    for weight in (1e-6, 20.0):
        model = make(counts)
        model.train(**{**STEPS, "max_epochs": 25}, objective={"total_correlation": weight})
        ends.append(model.history["total_correlation_train"].iloc[-1])
    assert ends[1] < ends[0] - 0.02


def test_a_setting_that_is_unknown_lists_the_choices(counts):
    with pytest.raises(SettingError, match="'raise', 'stop'"):
        make(counts).train(**FAST, on_bad_steps="ignore")
    with pytest.raises(SettingError, match="'one_cycle', 'plateau', 'constant'"):
        make(counts).train(**FAST, lr_schedule="cosine")
