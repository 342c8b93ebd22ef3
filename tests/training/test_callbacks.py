import copy
import math
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from omicvae.training.callbacks import BestWeights
from omicvae.training.plan import TrainingPlan


class Run(TrainingPlan):
    """A run whose validation objective is given: one weight, which in epoch e is e, of 2 steps an epoch."""

    settled_step = 0

    def __init__(self):
        torch.nn.Module.__init__(self)
        self.module = torch.nn.Linear(1, 1, bias=False)
        self.rows, self.steps_done, self.average = [], 0, None

    @contextmanager
    def kept_weights(self):
        self.module.weight.data += 100 * (self.average is not None)
        yield
        self.module.weight.data -= 100 * (self.average is not None)

    def epochs(self, callback, losses):
        """Run until the losses end or the callback stops; return the number of the last epoch."""
        trainer = SimpleNamespace(should_stop=False)
        for loss in losses:
            self.rows.append({"loss_validation": loss})
            self.steps_done += 2
            self.module.weight.data.fill_(len(self.rows))
            callback.on_train_epoch_end(trainer, self)
            if trainer.should_stop:
                break
        return len(self.rows)

    @property
    def weight(self):
        return float(self.module.weight.detach())


def test_the_best_weights_are_given_back():
    run, best = Run(), BestWeights(patience=None)
    assert run.epochs(best, [5.0, 3.0, 3.0, math.nan, 4.0]) == 5
    assert (best.best, best.best_epoch, best.stopped_early) == (3.0, 2, False)
    assert run.weight == 5.0
    best.give(run)
    assert run.weight == 2.0


def test_patience_counts_epochs_since_an_improvement_that_matters():
    run, best = Run(), BestWeights(patience=3, min_delta=0.5)
    # 9.5 is no more than min_delta below 10; the best weights are kept all the same
    assert run.epochs(best, [10.0, 9.5, 9.6, 9.7, 1.0]) == 4
    assert (best.stopped_early, best.best, best.best_epoch) == (True, 9.5, 2)
    best.give(run)
    assert run.weight == 2.0
    run, best = Run(), BestWeights(patience=3, min_delta=0.5)
    assert run.epochs(best, [10.0, 9.8, 9.4, 9.3, 9.2, 9.1, 1.0]) == 6


@pytest.mark.parametrize(("settled", "first"), [(0, 1), (1, 1), (2, 2), (3, 2), (4, 3)])
def test_epochs_count_once_an_update_has_seen_the_final_weights(settled, first):
    run, best = Run(), BestWeights(patience=None)
    run.settled_step = settled
    run.epochs(best, [1.0, 2.0, 3.0, 4.0])
    assert (best.best_epoch, best.best) == (first, float(first))


def test_without_an_epoch_that_counts_the_present_weights_stay():
    run, best = Run(), BestWeights(patience=1)
    run.settled_step = 100
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
    assert (best.weights, best.best_epoch) == ({}, None)


def test_a_resumed_run_goes_on_counting():
    run, best = Run(), BestWeights(patience=3)
    run.epochs(best, [3.0, 4.0])
    again = BestWeights(patience=3)
    again.load_state_dict(copy.deepcopy(best.state_dict()))
    assert run.epochs(again, [3.5, 3.4, 1.0]) == 4
    assert (again.best, again.best_epoch, again.stopped_early) == (3.0, 1, True)
    again.give(run)
    assert run.weight == 1.0
