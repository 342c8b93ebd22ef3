"""What every likelihood owes, for every variant in the table."""

import numpy as np
import pytest
import torch

from omicvae._core import Batch, SettingError, choose
from omicvae.likelihoods import LIKELIHOODS, Gaussian

from .likelihood_cases import CASES, VARIANTS, B, G, make, moments_of, mostly_positive, replace

fillings = pytest.mark.parametrize("fill", [lambda batch: batch, mostly_positive], ids=["sparse", "dense"])
variants = pytest.mark.parametrize(("name", "dispersion", "size_factor"), VARIANTS)


def test_every_likelihood_has_a_row():
    assert set(CASES) == set(LIKELIHOODS)
    assert all(LIKELIHOODS[name].name == name for name in LIKELIHOODS)


@variants
@fillings
def test_log_prob_equals_scipy(name, dispersion, size_factor, fill):
    model, batch, heads = make(name, dispersion, size_factor)
    batch = fill(batch)
    value = model.log_prob(batch, heads)
    assert value.shape == (B, G)
    assert value.dtype == torch.float64
    np.testing.assert_allclose(value.detach().numpy(), CASES[name].oracle(model, batch, heads), rtol=1e-8, atol=1e-8)


@variants
@fillings
def test_float32_agrees_with_scipy(name, dispersion, size_factor, fill):
    model, batch, heads = make(name, dispersion, size_factor, dtype=torch.float32)
    batch = fill(batch)
    value = model.log_prob(batch, heads)
    assert value.dtype == torch.float32
    np.testing.assert_allclose(value.detach().numpy(), CASES[name].oracle(model, batch, heads), rtol=2e-6, atol=2e-5)


@variants
def test_probabilities_sum_to_one(name, dispersion, size_factor):
    model, batch, heads = make(name, dispersion, size_factor)
    support, step = CASES[name].support()
    for cell in range(2):
        n = len(support)
        grid = Batch(
            torch.tensor(support)[:, None].expand(n, G).contiguous(),
            batch.library_B1[cell : cell + 1].expand(n, 1),
            batch.categories_BD[cell : cell + 1].expand(n, 1),
            batch.continuous_BV[:1].expand(n, 0),
        )
        repeated = {head: value[cell : cell + 1].expand(n, G) for head, value in heads.items()}
        total = model.log_prob(grid, repeated).exp().sum(0) * step
        torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-6)


@variants
def test_samples_match_the_moments(name, dispersion, size_factor):
    model, batch, heads = make(name, dispersion, size_factor)
    distribution = model.distribution(batch, heads)
    n = 20_000
    with torch.random.fork_rng():
        torch.manual_seed(3)
        draws = distribution.sample((n,))
    assert draws.shape == (n, B, G)
    mean, variance = distribution.mean.detach(), distribution.variance.detach()
    assert ((draws.mean(0) - mean).abs() < 5.5 * (variance / n).sqrt()).all()
    fourth = (draws - mean).pow(4).mean(0)
    spread = ((fourth - variance**2).clamp_min(0) / n).sqrt()
    assert ((draws.var(0) - variance).abs() < 6 * spread + 1e-6).all()


@variants
def test_distribution_agrees_with_log_prob(name, dispersion, size_factor):
    model, batch, heads = make(name, dispersion, size_factor)
    expected = model.distribution(batch, heads).log_prob(batch.x_BG)
    torch.testing.assert_close(model.log_prob(batch, heads), expected, rtol=1e-7, atol=1e-7)


@variants
def test_distribution_mean_is_normalized_scaled_back(name, dispersion, size_factor):
    model, batch, heads = make(name, dispersion, size_factor)
    expected = model.normalized(heads)
    if model.support == "counts":
        expected = expected * batch.library_B1
    if name == "zinb":
        expected = expected * torch.sigmoid(-heads["zero_logit"])
    torch.testing.assert_close(model.distribution(batch, heads).mean, expected)


