"""Remedies that depend on the size of a fit."""

import pytest

from omicvae.diagnostics.remedies import longer, smaller, target_rate


@pytest.mark.parametrize(("n_latent", "half"), [(2, 2), (3, 2), (5, 2), (32, 16)])
def test_half_the_dimensions_and_two_at_least(n_latent, half):
    assert smaller(n_latent).model["n_latent"] == half


@pytest.mark.parametrize(("n_latent", "rate"), [(2, 2.0), (4, 2.0), (5, 2.5), (32, 16.0)])
def test_half_a_nat_for_each_dimension_and_two_at_least(n_latent, rate):
    assert target_rate(n_latent)["target_rate"] == rate


@pytest.mark.parametrize(("epochs", "planned"), [(0, 20), (10, 20), (11, 22), (400, 800)])
def test_twice_the_epochs_and_twenty_at_least(epochs, planned):
    assert longer(epochs).arguments == {"fresh": True, "max_epochs": planned}
