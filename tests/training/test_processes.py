"""Fits beside and after one another: threads, forked children, other processes, and cores that are not ours alone."""

import multiprocessing
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

import omicvae as ov
from omicvae._core import native


def fitted(seed=0):
    adata = ov.datasets.simulate_counts(400, 150, n_types=3, seed=0)
    ov.CVAE.setup_anndata(adata)
    model = ov.CVAE(adata, "nb", seed=seed, n_hidden=64)
    model.train(3, progress_bar=False, accelerator="cpu")
    return model


def trained_latents(seed):
    return fitted(seed).get_latent_representation()


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_forked_after_a_fit_gives_its_parents_numbers(two_threads):
    model = fitted()
    torch.rand(400, 400) @ torch.rand(400, 400)  # torch's own threads are at work, too
    with multiprocessing.get_context("fork").Pool(2) as pool:
        latents = pool.apply_async(model.get_latent_representation).get(timeout=120)
        trained = pool.map_async(trained_latents, [0, 1]).get(timeout=120)
    np.testing.assert_array_equal(latents, model.get_latent_representation())
    for seed, latent in enumerate(trained):
        np.testing.assert_array_equal(latent, trained_latents(seed))


def test_fits_in_threads_are_those_in_a_row(two_threads):
    expected = [trained_latents(seed) for seed in (0, 1)]
    with ThreadPoolExecutor(2) as pool:
        assert [latent.shape for latent in pool.map(trained_latents, (0, 1))] == [e.shape for e in expected]
    assert torch.get_num_threads() == 2


def test_loky_workers_train():
    joblib = pytest.importorskip("joblib")
    program = textwrap.dedent(
        """
        import joblib, omicvae as ov

        def latent(seed):
            model = ov.CVAE(ov.datasets.simulate_counts(100, 50, n_types=2, seed=0), "nb", seed=seed, n_hidden=16)
            model.train(2, progress_bar=False, accelerator="cpu")
            return model.get_latent_representation().shape

        first = latent(0)
        print(joblib.Parallel(2, backend="loky")(joblib.delayed(latent)(seed) for seed in (0, 1)))
        """
    )
    found = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=300)
    assert "[(100, 10), (100, 10)]" in found.stdout, found.stderr
    assert joblib is not None


def test_an_error_in_any_part_reaches_the_caller(two_threads):
    def part(part, parts, done):
        done.append(part)
        if part == 1:
            raise ValueError("of part 1")

    done = []
    with pytest.raises(ValueError, match="of part 1"):
        native.run_functions(part, 1000, done)
    assert sorted(done) == [0, 1]
    done.clear()
    native.run_functions(lambda part, parts, done: done.append((part, parts)), 1000, done)  # its threads live on
    assert sorted(done) == [(0, 2), (1, 2)]


def test_own_threads_nest_and_leave_torchs_number(two_threads):
    with native.own_threads():
        with native.own_threads():
            assert (torch.get_num_threads(), native.n_threads()) == (1, 2)
        assert (torch.get_num_threads(), native.n_threads()) == (1, 2)
    assert (torch.get_num_threads(), native.n_threads()) == (2, 2)
