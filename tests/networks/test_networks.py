import pytest
import torch
from torch.nn import functional as F

from omicvae._core import Batch
from omicvae.likelihoods import LIKELIHOODS
from omicvae.module import Architecture, ConditionalVAE
from omicvae.networks import COVARIATE_ENCODINGS, CovariateEncoding, Decoder, Encoder, covariate_width
from omicvae.networks.blocks import ACTIVATIONS, NORMALIZATIONS, BatchNorm, ConditionedLinear, Dropout
from omicvae.networks.encoder import LOG_VARIANCE_BOUNDS
from omicvae.priors import StandardNormal

BLOCK = {"normalization": "batch", "activation": "relu", "deeply_inject": True, "dropout_rate": 0.0}


def batch(n=6):
    return Batch(
        torch.rand(n, 8),
        torch.ones(n, 1),
        torch.tensor([[i % 3, i % 2] for i in range(n)]),
        torch.linspace(-1, 1, n)[:, None],
    )


def test_batch_norm_survives_one_cell_and_uses_its_running_statistics():
    norm = BatchNorm(3)
    norm(torch.randn(64, 3) * 2 + 5)
    one = norm(torch.full((1, 3), 5.0))
    norm.eval()
    torch.testing.assert_close(one, norm(torch.full((1, 3), 5.0)))


def test_batch_norm_statistics_are_right_after_a_short_run():
    norm = BatchNorm(2)
    for _ in range(50):
        norm(torch.randn(128, 2) + 7.0)
    assert (norm.running_mean - 7).abs().max() < 0.1


def test_one_hot_encoding_puts_covariates_side_by_side():
    c = CovariateEncoding((3, 2), 1)(batch())
    assert c.shape == (6, 6)
    assert c[4].tolist() == [0, 1, 0, 1, 0, pytest.approx(0.6)]


def test_embedding_is_narrower_than_many_levels_and_learns():
    encoding = CovariateEncoding((40, 2), 0, encoding="embedding")
    assert encoding.width == 16 + 2
    assert sum(p.numel() for p in encoding.parameters()) == 40 * 16 + 2 * 2


@pytest.mark.parametrize("encoding", COVARIATE_ENCODINGS)
def test_the_width_of_an_encoding_is_known_before_it_is_made(encoding):
    c = CovariateEncoding((3, 2), 1, encoding=encoding)(batch())
    assert c.shape[1] == covariate_width((3, 2), 1, encoding=encoding)
    assert covariate_width((), 0, encoding=encoding) == 0


def test_conditioned_linear_equals_the_linear_map_of_the_concatenation():
    layer = ConditionedLinear(4, 3, 2)
    x, c = torch.randn(5, 4), torch.randn(5, 2)
    weight = torch.cat([layer.linear.weight_IO.T, layer.covariates.weight], 1)
    joint = torch.nn.functional.linear(torch.cat([x, c], 1), weight, layer.linear.bias_O)
    torch.testing.assert_close(layer(x, c), joint)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_block_choice_gives_finite_posteriors(normalization, activation):
    block = {**BLOCK, "normalization": normalization, "activation": activation}
    q = Encoder(8, 2, 16, 2, n_covariates=3, **block)(torch.rand(5, 8), torch.rand(5, 3))
    assert q.mean_BK.shape == q.log_variance_BK.shape == (5, 2)
    assert torch.isfinite(q.mean_BK).all()


def test_the_untrained_posterior_has_unit_variance_and_the_variance_is_bounded():
    encoder = Encoder(8, 2, 16, 1, n_covariates=0, **BLOCK)
    assert torch.equal(encoder(torch.rand(5, 8), torch.empty(5, 0)).log_variance_BK, torch.zeros(5, 2))
    with torch.no_grad():
        encoder.log_variance.bias.fill_(1e9)
    assert encoder(torch.rand(5, 8), torch.empty(5, 0)).log_variance_BK.max() == LOG_VARIANCE_BOUNDS[1]


def test_the_bounds_of_the_variance_can_be_set():
    encoder = Encoder(8, 2, 16, 1, n_covariates=0, log_variance_bounds=(-1.0, 0.5), **BLOCK)
    for bias, bound in ((-1e9, -1.0), (1e9, 0.5)):
        with torch.no_grad():
            encoder.log_variance.bias.fill_(bias)
        assert (encoder(torch.rand(5, 8), torch.empty(5, 0)).log_variance_BK == bound).all()


def test_an_encoder_at_inference_is_the_same_in_both_modes_and_leaves_its_statistics_alone():
    encoder = Encoder(8, 2, 16, 2, n_covariates=0, **{**BLOCK, "dropout_rate": 0.5})
    x, none = torch.rand(5, 8), torch.empty(5, 0)
    encoder(x, none)  # moves the statistics
    frozen = encoder.body.tails[1].dropout.eval()  # a part in another mode
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    in_training = encoder.at_inference(x, none)
    assert encoder.training
    assert not frozen.training
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    encoder.eval()
    assert torch.equal(in_training.mean_BK, encoder(x, none).mean_BK)
    assert not any(module.training for module in encoder.modules())


