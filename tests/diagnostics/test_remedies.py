"""Remedies that depend on the size of a fit."""

import ast

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from omicvae._core import SettingError
from omicvae.diagnostics.base_diagnosis import _python
from omicvae.diagnostics.remedies import (
    DEARER,
    FREE_BITS,
    LOWER_BETA,
    RAMP,
    SLOWER,
    SMALLEST,
    Remedy,
    adversary,
    longer,
    smaller,
    target_rate,
)
from omicvae.objective import Objective

REMEDIES = (
    RAMP,
    FREE_BITS,
    LOWER_BETA,
    DEARER,
    SLOWER,
    SMALLEST,
    longer(30),
    longer(30, kl_stays=True),
    target_rate(10),
)
NETWORKS = st.fixed_dictionaries(
    {},
    optional={
        "weight": st.floats(0.1, 5),
        "start": st.floats(0, 0.8),
        "ramp": st.floats(0, 0.1),
        "updates": st.integers(1, 9),
    },
)
OBJECTIVES = st.fixed_dictionaries(
    {},
    optional={
        "beta": st.floats(0, 100),
        "schedule": st.sampled_from(["constant", "linear", "cosine", "sigmoid", "cyclical"]),
        "warmup": st.floats(0, 0.9),
        "warmup_steps": st.integers(0, 50),
        "period": st.integers(2, 50),
        "free_bits": st.floats(0, 5),
        "capacity": st.floats(0, 50),
        "target_rate": st.floats(0.1, 50),
        "reduction": st.sampled_from(["sum", "mean"]),
        "total_correlation": st.floats(0, 9),
        "discriminator": NETWORKS,
        "adversary": NETWORKS,
    },
)


@pytest.mark.parametrize(("n_latent", "half"), [(2, 2), (3, 2), (5, 2), (32, 16)])
def test_half_the_dimensions_and_two_at_least(n_latent, half):
    assert smaller(n_latent).model["n_latent"] == half


@pytest.mark.parametrize(("n_latent", "rate"), [(2, 2.0), (4, 2.0), (5, 2.5), (32, 16.0)])
def test_half_a_nat_for_each_dimension_and_two_at_least(n_latent, rate):
    assert target_rate(n_latent)["target_rate"] == rate


@pytest.mark.parametrize(("epochs", "planned"), [(0, 20), (10, 20), (11, 22), (400, 800)])
def test_twice_the_epochs_and_twenty_at_least(epochs, planned):
    assert longer(epochs).arguments == {"fresh": True, "max_epochs": planned}


@given(st.text(st.sampled_from("ab ,-'\"\\/"), min_size=60, max_size=200), st.integers(1, 4))
def test_the_call_of_a_remedy_runs_however_it_is_broken(text, times):
    remedy = Remedy({"adversary": {"covariates": [text] * times}}, "", {"fresh": True, "resume_from": text})
    assert ast.parse("\n".join(_python(remedy))).body[0].value.keywords[1].value.value == text


@given(OBJECTIVES, st.sampled_from([*REMEDIES, adversary(["batch"])]))
def test_a_remedy_is_the_runs_own_objective_with_its_changes(settings, remedy):
    try:
        own = Objective.parse(settings)
    except SettingError:
        assume(False)
    run = Remedy(own.given(), "", {"batch_size": 32, "max_epochs": 40})
    remedy_of_run = remedy.of_run(run)
    goal = Objective.parse(remedy_of_run)
    goal.scheduled(100, 5, n_genes=20, n_latent=5)
    assert goal.discriminator == own.discriminator
    assert goal.total_correlation == own.total_correlation
    assert remedy_of_run.arguments["batch_size"] == 32
    assert remedy.kl_stays or dict(remedy).items() <= remedy_of_run.settings.items()
    if "adversary" not in remedy:
        assert goal.adversary == own.adversary
    if remedy.kl_stays:
        names = ("beta", "schedule", "warmup", "period", "free_bits", "capacity", "target_rate", "reduction")
        assert [getattr(goal, name) for name in names] == [getattr(own, name) for name in names]


def test_the_length_of_a_run_stays_where_settings_rest_on_it():
    run = Remedy({"discriminator": {"start_epochs": 30}, "warmup_epochs": 5}, "", {"max_epochs": 40})
    assert RAMP.of_run(run).arguments == {"fresh": True, "max_epochs": 40}
    assert longer(40).of_run(run).arguments["max_epochs"] == 80
    in_epochs = Remedy({"warmup_epochs": 5}, "", {"max_epochs": 40})
    assert "max_epochs" not in RAMP.of_run(in_epochs).arguments  # the warm-up is another one
    assert SLOWER.of_run(in_epochs).arguments["max_epochs"] == 40
