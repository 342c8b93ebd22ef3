import numpy as np
import pytest

from omicvae._core.errors import DataError
from omicvae.metrics import linear_cka, neighbour_overlap


@pytest.fixture
def latents():
    return np.random.default_rng(0).normal(size=(400, 4)) * [4, 2, 1, 0.5]


def test_rotation_shift_and_scale_change_nothing(latents):
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0]
    assert linear_cka(latents, 1e-30 * (latents @ rotation + 3)) == pytest.approx(1)
    assert linear_cka(latents, latents[:, ::-1]) == pytest.approx(1)


def test_it_is_the_published_formula(latents):
    other = np.column_stack([latents[:, 0] ** 2, latents[:, 1], np.random.default_rng(2).normal(size=400)])
    x, y = latents - latents.mean(0), other - other.mean(0)
    gram_x, gram_y = x @ x.T, y @ y.T  # its other form, by inner products of cells
    expected = (gram_x * gram_y).sum() / np.sqrt((gram_x**2).sum() * (gram_y**2).sum())
    assert linear_cka(latents, other) == pytest.approx(expected)
    assert linear_cka(other, latents) == pytest.approx(expected)


def test_unrelated_and_constant_latents(latents):
    noise = np.random.default_rng(3).normal(size=(400, 4))
    assert linear_cka(latents, noise) < 0.03
    assert np.isnan(linear_cka(latents, np.ones((400, 2))))


def test_dimensions_without_variance_do_not_count(latents):
    assert linear_cka(latents, np.column_stack([latents, np.zeros((400, 6))])) == pytest.approx(1)


def test_neighbours_of_two_embeddings(latents):
    assert (neighbour_overlap(latents, latents * 3 + 1) == 1).all()
    assert neighbour_overlap(latents, np.random.default_rng(4).normal(size=(400, 2))).mean() < 0.1
    with pytest.raises(DataError, match="16 cells, got 10"):
        neighbour_overlap(latents[:10], latents[:10])
    with pytest.raises(DataError, match="a row for each of the 400"):
        neighbour_overlap(latents, latents[:10])
