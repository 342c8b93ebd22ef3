"""A network on another device: nothing of the CPU meets what is there. Torch's device "meta" stands for a GPU."""

import ast
from contextlib import nullcontext
from pathlib import Path

import nbformat
import numpy as np
import pyro.distributions  # noqa: F401  # looks at values when it is imported
import pytest
import torch
from torch.fx.experimental import _config
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from omicvae._core import Batch, SparseRows
from omicvae.data import CellStore, DataSchema, SetupKeys
from omicvae.datasets import simulate_counts
from omicvae.likelihoods import LIKELIHOODS
from omicvae.module import Architecture, ConditionalVAE, NullModel
from omicvae.networks import covariate_width
from omicvae.objective import Objective
from omicvae.priors import PRIORS
from omicvae.training.adam import adam
from omicvae.training.adversaries import make_adversaries
from omicvae.training.autograd_step import AutogradStep
from omicvae.training.budget import Optimisation
from omicvae.training.evaluation import map_cells
from omicvae.training.step import StepTotals

ROOT = Path(__file__).parents[2]
B, G, LEVELS = 8, 12, (2, 3)
CONTROLS = [{"free_bits": 0.1}, {"capacity": 5.0}, {"target_rate": 5.0}]
FURTHER = {"total_correlation": 1.0, "adversary": {"start": 0.0}, "discriminator": {"start": 0.0}}
VARIANTS = [(name, kind) for name, made in LIKELIHOODS.items() for kind in made.dispersions or (None,)]


@pytest.fixture(scope="module")
def store():
    adata = simulate_counts(60, G, n_types=2, n_batches=LEVELS[0], seed=0)
    adata.obs["site"] = [str(n % LEVELS[1]) for n in range(60)]
    keys = SetupKeys(batch_key="batch", categorical_covariate_keys=("site",))
    return CellStore.build(adata, DataSchema.register(adata, keys))


