import copy
import math
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from omicvae.training.callbacks import BestWeights, CheckpointWriter, EpochLog
from omicvae.training.checkpoint import read_checkpoint
from omicvae.training.plan import TrainingPlan


class Run(TrainingPlan):
    """A run whose validation objective is given: one weight, which in epoch e is e, of 2 steps an epoch."""

    def __init__(self, *, weights_final=0, rate_falls=0):
        torch.nn.Module.__init__(self)
        self.scheduled = SimpleNamespace(settled_step=weights_final)
        self.learning_rate = SimpleNamespace(settled_step=rate_falls)
        self.module = torch.nn.Linear(1, 1, bias=False)
        self.rows, self.steps_done, self.average, self.n_cells = [], 0, None, 100

    @contextmanager
    def kept_weights(self):
        self.module.weight.data += 100 * (self.average is not None)
        yield
        self.module.weight.data -= 100 * (self.average is not None)

    def epochs(self, callback, losses, spread=0.0):
        """Run until the losses end or the callback stops; return the number of the last epoch.

        100 cells have the loss; their losses move by ``spread`` from epoch to epoch.
        """
        trainer = SimpleNamespace(should_stop=False)
        noise = torch.Generator().manual_seed(0)
        for loss in losses:
            self.rows.append({"loss_validation": loss})
            moved_N = torch.randn(self.n_cells, generator=noise)
            if spread:
                moved_N = spread * (moved_N - moved_N.mean()) / moved_N.std()
            self.validation_loss_N = loss + moved_N
            self.steps_done += 2
            self.module.weight.data.fill_(len(self.rows))
            callback.on_train_epoch_end(trainer, self)
            if trainer.should_stop:
                break
        return len(self.rows)

    def snapshot(self):
        return {"epochs": len(self.rows), "weight": self.module.weight}

    def notes(self):
        return ["a note"]

    @property
    def weight(self):
        return float(self.module.weight.detach())


def test_the_best_weights_are_given_back():
    run, best = Run(), BestWeights(patience=None)
    assert run.epochs(best, [5.0, 3.0, 3.0, math.nan, 4.0]) == 5
    assert (best.best.loss, best.best_epoch, best.stopped_early) == (3.0, 2, False)
    assert run.weight == 5.0
    best.give(run)
    assert run.weight == 2.0


def test_patience_counts_epochs_since_an_improvement_that_matters():
    run, best = Run(), BestWeights(patience=3, min_delta=0.5)
    # 9.5 is no more than min_delta below 10; the best weights are kept all the same
    assert run.epochs(best, [10.0, 9.5, 9.6, 9.7, 1.0]) == 4
    assert (best.stopped_early, best.best.loss, best.best_epoch) == (True, 9.5, 2)
    best.give(run)
    assert run.weight == 2.0
    run, best = Run(), BestWeights(patience=3, min_delta=0.5)
    assert run.epochs(best, [10.0, 9.8, 9.4, 9.3, 9.2, 9.1, 1.0]) == 6


@pytest.mark.parametrize(("settled", "first"), [(0, 1), (1, 1), (2, 2), (3, 2), (4, 3)])
def test_epochs_count_once_an_update_has_seen_the_final_weights(settled, first):
    run, best = Run(weights_final=settled), BestWeights(patience=None)
    run.epochs(best, [1.0, 2.0, 3.0, 4.0])
    assert (best.best_epoch, best.best.loss) == (first, float(first))


# epochs 1 to 3 with a rate that rises (the first with a weight that does), 4 and 5 while it falls; standard error 0.14
@pytest.mark.parametrize(
    ("losses", "kept"),
    [
        ([1.0, 3.0, 4.0, 3.5, 3.6], 2),  # clearly better than all that came later; the first is of another objective
        ([1.0, 3.0, 4.0, 3.1, 3.6], 4),  # by less than two standard errors
        ([1.0, 3.0, 4.0, 2.9, 3.6], 4),
        ([1.0, 3.0, 4.0, math.nan, math.nan], 2),  # nothing came later
        ([1.0, math.nan, math.nan, math.nan, math.nan], None),  # nothing counts: the weights of the end
    ],
)
def test_weights_of_a_rising_rate_are_kept_only_if_clearly_better(losses, kept):
    run, best = Run(weights_final=2, rate_falls=6), BestWeights(patience=1)
    run.epochs(best, losses, spread=1.0)
    assert best.best_epoch == kept
    best.give(run)
    assert run.weight == (kept or 5.0)
    settled = 4 if losses[3] == losses[3] else None
    assert (best.stopped_early, best.settled.epoch) == (settled is not None, settled)  # patience knows the settled ones


def test_a_run_that_ends_while_the_rate_rises_keeps_its_best_weights_or_their_average():
    for average in (None, object()):
        run, best = Run(weights_final=2, rate_falls=100), BestWeights(patience=1)
        run.average = average
        run.epochs(best, [1.0, 4.0, 3.0, 5.0])
        best.give(run)
        assert (best.best_epoch, run.weight) == (3, 3.0 if average is None else 103.0)


def test_one_validation_cell_has_no_standard_error(recwarn):
    run, best = Run(weights_final=2, rate_falls=6), BestWeights(patience=None)
    run.n_cells = 1
    run.epochs(best, [1.0, 3.0, 4.0, 3.5, 3.6])
    assert best.best_epoch == 4
    assert not recwarn.list


