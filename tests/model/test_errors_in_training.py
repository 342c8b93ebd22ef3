"""An error inside ``train`` leaves the model as it was: half-trained weights are nobody's result."""

import lightning.pytorch as pl
import pandas as pd
import pytest
import torch

import omicvae as ov

from .conftest import FAST, SETUP


class Fails(pl.Callback):
    def __init__(self, hook, epoch=3):
        def fail(trainer, *arguments, **named):
            if trainer.current_epoch == epoch:
                raise RuntimeError("a callback of the user's")

        setattr(self, hook, fail)


def weights_of(model):
    return {name: value.clone() for name, value in model.module.state_dict().items()}


def assert_same(weights, others):
    assert all(torch.equal(weights[name], others[name]) for name in weights)


@pytest.fixture
def fresh(counts):
    ov.CVAE.setup_anndata(counts, **SETUP)
    return ov.CVAE(counts, "nb", 3, n_hidden=16)


@pytest.mark.parametrize("hook", ["on_train_epoch_end", "on_train_batch_start", "on_validation_end"])
def test_a_model_that_was_not_trained_is_untrained_again(fresh, hook):
    before = weights_of(fresh)
    with pytest.raises(RuntimeError, match="user's") as error:
        fresh.train(**FAST, callbacks=[Fails(hook)])
    assert "as it was before" in error.value.__notes__[0]
    assert_same(weights_of(fresh), before)
    assert not fresh.fits
    assert fresh.train_indices is None
    assert not fresh.is_trained_
    fresh.train(**FAST)
    untouched = ov.CVAE(fresh.adata, "nb", 3, n_hidden=16)
    untouched.train(**FAST)
    assert_same(weights_of(fresh), weights_of(untouched))


@pytest.mark.parametrize("fresh_weights", [False, True])
def test_a_trained_model_stays_as_it_was(fitted, fresh_weights):
    before, history, latent = weights_of(fitted), fitted.history, fitted.get_latent_representation()
    moments = {name: value.clone() for name, value in fitted.state.moments.items()}
    with pytest.raises(RuntimeError, match="user's"):
        fitted.train(**FAST, fresh=fresh_weights, callbacks=[Fails("on_train_epoch_end")])
    assert_same(weights_of(fitted), before)
    assert_same(fitted.state.moments, moments)
    pd.testing.assert_frame_equal(fitted.history, history)
    assert (fitted.get_latent_representation() == latent).all()
    assert not fitted.module.training


def test_an_argument_that_lightning_refuses_changes_nothing(fitted):
    before = weights_of(fitted)
    with pytest.raises(Exception, match="accumulate"):
        fitted.train(**FAST, fresh=True, accumulate_grad_batches="two")
    assert_same(weights_of(fitted), before)
    assert len(fitted.history) == FAST["max_epochs"]


def test_checkpoints_keep_what_an_error_took(fresh, tmp_path):
    with pytest.raises(RuntimeError):
        fresh.train(**FAST, checkpoint_dir=tmp_path, callbacks=[Fails("on_train_batch_start")])
    fresh.train(max_epochs=FAST["max_epochs"], resume_from=tmp_path, callbacks=[pl.Callback()], progress_bar=False)
    untouched = ov.CVAE(fresh.adata, "nb", 3, n_hidden=16)
    untouched.train(**FAST)
    assert_same(weights_of(fresh), weights_of(untouched))