class OneDevice(TorchDispatchMode):
    """Refuse operations on tensors of two devices, but for copies and single numbers of the CPU."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        devices = {tensor.device.type for tensor in given if tensor.dim()}
        if len(devices) > 1 and function not in (torch.ops.aten.copy_.default, torch.ops.aten._to_copy.default):
            raise AssertionError(f"{function} on {devices}")
        return function(*args, **(kwargs or {}))


@pytest.fixture
def one_device(monkeypatch):
    # what "meta" lacks: values to look at, mixed precision, and a kernel of Adam
    monkeypatch.setattr(torch.optim.Adam, "step", lambda optimizer: None)
    monkeypatch.setattr(torch.distributions.Distribution, "_validate_args", False)
    monkeypatch.setattr(torch, "autocast", lambda *given, **settings: nullcontext())
    with _config.patch(meta_nonzero_assume_all_nonzero=True), OneDevice():
        yield


def there(module):
    return module.to("meta")


def minibatch():
    zeros = lambda *shape, **of: torch.zeros(*shape, device="meta", **of)  # noqa: E731
    rows = SparseRows(zeros(B + 1, dtype=torch.int64), zeros(20, dtype=torch.int32), zeros(20), G)
    return Batch(rows, zeros(B, 1), zeros(B, len(LEVELS), dtype=torch.int64), zeros(B, 1))


def network(name="nb", dispersion=None, prior="standard", encoding="one_hot", size_factor=False):
    likelihood = LIKELIHOODS[name](G, dispersion=dispersion, n_batches=LEVELS[0], size_factor=size_factor)
    width = covariate_width(LEVELS, 1, encoding=encoding)
    sizes = {"n_latent": 3, "n_genes": G, "n_categorical": len(LEVELS), "n_continuous": 1}
    made = PRIORS[prior](**sizes, covariate_width=width, n_pseudo_inputs=5)
    architecture = Architecture(n_latent=3, n_hidden=7, covariate_encoding=encoding)
    return ConditionalVAE(likelihood, made, architecture, n_genes=G, n_levels=LEVELS, n_continuous=1)


@pytest.mark.parametrize(("name", "dispersion"), VARIANTS)
@pytest.mark.parametrize("size_factor", [False, True])
def test_inference(one_device, name, dispersion, size_factor):
    if size_factor and LIKELIHOODS[name].support != "counts":
        return
    module, batch = there(network(name, dispersion, size_factor=size_factor)).eval(), minibatch()
    q, prior = module.encode(batch), module.prior_at(batch)
    found = [module.reconstruction(q.sample(), batch), prior.kl(q, q.sample()), prior.log_prob(q.sample())]
    distribution = module.distribution(q.sample(), batch)
    found += [distribution.mean, distribution.sample(), module.sample(batch), *prior.moments()]
    found += [module.likelihood.normalized(module.decode(q.mean_BK, batch)), module.likelihood.encoder_input(batch)]
    null = there(NullModel(module.likelihood, n_genes=G, n_levels=LEVELS, n_continuous=1))
    found += [null(batch), null.distribution(batch).sample()]
    assert {tensor.device.type for tensor in found} == {"meta"}


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: next(iter(control)))
def test_training_step(one_device, store, prior, control):
    module, batch = there(network(prior=prior, encoding="embedding")).train(), minibatch()
    scheduled = Objective.parse({**control, **FURTHER}).scheduled(100, 10, n_genes=G, n_latent=3)
    adversaries = make_adversaries(scheduled, module, store, np.arange(store.n_cells))
    for adversary in adversaries:
        there(adversary)
        adversary.configure()
    step = AutogradStep(module, adam(module, Optimisation(1e-3)), scheduled, 60, adversaries)
    totals = StepTotals(torch.device("meta"), [f"{a.name}_{what}" for a in adversaries for what in ("loss", "weight")])
    for number in range(2):
        for prepared in step.parts(batch, [B]):
            step(prepared, number, 1e-3, totals)
    assert all(parameter.grad is None or parameter.grad.device.type == "meta" for parameter in module.parameters())


@pytest.mark.parametrize("spoilt", ["inputs", "labels", "weights"])
def test_a_tensor_of_the_cpu_is_noticed(one_device, spoilt):
    module, batch = there(network()).eval(), minibatch()
    if spoilt == "inputs":
        batch.library_B1 = torch.ones(B, 1)
    elif spoilt == "labels":
        batch.categories_BD = torch.zeros(B, len(LEVELS), dtype=torch.int64)
    else:
        module.decoder.heads["scale"].bias_O = torch.nn.Parameter(torch.zeros(G))
    with pytest.raises((AssertionError, RuntimeError, TypeError), match=r"device|on \{"):
        module.reconstruction(module.encode(batch).mean_BK, batch)


def test_minibatches_come_to_the_network(store):
    module, seen = there(network()), []

    def look(batch, start):
        seen.extend(tensor.device.type for tensor in (batch.rows.values_M, batch.library_B1, batch.categories_BD))
        return torch.zeros(len(batch))

    map_cells(module, store, None, look)
    assert set(seen) == {"meta"}


def sources():
    yield from ((path.name, path.read_text()) for path in sorted((ROOT / "src").rglob("*.py")))
    yield from ((path.name, path.read_text()) for path in sorted((ROOT / "examples").glob("*.py")))
    for path in sorted((ROOT / "examples").glob("*.ipynb")):
        code = (cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")
        yield path.name, "\n".join(code)


def test_every_generator_names_its_device():
    """What draws on a GPU needs a generator there; without an argument it is one of the CPU."""
    calls = [
        (name, call)
        for name, source in sources()
        for call in ast.walk(ast.parse(source))
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "torch.Generator"
    ]
    assert len(calls) >= 2
    assert not [f"{name}:{call.lineno}" for name, call in calls if not call.args and not call.keywords]