@variants
@fillings
def test_gradients_against_finite_differences(name, dispersion, size_factor, fill):
    model, batch, heads = make(name, dispersion, size_factor)
    batch = fill(batch)
    names, parameters = list(heads), list(model.parameters())

    def value(*tensors):
        for parameter, tensor in zip(parameters, tensors[len(names) :], strict=True):
            parameter.data = tensor.data
        return model.log_prob(batch, dict(zip(names, tensors, strict=False)))

    assert torch.autograd.gradcheck(value, (*heads.values(), *parameters), atol=1e-6, rtol=1e-5)


@variants
def test_memory_layout_changes_nothing(name, dispersion, size_factor):
    model, batch, heads = make(name, dispersion, size_factor)
    columns_first = replace(batch, x_BG=batch.x_BG.T.contiguous().T)
    turned = {head: value.T.contiguous().T for head, value in heads.items()}
    results = []
    for data, raw in ((batch, heads), (columns_first, heads), (batch, turned)):
        value = model.log_prob(data, raw)
        results.append((value, *torch.autograd.grad(value.sum(), (*heads.values(), *model.parameters()))))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@variants
@pytest.mark.parametrize("head_value", [-1e3, -1e2, 0.0, 1e2, 1e3])
@pytest.mark.parametrize("sparse", [True, False])
def test_extreme_values_stay_finite(name, dispersion, size_factor, head_value, sparse):
    model, batch, heads = make(name, dispersion, size_factor, dtype=torch.float32)
    values = torch.tensor(CASES[name].extreme)
    x = values[torch.arange(B * G) % len(values)].reshape(B, G)
    if sparse:
        x[1:] = 0
    batch = replace(batch, x_BG=x)
    # one gene of each cell is extreme, the others are not
    spiked = {}
    for head, value in heads.items():
        value = value.detach().clone()
        value[torch.arange(B), torch.arange(B) % G] = head_value
        spiked[head] = value.requires_grad_()
    tensors = (*spiked.values(), *model.parameters())
    value = model.log_prob(batch, spiked)
    gradients = torch.autograd.grad(value.sum(), tensors)
    assert value.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients)


@variants
def test_untrained_model_predicts_the_mean(name, dispersion, size_factor):
    batch = make(name, dispersion, size_factor)[1]
    model = LIKELIHOODS[name](G, dispersion=dispersion, n_batches=3, size_factor=size_factor).double()
    moments = moments_of(batch.x_BG, batch.x_BG.sum(1, keepdim=True) if not size_factor else batch.library_B1)
    biases = model.initialise(moments)
    assert set(biases) == set(model.heads)
    assert all(bias.shape == (G,) for bias in biases.values())
    heads = {head: bias.double().expand(B, G) for head, bias in biases.items()}
    library = batch.library_B1 if size_factor else batch.x_BG.sum(1, keepdim=True)
    predicted = model.distribution(replace(batch, library_B1=library), heads).mean.mean(0)
    tolerance = 0.06 if name == "zinb" else 1e-3
    torch.testing.assert_close(predicted, moments.mean_G, rtol=tolerance, atol=1e-3)


@variants
def test_encoder_input(name, dispersion, size_factor):
    model, batch, _ = make(name, dispersion, size_factor)
    x = batch.x_BG
    expected = {
        "counts": torch.log1p(x / batch.library_B1 * (1 if size_factor else 1e4)),
        "real": (x - x.mean(0)) / x.std(0, correction=0),
        "binary": x,
    }[model.support]
    torch.testing.assert_close(model.encoder_input(batch), expected)


@variants
def test_state_survives_saving(name, dispersion, size_factor):
    model, batch, heads = make(name, dispersion, size_factor)
    other = LIKELIHOODS[name](G, dispersion=dispersion, n_batches=3, size_factor=size_factor).double()
    other.load_state_dict(model.state_dict())
    assert torch.equal(model.log_prob(batch, heads), other.log_prob(batch, heads))


