"""Remedies of a run: its own settings with the changes that may help, and its continuation where it was short."""

from dataclasses import replace

import lightning.pytorch as pl
import pytest

import omicvae as ov
from omicvae.diagnostics.remedies import SLOWER, adversary, longer
from omicvae.model.inputs import gather_inputs
from omicvae.model.own_settings import for_this_run
from omicvae.objective import Objective

GOAL = {
    "beta": 4.0,
    "total_correlation": 2.0,
    "discriminator": {"start": 0.2, "weight": 0.5},
    "adversary": {"covariates": ["donor"]},
}
RUN = {"batch_size": 32, "weight_decay": 0.0, "train_size": 0.8}
QUIET = {"progress_bar": False, "accelerator": "cpu"}


@pytest.fixture
def model(counts):
    ov.CVAE.setup_anndata(counts, batch_key="batch", labels_key="label", categorical_covariate_keys=["donor"])
    return ov.CVAE(counts, "zinb", 3, n_hidden=16, prior="conditional", dispersion="gene-cell", seed=2)


def test_a_remedy_keeps_all_that_it_does_not_change(model):
    model.train(3, objective=GOAL, **RUN, **QUIET)
    remedies = model.diagnose(umap=False).remedies
    assert len(remedies) > 3
    for remedy in remedies:
        goal = Objective.parse(remedy)
        assert goal.total_correlation == 2.0
        assert goal.discriminator.weight == 0.5
        assert goal.adversary.covariates == ("donor",)
        assert {name: remedy.arguments[name] for name in RUN} == RUN
        # a line is run as it stands
        if remedy.model:
            again = eval(remedy.line.partition(".train(")[0], {"ov": ov, "adata": model.adata})
            assert again.config.likelihood == "zinb"
            assert again.config.prior == "conditional"
            assert again.config.dispersion == "gene-cell"
            assert again.config.seed == 2
    slower = next(remedy for remedy in remedies if "learning_rate" in remedy.arguments)
    assert slower["beta"] == 4.0  # only the rate was in question


def test_a_short_run_is_offered_to_go_on(model, tmp_path):
    model.train(3, objective=GOAL, **RUN, **QUIET)
    model.save(tmp_path / "model")
    for fit in (model, ov.CVAE.load(tmp_path / "model", adata=model.adata)):
        (onward,) = (remedy for remedy in fit.diagnose(umap=False).remedies if remedy.goes_on)
        before, rate = len(fit.history), fit.history["kl_weight"].iloc[-1]
        fit.train(objective=onward, **onward.arguments, **QUIET)
        assert len(fit.history) == before + onward.arguments["max_epochs"] > before
        assert (fit.history["kl_weight"] == rate)[before:].all()  # no second warm-up
        assert fit.objective["discriminator"]["weight"] == 0.5


class Interrupt(pl.Callback):
    """Ctrl-C in the second epoch, once."""

    stopped = False

    def on_train_epoch_end(self, trainer, pl_module):
        if trainer.current_epoch == 1 and not self.stopped:
            self.stopped = True
            raise KeyboardInterrupt


@pytest.mark.parametrize("objective", [None, {"beta": 2.0, "discriminator": {"start": 0.0}}])
def test_an_interrupted_run_goes_on_from_its_checkpoints(model, objective, tmp_path):
    folder = tmp_path / "run"
    model.train(8, objective=objective, batch_size=32, checkpoint_dir=folder, callbacks=Interrupt(), **QUIET)
    assert len(model.history) == 2
    first = model.diagnose(umap=False).remedies[0]
    assert first.arguments == {"resume_from": str(folder)}
    assert str(folder) in first.line
    again = ov.CVAE(model.adata, **first.model)
    assert again.config == model.config
    again.train(objective=first, **first.arguments, callbacks=pl.Callback(), **QUIET)
    assert len(again.history) == 8


def test_an_interrupted_run_without_checkpoints_gets_the_epochs_that_it_lacks(model):
    model.train(8, batch_size=32, callbacks=Interrupt(), **QUIET)
    first = model.diagnose(umap=False).remedies[0]
    assert first.arguments == {"batch_size": 32, "max_epochs": 6}
    assert first.goes_on