def test_the_decoder_can_have_a_capacity_of_its_own():
    settings = {
        "n_latent": 2,
        "n_hidden": 16,
        "n_hidden_decoder": 24.0,
        "n_layers_decoder": 3,
        "dropout_rate_decoder": 0.3,
    }
    module = ConditionalVAE(LIKELIHOODS["nb"](8), StandardNormal(2), Architecture(**settings), n_genes=8)
    assert [linear.linear.weight_IO.shape for linear, _ in module.decoder.body.blocks()] == [
        (2, 24),
        (24, 24),
        (24, 24),
    ]
    assert [tail.dropout.p for _, tail in module.decoder.body.blocks()] == [0.3] * 3
    assert [linear.linear.weight_IO.shape for linear, _ in module.encoder.body.blocks()] == [(8, 16)]
    assert module.decoder.heads["scale"].weight_IO.shape == (24, 8)


def test_leaky_relu_lets_a_fifth_through():
    x = torch.tensor([-1.0, 2.0])
    torch.testing.assert_close(ACTIVATIONS["leaky_relu"]()(x), F.leaky_relu(x, 0.2))


def test_covariates_reach_the_first_or_every_layer():
    deep = Encoder(8, 2, 16, 3, n_covariates=3, **BLOCK)
    first = Encoder(8, 2, 16, 3, n_covariates=3, **{**BLOCK, "deeply_inject": False})
    assert [layer.covariates is not None for layer in deep.body.linears] == [True] * 3
    assert [layer.covariates is not None for layer in first.body.linears] == [True, False, False]


def test_decoder_starts_at_the_given_bias():
    decoder = Decoder(2, 8, ("scale", "zero_logit"), 16, 1, n_covariates=0, **BLOCK)
    decoder.set_bias({"scale": torch.arange(8.0), "zero_logit": torch.full((8,), -2.0)})
    for head in decoder.heads.values():
        torch.nn.init.zeros_(head.weight_IO)
    out = decoder(torch.randn(4, 2), torch.empty(4, 0))
    assert torch.equal(out["scale"][2], torch.arange(8.0))
    assert (out["zero_logit"] == -2).all()


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_expected_share_and_the_mean(p):
    dropout, ones = Dropout(p), torch.ones(512, 257)
    assert dropout.eval()(ones) is ones
    torch.manual_seed(0)
    out = dropout.train()(ones)
    kept = out > 0
    n = ones.numel()
    assert abs(float(kept.double().mean()) - (1 - p)) < 4 * (p * (1 - p) / n) ** 0.5
    torch.testing.assert_close(out[kept], torch.full((int(kept.sum()),), 1 / (1 - p)), rtol=2e-4, atol=0)
    assert torch.isfinite(Dropout(1 - 1e-9)(ones)).all()
    columns = kept.double().mean(0)  # none is favoured
    assert float((columns - (1 - p)).abs().max()) < 5 * (p * (1 - p) / 512) ** 0.5
    torch.manual_seed(0)
    assert torch.equal(dropout(ones), out)
    torch.manual_seed(0)
    again = torch.nn.Parameter(ones.clone())
    dropout(again).sum().backward()
    assert torch.equal(again.grad, out)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("encoding", COVARIATE_ENCODINGS)
@pytest.mark.parametrize("deeply_inject", [True, False])
def test_nothing_is_trained_that_changes_nothing(normalization, encoding, deeply_inject):
    """A bias whose constant a normalisation takes away again has a gradient of rounding alone, which Adam scales up."""
    settings = {"n_latent": 3, "n_hidden": 16, "n_layers": 2, "normalization": normalization}
    settings |= {"covariate_encoding": encoding, "deeply_inject_covariates": deeply_inject, "dropout_rate": 0.0}
    torch.manual_seed(0)
    likelihood = LIKELIHOODS["gaussian"](8)
    module = ConditionalVAE(
        likelihood, StandardNormal(3), Architecture(**settings), n_genes=8, n_levels=(3, 1)
    ).double()
    module.encoder.log_variance.weight.data.normal_()
    x_BG, codes_BD = torch.randn(64, 8).double(), torch.stack([torch.arange(64) % 3, torch.zeros(64).long()], 1)
    cells = Batch(x_BG, torch.ones(64, 1).double(), codes_BD, torch.empty(64, 0).double())
    posterior = module.encode(cells)
    heads = module.decode(posterior.sample(), cells)
    ((heads["mean"] - x_BG) ** 2).mean().backward()
    own = {id(p) for p in likelihood.parameters()}
    slopes = {
        name: p.grad.abs().max().item() for name, p in module.named_parameters() if id(p) not in own and p.numel()
    }
    assert len(slopes) > 10
    assert {name for name, slope in slopes.items() if slope < 1e-10} == set()
    assert ("encoder.mean.bias" in slopes) == (normalization != "batch")