@variants
def test_a_gpu_would_not_have_to_wait(name, dispersion, size_factor):
    """Tensors on the meta device have no values: whatever looks at one (item, nonzero) raises."""
    model, batch, heads = make(name, dispersion, size_factor, dtype=torch.float32)
    heads = {head: value.detach().to("meta").requires_grad_() for head, value in heads.items()}
    names = ("x_BG", "library_B1", "categories_BD", "continuous_BV")
    batch = replace(batch, **{name: getattr(batch, name).to("meta") for name in names})
    value = model.to("meta").log_prob(batch, heads)
    gradients = torch.autograd.grad(value.sum(), (*heads.values(), *model.parameters()))
    assert value.shape == (B, G)
    assert all(gradient.is_meta for gradient in gradients)


def test_unknown_names_list_the_choices():
    with pytest.raises(SettingError, match="'nb', 'zinb', 'poisson', 'gaussian', 'bernoulli'"):
        choose("likelihood", "negbin", LIKELIHOODS)
    with pytest.raises(SettingError, match="'gene', 'gene-batch', 'gene-cell'"):
        LIKELIHOODS["nb"](G, dispersion="cell")
    with pytest.raises(SettingError, match="'poisson' has no dispersion"):
        LIKELIHOODS["poisson"](G, dispersion="gene")
    with pytest.raises(SettingError, match="n_genes must be at least 1"):
        LIKELIHOODS["nb"](0)


def test_half_precision_heads_are_computed_in_the_dtype_of_the_data():
    model, batch, heads = make("nb", "gene-cell", False, dtype=torch.float32)
    rounded = {head: value.detach().bfloat16() for head, value in heads.items()}
    exact = model.log_prob(batch, {head: value.float() for head, value in rounded.items()})
    value = model.log_prob(batch, rounded)
    assert value.dtype == torch.float32
    assert torch.equal(value, exact)


def test_genes_that_were_never_seen_start_below_the_rarest():
    moments = moments_of(torch.tensor([[0.0, 1.0, 9.0]]), torch.tensor([[10.0]]))
    bias = LIKELIHOODS["nb"](3).initialise(moments)["scale"]
    torch.testing.assert_close(bias.exp(), torch.tensor([0.05, 0.1, 0.9]))
    nothing = moments_of(torch.zeros(1, 3), torch.tensor([[1.0]]))
    assert LIKELIHOODS["nb"](3).initialise(nothing)["scale"].isfinite().all()


def test_constant_genes_are_left_out_and_named():
    x = torch.tensor([[1.0, 5.0, 0.0], [2.0, 5.0, 0.0], [4.0, 5.0, 0.0]])
    model = Gaussian(3)
    model.initialise(moments_of(x, torch.ones(3, 1)))
    assert model.constant_genes.tolist() == [1, 2]
    batch = Batch(x + 1, torch.ones(3, 1), torch.zeros(3, 0, dtype=torch.long), torch.zeros(3, 0))
    heads = {"mean": torch.full((3, 3), 0.5, requires_grad=True)}
    value = model.log_prob(batch, heads)
    value.sum().backward()
    assert (value[:, 1:] == 0).all()
    assert (value[:, 0] != 0).all()
    assert (heads["mean"].grad[:, 1:] == 0).all()
    assert (model.encoder_input(batch)[:, 1:] == 0).all()
    torch.testing.assert_close(model.normalized(heads)[:, 1:], x[:, 1:])


def test_batch_dispersion_without_a_batch_covariate():
    model, batch, heads = make("nb", "gene-batch", False)
    single = replace(batch, categories_BD=torch.zeros(B, 0, dtype=torch.long))
    first = replace(batch, categories_BD=torch.zeros(B, 1, dtype=torch.long))
    torch.testing.assert_close(model.log_prob(single, heads), model.log_prob(first, heads))
