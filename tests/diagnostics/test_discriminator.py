"""A discriminator that has won is named, with a remedy: in our own fits and in the logs of other programs."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import omicvae as ov
from omicvae.diagnostics.discriminator import discriminator_won
from omicvae.diagnostics.remedies import WEAKER_DISCRIMINATOR, Remedy

OFF = [0.0] * 4
RISING = np.geomspace(0.7, 6.0, 12)


def history(loss, generator=None):
    table = pd.DataFrame({"discriminator_loss_train": loss}, dtype=float)
    return table if generator is None else table.assign(generator_loss_train=generator)


@pytest.mark.parametrize("chance", [0.25, 0.69, 1.39, 2.0])
def test_a_loss_far_below_chance_beside_a_generator_that_loses(chance):
    won = chance * np.geomspace(1, 0.05, 12)
    (said,) = discriminator_won(history([*OFF, *won], [*OFF, *RISING]))
    assert "has won" in said
    assert "0.7 to" in said
    assert discriminator_won(history(won))  # the other side is not logged
    assert discriminator_won(history([*won, *OFF]))  # a loss of 0 after the start is the end of learning
    assert not discriminator_won(history(won, RISING[::-1]))  # the generator keeps up
    assert not discriminator_won(history(chance * np.linspace(1, 0.4, 12), RISING))


def test_a_loss_that_is_logged_with_its_weight_and_a_generator_that_is_logged_later():
    assert not discriminator_won(history(0.01 * np.linspace(1.39, 1.2, 12)))
    late = [np.nan, *RISING[1:]]
    (said,) = discriminator_won(history(np.geomspace(1, 0.01, 12), late))
    assert f"rose from {RISING[1]:.3g} to" in said


def test_what_cannot_tell():
    assert not discriminator_won(history(OFF))
    assert not discriminator_won(history([*OFF, 0.01, 0.01], [*OFF, 1.0, 2.0]))  # no course
    assert not discriminator_won(history(-np.geomspace(1, 0.001, 12), RISING))  # a critic
    assert not discriminator_won(pd.DataFrame({"loss_train": RISING}))


@pytest.mark.parametrize(
    "form", ["epoch {} loss_D: {:.4f} loss_G: {:.4f}", "Epoch {}: D loss = {:.4f}, G loss = {:.4f}"]
)
def test_logs_of_other_programs(form):
    losses = zip(np.geomspace(0.69, 0.003, 12), RISING, strict=True)
    lines = [form.format(epoch, *both) + f" loss: {9 - epoch / 9:.3f} kl: 3.1" for epoch, both in enumerate(losses, 1)]
    diagnosis = ov.diagnose_history("\n".join(lines))
    assert diagnosis.history["generator_loss_train"].iloc[-1] == pytest.approx(6.0)
    assert any("the discriminator has won" in remark for remark in diagnosis.remarks)
    assert diagnosis.remedies[-1] is WEAKER_DISCRIMINATOR


def test_both_sides_are_recorded_and_a_victory_is_named(counts):
    ov.CVAE.setup_anndata(counts, batch_key="batch")
    model = ov.CVAE(counts, "nb", 3, n_hidden=16)
    goal = {"discriminator": {"start": 0.4, "n_hidden": 16, "updates": 3}, "adversary": {"covariates": ["batch"]}}
    model.train(10, objective=goal, progress_bar=False, accelerator="cpu")
    generator = model.history["generator_loss_train"]
    assert (generator[:4] == 0).all()
    assert (generator[4:] != 0).all()
    assert (model.history["encoder_loss_train"] >= 0).all()  # a divergence
    assert not any("has won" in remark for remark in model.diagnose(umap=False).remarks)
    fit = model.fits[-1]
    lost = {"discriminator_loss_train": [*OFF, *[0.01] * 6], "generator_loss_train": [*OFF, 1, 2, 3, 4, 5, 6]}
    model.fits[-1] = replace(fit, history=fit.history.assign(**lost))
    diagnosis = model.diagnose(umap=False)
    assert any("has won" in remark for remark in diagnosis.remarks)
    remedy = next(remedy for remedy in diagnosis.remedies if remedy["discriminator"].get("learning_rate") == 1e-4)
    # no wider than it was
    assert remedy["discriminator"] == {"start": 0.4, "n_hidden": 16, "updates": 1, "learning_rate": 1e-4}
    assert remedy["adversary"] == goal["adversary"]


def test_a_discriminator_that_is_weak_already_is_made_no_stronger():
    run = Remedy({"discriminator": {"learning_rate": 1e-5}}, "")
    assert WEAKER_DISCRIMINATOR.of_run(run)["discriminator"]["learning_rate"] == 1e-5
