"""The compiled kernels against the reference, which torch computes entry by entry."""

import numpy as np
import pytest
import torch

from omicvae._core import Batch, HeadOutput, SparseRows
from omicvae.likelihoods import LIKELIHOODS, Likelihood

from ..reference import dense
from .likelihood_cases import CASES, VARIANTS, B, G, make, mostly_positive, replace

variants = pytest.mark.parametrize(("name", "dispersion", "size_factor"), VARIANTS)
fillings = pytest.mark.parametrize("fill", [lambda batch: batch, mostly_positive], ids=["sparse", "dense"])


def value_and_gradients(model, batch, heads, weight_B):
    value_B = model.cell_log_prob(batch, heads)
    tensors = (*heads.values(), *model.parameters())
    return value_B.detach(), torch.autograd.grad((value_B * weight_B).sum(), tensors)


def assert_agrees_with_the_reference(model, batch, heads, weight_B):
    found = value_and_gradients(model, batch, heads, weight_B)
    expected = value_and_gradients(model, dense(batch), heads, weight_B)
    assert found[0].dtype == expected[0].dtype == torch.float64
    torch.testing.assert_close(found[0], expected[0], rtol=2e-6, atol=5e-4)
    for a, b in zip(found[1], expected[1], strict=True):
        # in units of the largest slope: sums over cells round as their largest terms do
        torch.testing.assert_close(a, b, rtol=1e-4, atol=2e-6 * (1 + float(b.abs().max())))


@variants
@fillings
@pytest.mark.parametrize("weights", ["mean", "equal", "unequal"])
def test_value_and_gradient_agree_with_the_reference(name, dispersion, size_factor, fill, weights):
    model, batch, heads = make(name, dispersion, size_factor, dtype=torch.float32)
    batch = fill(batch)
    weight_B = {
        "mean": torch.full((B,), -1 / B),
        "equal": torch.full((B,), 2.0),
        "unequal": torch.linspace(-1, 3, B),
    }[weights]
    assert_agrees_with_the_reference(model, batch, heads, weight_B)


@variants
def test_many_cells_are_shared_out_without_a_difference(name, dispersion, size_factor):
    model, batch, heads = make(name, dispersion, size_factor, dtype=torch.float32)
    repeat = lambda tensor: tensor.detach().repeat(40, *[1] * (tensor.dim() - 1))  # noqa: E731
    names = ("x_BG", "library_B1", "categories_BD", "continuous_BV")
    many = Batch(*(repeat(getattr(batch, name)) for name in names))
    heads = {head: repeat(value).requires_grad_() for head, value in heads.items()}
    weight_B = torch.ones(40 * B)
    assert_agrees_with_the_reference(model, many, heads, weight_B)


def test_gates_agree_with_the_reference_up_to_their_bounds():
    """Where the counts' own probability of a zero is smaller still than a closed gate's."""
    model, batch, _ = make("zinb", "gene", True, dtype=torch.float32)
    for parameter in model.parameters():
        torch.nn.init.constant_(parameter, 5.0)  # log θ
    for gate in (-70.0, -58.0, -50.0, -44.0, 44.0, 58.0, 70.0):
        changed = {"scale": torch.full((B, G), 5.0), "zero_logit": torch.full((B, G), gate)}
        changed = {head: value.requires_grad_() for head, value in changed.items()}
        assert_agrees_with_the_reference(model, batch, changed, torch.ones(B))


def test_cells_that_share_as_many_rows_as_there_are_cells():
    """As many batches as cells in a minibatch, and every row used by cells of both parts."""
    _, batch, heads = make("nb", "gene-batch", False, dtype=torch.float32, n_genes=200)
    n = 64
    many = Batch(
        batch.x_BG.repeat(n, 1)[:n],
        batch.library_B1.repeat(n, 1)[:n],
        (torch.arange(n) % 2)[:, None],
        torch.zeros(n, 0),
    )
    shared = LIKELIHOODS["nb"](200, dispersion="gene-batch", n_batches=n)
    heads = {head: value.detach().repeat(n, 1)[:n].requires_grad_() for head, value in heads.items()}
    for _ in range(20):
        assert_agrees_with_the_reference(shared, many, heads, torch.full((n,), -1 / n))


@variants
def test_results_do_not_depend_on_where_memory_lies(name, dispersion, size_factor):
    """Working rows shorter than what a vector loop reads at a time would: see ``kernel_functions.APART``."""
    model, batch, heads = make(name, dispersion, size_factor, dtype=torch.float32, n_genes=30)
    weight_B, found, kept, rng = torch.full((B,), -1 / B), set(), [b""] * 20, np.random.default_rng(0)
    for _ in range(300):
        value_B, gradients = value_and_gradients(model, batch, heads, weight_B)
        found.add(b"".join(tensor.numpy().tobytes() for tensor in (value_B, *gradients)))
        kept[rng.integers(20)] = bytes(int(rng.integers(1, 400)))  # leaves the allocator in another state
    assert len(found) == 1