@pytest.mark.parametrize("checkpoints", [True, False])
def test_a_second_run_that_was_cut_off_keeps_its_settings(model, checkpoints, tmp_path):
    model.train(2, batch_size=32, train_size=0.8, **QUIET)
    pace = {"learning_rate": 2e-3, "lr_schedule": "constant", "early_stopping_patience": 7}
    further = {"checkpoint_dir": tmp_path / "run"} if checkpoints else {}
    model.train(8, batch_size=16, **pace, **further, callbacks=Interrupt(), **QUIET)
    # checkpoints of it are no use to a new model, which was not trained before
    (onward,) = (remedy for remedy in model.diagnose(umap=False).remedies if remedy.goes_on)
    assert onward.arguments == {"batch_size": 16, **pace, "max_epochs": 6}
    assert gather_inputs(model.state, None, 0).earlier_epochs == 2  # whose setbacks are past
    model.train(objective=onward, **onward.arguments, **QUIET)
    assert len(model.history) == 10


class Own:
    """A schedule that no line can hold."""

    settled_step = 0

    def __call__(self, step):
        return 1.0


def test_a_run_with_an_own_schedule_goes_on_from_its_weights(model, tmp_path):
    goal = Objective(schedule=Own())
    model.train(8, objective=goal, batch_size=32, checkpoint_dir=tmp_path / "run", callbacks=Interrupt(), **QUIET)
    first = model.diagnose(umap=False).remedies[0]
    assert first.goes_on
    model.train(objective=first, **first.arguments, **QUIET)
    assert len(model.history) == 8


class AtOnce(pl.Callback):
    """Ctrl-C before the first epoch is over, once."""

    stopped = False

    def on_train_epoch_start(self, trainer, pl_module):
        if not self.stopped:
            self.stopped = True
            raise KeyboardInterrupt


def test_a_run_that_was_cut_off_before_its_first_epoch(model):
    model.train(8, batch_size=32, callbacks=AtOnce(), **QUIET)
    assert model.history.empty
    remedies = model.diagnose(umap=False).remedies
    assert remedies
    assert not any(remedy.goes_on for remedy in remedies)
    model.train(3, batch_size=32, **QUIET)
    assert model.objective["schedule"] == "linear"
    assert len(model.history) == 3


def test_slower_is_slower_than_the_run_was(model):
    model.train(1, learning_rate=6e-4, gradient_clip_norm=2.0, batch_size=32, **QUIET)
    found = replace(model.diagnose(umap=False), verdict="unstable", remedies=(SLOWER,))
    slower = for_this_run(model.state, found).remedies[0]
    assert slower.arguments["learning_rate"] == 2e-4
    assert slower.arguments["gradient_clip_norm"] == 2.0


def test_remedies_that_come_to_the_same_line_are_one(model):
    model.train(1, objective={"beta": 1.0}, batch_size=32, **QUIET)
    both = longer(30, kl_stays=True), longer(30)
    found = replace(model.diagnose(umap=False), verdict="collapsed", remedies=both)
    lines = [remedy.line for remedy in for_this_run(model.state, found).remedies]
    assert len(lines) == len(set(lines))
    model.train(1, objective={"beta": 3.0}, batch_size=32, fresh=True, **QUIET)
    betas = [remedy["beta"] for remedy in for_this_run(model.state, found).remedies if "fresh" in remedy.arguments]
    assert sorted(betas) == [1.0, 3.0]


def test_an_adversary_is_offered_for_what_it_does_not_yet_remove(model):
    model.train(1, objective={"adversary": {"covariates": ["donor"], "weight": 2.0}}, batch_size=32, **QUIET)
    found = replace(model.diagnose(umap=False), verdict="healthy", remedies=(adversary(["batch"]),))
    (remedy,) = for_this_run(model.state, found).remedies
    assert remedy["adversary"] == {"weight": 2.0, "covariates": ["batch", "donor"]}
    assert for_this_run(model.state, replace(found, remedies=(adversary(["donor"]),))).remedies == ()