def test_without_an_epoch_that_counts_the_present_weights_stay():
    run, best = Run(weights_final=100), BestWeights(patience=1)
    assert run.epochs(best, [1.0, 2.0, 3.0]) == 3
    best.give(run)
    assert (run.weight, best.best_epoch) == (3.0, None)
    run.average = object()  # their average, where there is one
    best.give(run)
    assert run.weight == 103.0


def test_what_is_kept_is_the_average_where_there_is_one():
    run, best = Run(), BestWeights(patience=None)
    run.average = object()
    run.epochs(best, [2.0, 1.0, 3.0])
    best.give(run)
    assert run.weight == 102.0


def test_a_run_that_stops_before_its_first_step_keeps_nothing():
    run, best = Run(), BestWeights(patience=1)
    best.on_train_epoch_end(SimpleNamespace(should_stop=False), run)
    best.give(run)
    assert (best.best.weights, best.best_epoch) == ({}, None)


def test_a_resumed_run_goes_on_counting():
    run, best = Run(), BestWeights(patience=3)
    run.epochs(best, [3.0, 4.0])
    again = BestWeights(patience=3)
    again.load_state_dict(copy.deepcopy(best.state_dict()))
    assert run.epochs(again, [3.5, 3.4, 1.0]) == 4
    assert (again.best.loss, again.best_epoch, again.stopped_early) == (3.0, 1, True)
    again.give(run)
    assert run.weight == 1.0


def after_epoch(callback, run, epochs, *, planned=5, stop=False):
    """Let the callback see the end of the last of so many epochs."""
    trainer = SimpleNamespace(should_stop=stop, max_epochs=planned)
    run.rows = [{"loss_validation": 1.0, "kl_weight": 0.5}] * epochs
    callback.on_train_epoch_end(trainer, run)


@pytest.mark.parametrize("stop", [None, 3])
def test_checkpoints_follow_every_so_many_epochs_and_the_last(tmp_path, stop):
    run, best = Run(), BestWeights(patience=None)
    best.settled.loss, best.settled.epoch = 2.5, 1
    writer = CheckpointWriter(tmp_path, 2, {"seed": 3})
    writer.callbacks = [best]
    seen = []
    for epochs in range(6):
        after_epoch(writer, run, epochs, stop=epochs == stop)
        seen += [epochs] if (tmp_path / f"epoch-{epochs:06d}.safetensors").exists() else []
        if epochs == stop:
            break
    assert seen == ([2, 4, 5] if stop is None else [2, 3])
    found = read_checkpoint(tmp_path)
    assert (found["ended"], found["settings"]) == (stop is not None, {"seed": 3})
    assert found["run"]["epochs"] == seen[-1]
    assert torch.equal(found["run"]["weight"], run.module.weight)
    again = BestWeights(patience=None)
    again.load_state_dict(found["callbacks"][0])
    assert (again.best.loss, again.best_epoch) == (2.5, 1)


def test_a_full_disk_is_a_warning(tmp_path, monkeypatch, caplog):
    def full(*arguments):
        raise OSError("no space left")

    monkeypatch.setattr("omicvae.training.callbacks.write_checkpoint", full)
    after_epoch(CheckpointWriter(tmp_path, 1, {}), Run(), 4)
    assert f"after epoch 4 could not be written to {tmp_path}: no space left" in caplog.text


@pytest.mark.parametrize("progress_bar", [False, True])
def test_every_epoch_is_a_line_and_if_asked_for_a_step_of_the_bar(progress_bar, caplog, capsys):
    run, log = Run(), EpochLog(progress_bar)
    run.first_epoch = 7
    log.on_train_start(SimpleNamespace(max_epochs=2), run)
    with caplog.at_level("INFO", "omicvae"):
        after_epoch(log, run, 0)
        after_epoch(log, run, 2)
    log.teardown(None, run, "fit")
    first, line = [record.message for record in caplog.records]
    assert first == "no epoch was run"
    assert line.startswith("epoch 008 | train loss=nan")
    assert line.endswith("kl_weight=0.5 | a note")
    assert ("epoch 008" in capsys.readouterr().out.replace("\n", " ")) == progress_bar


@pytest.mark.parametrize(
    "row",
    [
        {"loss_train": 1234.5678, "loss_validation": 1250.1, "kl_train": 12.3456},
        {"loss_train": -3.30123e38, "loss_validation": -3.30123e38, "kl_train": 1.23456e38},
        {"loss_train": 3.7e8, "loss_validation": math.nan, "kl_train": 0.0},
    ],
)
def test_the_bar_has_per_cent_time_left_and_losses_within_80_columns(row, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    run, log = Run(), EpochLog(True)
    run.first_epoch = 9990
    trainer = SimpleNamespace(max_epochs=400, should_stop=False)
    log.on_train_start(trainer, run)
    run.rows = [row | {"kl_weight": 1.0}]
    log.on_train_epoch_end(trainer, run)
    log._bar._bar.update(log._bar._task, completed=200)
    log.teardown(None, run, "fit")
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "epoch" in line]
    assert len(line.rstrip()) <= 80
    assert " 50% ━" in line
    assert "-:--:--" in line or "0:00:0" in line
    assert f"epoch 9990 train {row['loss_train']:.5g}" in line
    assert line.rstrip().endswith(f"KL {row['kl_train']:.4g}")
    assert ("val" in line) == (not math.isnan(row["loss_validation"]))