@variants
def test_the_value_agrees_with_the_oracle(name, dispersion, size_factor):
    model, batch, heads = make(name, dispersion, size_factor, dtype=torch.float32)
    with torch.no_grad():
        value_B = model.cell_log_prob(batch, heads)
    np.testing.assert_allclose(value_B.numpy(), CASES[name].oracle(model, batch, heads).sum(1), rtol=2e-6, atol=3e-4)


def evaluated(model, batch, heads, biases, dtype, by):
    """Evaluate log-probabilities on outputs as a training step does."""
    outputs = {
        head: HeadOutput(value.detach().to(dtype, copy=True), biases[head].numpy(), np.empty(G, np.float32))
        for head, value in heads.items()
    }
    value_B, own = by(model, batch, outputs, np.linspace(-1, 3, B, dtype=np.float32))
    gradients = [output.raw_BG for output in outputs.values()]
    return value_B, gradients, [*(output.bias_gradient_G for output in outputs.values()), *own]


@variants
def test_frozen_parameters_change_nothing_for_the_heads(name, dispersion, size_factor):
    """A fitted model's are frozen where it serves as a reference; with and without a kernel."""
    model, batch, heads = make(name, dispersion, size_factor, dtype=torch.float32)
    biases = {head: torch.zeros(G) for head in heads}
    for by in (type(model).evaluate, Likelihood.evaluate):
        learned = evaluated(model.requires_grad_(True), batch, heads, biases, torch.float32, by)
        frozen = evaluated(model.requires_grad_(False), batch, heads, biases, torch.float32, by)
        assert np.array_equal(learned[0], frozen[0])
        assert all(torch.equal(a, b) for a, b in zip(learned[1], frozen[1], strict=True))
        assert len(learned[2]) == len(frozen[2])


@variants
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_outputs_are_overwritten_by_their_gradients(name, dispersion, size_factor, dtype):
    """By the kernels, and by the default of a likelihood that has none."""
    model, batch, heads = make(name, dispersion, size_factor, dtype=torch.float32)
    biases = {head: torch.linspace(-0.3, 0.2, G) for head in heads}
    found = evaluated(model, batch, heads, biases, dtype, type(model).evaluate)
    expected = evaluated(model, batch, heads, biases, dtype, Likelihood.evaluate)
    np.testing.assert_allclose(found[0], expected[0], rtol=2e-6, atol=5e-4)
    for a, b in zip(found[1], expected[1], strict=True):
        assert a.dtype == dtype
        close = {"rtol": 1e-2, "atol": 1e-3} if dtype == torch.bfloat16 else {"rtol": 1e-4, "atol": 2e-6}
        torch.testing.assert_close(a, b, rtol=close["rtol"], atol=close["atol"] * (1 + float(b.abs().max())))
    for a, b in zip(found[2], expected[2], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-6 * (1 + abs(b).max()))


@variants
@pytest.mark.parametrize("head_value", [-1e3, -1e2, 0.0, 1e2, 1e3])
def test_extreme_values_stay_finite(name, dispersion, size_factor, head_value):
    model, batch, heads = make(name, dispersion, size_factor, dtype=torch.float32)
    values = torch.tensor(CASES[name].extreme)
    batch = replace(batch, x_BG=values[torch.arange(B * G) % len(values)].reshape(B, G))
    spiked = {}
    for head, value in heads.items():
        value = value.detach().clone()
        value[torch.arange(B), torch.arange(B) % G] = head_value
        spiked[head] = value.requires_grad_()
    value_B, gradients = value_and_gradients(model, batch, spiked, torch.ones(B))
    assert value_B.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients)


@variants
def test_what_is_not_a_number_shows(name, dispersion, size_factor):
    """A step with such a value has to be recognised and skipped, at zeros and at positive counts."""
    model, batch, heads = make(name, dispersion, size_factor, dtype=torch.float32)
    for head in heads:
        for gene in range(G):
            spoilt = {other: value.detach().clone() for other, value in heads.items()}
            spoilt[head][1, gene] = torch.nan
            value_B = model.cell_log_prob(batch, spoilt)
            assert not value_B[1].isfinite(), (head, gene)
            assert value_B[[0, *range(2, B)]].isfinite().all(), (head, gene)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_the_encoder_sees_the_same_sparse_and_dense(name):
    model, batch, _ = make(name, (*LIKELIHOODS[name].dispersions, None)[0], False, dtype=torch.float32)
    given = Batch(batch.x_BG.float(), batch.library_B1.float(), batch.categories_BD, batch.continuous_BV.float())
    sparse = Batch(given.rows, given.library_B1, given.categories_BD, given.continuous_BV)
    seen = model.encoder_input(sparse)
    assert isinstance(seen, SparseRows)
    torch.testing.assert_close(seen.to_dense(), model.encoder_input(given), rtol=1e-5, atol=1e-5)
