"""Fits beside each other in threads are those one after the other, and the user's generators stay as they are."""

import logging
import random
import warnings
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback

import omicvae as ov

from .conftest import SETUP

TRAIN = {"max_epochs": 4, "progress_bar": False, "accelerator": "cpu", "batch_size": 30}
KINDS = {
    "explicit": ({"dropout_rate": 0.3}, {}),
    "autograd": ({"activation": "silu", "prior": "vamp", "covariate_encoding": "embedding"}, {}),
    "adversaries": ({}, {"objective": {"warmup": 0.1, "adversary": {"start": 0.1}, "discriminator": {"start": 0.2}}}),
}


def fit(adata, kind, seed, folder=None):
    model_settings, train_settings = KINDS[kind]
    ov.CVAE.setup_anndata(adata, **SETUP)
    model = ov.CVAE(adata, "nb", 3, n_hidden=16, seed=seed, **model_settings)
    model.train(**TRAIN, **train_settings, checkpoint_dir=folder)
    return model


def answers(model):
    cells = model.posterior_predictive_sample().todense()
    numbers = (model.get_latent_representation(give_mean=False), model.get_elbo(return_mean=False), cells)
    return [*numbers, *(value.numpy() for value in model.module.state_dict().values())]


@pytest.mark.parametrize("kind", KINDS)
def test_fits_in_threads_are_those_one_after_the_other(counts, kind, tmp_path):
    seeds = (1, 2, 1)
    one_by_one = [answers(fit(counts.copy(), kind, seed)) for seed in seeds]

    def work(i):
        torch.rand(3)  # the user's own
        return answers(fit(counts.copy(), kind, seeds[i], tmp_path / str(i)))

    with ThreadPoolExecutor(3) as pool:
        beside = list(pool.map(work, range(3)))
    for one, other in zip(one_by_one, beside, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_what_the_process_has_one_of_is_given_back_by_the_last_thread(counts):
    """Runs that overlap would each give back what the other had set."""
    log, filters, turns = logging.getLogger("lightning.pytorch"), list(warnings.filters), [Event() for _ in range(3)]

    class Overlap(Callback):
        def __init__(self, says, waits_for):
            self.says, self.waits_for = says, waits_for

        def on_train_start(self, trainer, plan):
            turns[self.says].set()
            assert turns[self.waits_for].wait(60)

    def first():
        torch.set_num_threads(2)
        ov.CVAE(counts.copy(), "nb", 2).train(**TRAIN, callbacks=Overlap(0, 1))
        turns[2].set()
        assert torch.get_num_threads() == 2

    def second():
        assert turns[0].wait(60)
        ov.CVAE(counts.copy(), "nb", 2).train(**TRAIN, callbacks=Overlap(1, 2))

    level, n_threads = log.level, torch.get_num_threads()
    torch.set_default_dtype(torch.float64)
    try:
        with ThreadPoolExecutor(2) as pool:
            for run in [pool.submit(first), pool.submit(second)]:
                run.result()
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_num_threads(n_threads)
    assert log.level == level
    assert warnings.filters == filters


@pytest.mark.parametrize("kind", KINDS)
def test_the_users_generators_stay_as_they_are_and_change_nothing(counts, kind, tmp_path):
    def states():
        name, keys, *rest = np.random.get_state()  # noqa: NPY002  # the user's
        return torch.get_rng_state().tolist(), name, keys.tolist(), rest, random.getstate()

    made = {}
    calls = {
        "train": lambda: made.update(model=fit(counts, kind, 0)),
        "latent": lambda: made["model"].get_latent_representation(give_mean=False),
        "write_latent": lambda: made["model"].write_latent(),
        "elbo": lambda: made["model"].get_elbo(return_mean=False),
        "marginal": lambda: made["model"].get_marginal_ll(n_mc_samples=3, return_mean=False),
        "expression": lambda: made["model"].get_normalized_expression(n_samples=2, return_numpy=True),
        "rows": lambda: made["model"].get_normalized_expression(n_samples_overall=50),
        "sample": lambda: made["model"].posterior_predictive_sample(n_samples=2).todense(),
        "differences": lambda: made["model"].differential_expression(groupby="batch", group1="b1", group2="b2"),
        "diagnose": lambda: made["model"].diagnose().evidence["value"],
        "report": lambda: made["model"].report(tmp_path / "report.html").stat().st_size > 0,
        "save": lambda: made["model"].save(tmp_path / "m", overwrite=True),
        "load": lambda: ov.CVAE.load(tmp_path / "m", adata=counts).get_elbo(),
        "rescue": lambda: ov.rescue(made["model"], max_attempts=1, progress_bar=False).attempts[-1].elbo,
    }
    if kind != "explicit":  # what differs is how they are trained, and what is sampled from them
        calls = {name: calls[name] for name in ("train", "sample")}
    for name, call in calls.items():
        found = []
        for seed in (0, 1):
            torch.manual_seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            random.seed(seed)
            before = states()
            found.append(call())
            assert states() == before, name
        if found[0] is not None:
            np.testing.assert_array_equal(*map(np.asarray, found), err_msg=name)
