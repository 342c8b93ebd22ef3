"""Multi-layer perceptron blocks that take covariates beside their input."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omicvae._core import SparseRows
from omicvae.networks.linear import Linear


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation (Ioffe & Szegedy 2015) that survives a minibatch of one cell.

    One cell has no variance, so such a minibatch is normalised with the running statistics. The momentum of 0.1
    keeps those statistics right after a run of a few hundred steps.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``input`` of shape (B, H) over its cells."""
        if self.training and input.shape[0] == 1:
            return F.batch_norm(
                input,
                self.running_mean,
                self.running_var,
                self.weight,
                self.bias,
                training=False,
                eps=self.eps,
            )
        return super().forward(input)


NORMALIZATIONS: dict[str, Callable[[int], nn.Module]] = {
    "batch": lambda width: BatchNorm(width, eps=1e-3, momentum=0.1),
    "layer": nn.LayerNorm,
    "none": lambda width: nn.Identity(),
}

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "leaky_relu": lambda: nn.LeakyReLU(0.2),
}


class Dropout(nn.Module):
    """Zero a unit with probability p and divide the others by 1 − p (Srivastava et al. 2014), in training.

    On a CPU units cost 16 random bits each, a sixth of the time of torch's own draw; p is then a multiple of 2⁻¹⁶.

    Attributes
    ----------
    generator
        What draws, on the device of the data; None for torch's global one. A run has one of its own.
    """

    generator: torch.Generator | None = None

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        #: a unit whose draw from 0 to 2¹⁶ − 1 is below this is zeroed; what the others are multiplied by
        self.threshold = min(round(p * 2**16), 2**16 - 1)
        self.scale = 1 / (1 - self.threshold / 2**16)

    def draws(self, n_rows: int, width: int) -> Tensor:
        """Draw uniform integers on the CPU, uint16 (B, H)."""
        fours = torch.empty(-(-n_rows * width // 4), dtype=torch.int64)
        fours.random_(-(2**63), None, generator=self.generator)
        return fours.view(torch.uint16)[: n_rows * width].view(n_rows, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H) to (B, H)."""
        if not self.training or self.threshold == 0:
            return x
        if x.device.type != "cpu":
            return x * torch.empty_like(x).bernoulli_(1 - self.p, generator=self.generator) / (1 - self.p)
        return x * ((self.draws(*x.shape).int() >= self.threshold) * self.scale).to(x.dtype)


class NormActivationDropout(nn.Module):
    """Normalisation, activation and dropout behind a linear map."""

    def __init__(self, width: int, normalization: str, activation: str, dropout_rate: float) -> None:
        super().__init__()
        self.norm = NORMALIZATIONS[normalization](width)
        self.activation = ACTIVATIONS[activation]()
        self.dropout = Dropout(dropout_rate)

    def forward(self, x_BH: Tensor) -> Tensor:
        """Map (B, H) to (B, H)."""
        return self.dropout(self.activation(self.norm(x_BH)))


def full_precision(x: Tensor) -> Tensor:
    """Lift half precision, as mixed-precision training gives, to float32: likelihoods and KL need its digits."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class ConditionedLinear(nn.Module):
    """h = W x + U c + b, with the covariates' weights U in a matrix of their own.

    Keeping U apart spares the concatenation of a wide x and lets covariate columns be found by level name.
    """

    def __init__(self, n_in: int, n_out: int, n_covariates: int, *, bias: bool = True) -> None:
        super().__init__()
        self.linear = Linear(n_in, n_out, bias=bias)
        self.covariates = nn.Linear(n_covariates, n_out, bias=False) if n_covariates else None
        self.n_covariates, self.n_out = n_covariates, n_out
        self.added_AO: nn.Parameter | None = None

    def add_covariates(self, n: int) -> None:
        """Take ``n`` further entries at the end of c, without effect at first.

        Their weights lie apart, so that where these entries are 0 the output stays the same to the last bit: a wider
        product may round differently.
        """
        self.added_AO = nn.Parameter(self.linear.weight_IO.new_zeros(n, self.n_out))

    def forward(self, x_BI: Tensor | SparseRows, c_BC: Tensor) -> Tensor:
        """Map x (B, I) and c (B, C) to (B, O)."""
        h_BO: Tensor = self.linear(x_BI)
        if self.added_AO is None:
            return h_BO if self.covariates is None else h_BO + self.covariates(c_BC)
        if self.covariates is not None:
            h_BO = h_BO + self.covariates(c_BC[:, : self.n_covariates].contiguous())
        return h_BO + c_BC[:, -len(self.added_AO) :] @ self.added_AO


class MLP(nn.Module):
    """``n_layers`` blocks of conditioned linear map, normalisation, activation and dropout.

    Parameters
    ----------
    n_in, n_hidden, n_layers
        Input width, width of every hidden layer, number of hidden layers (at least 1).
    n_covariates
        Width C of the covariate encoding; 0 leaves covariates out.
    deeply_inject
        Covariates enter every layer, else the first alone.
    """

    def __init__(
        self,
        n_in: int,
        n_hidden: int,
        n_layers: int,
        *,
        n_covariates: int,
        deeply_inject: bool,
        normalization: str,
        activation: str,
        dropout_rate: float,
    ) -> None:
        super().__init__()
        self.linears = nn.ModuleList()
        self.tails = nn.ModuleList()
        self.deeply_inject = deeply_inject
        for layer in range(n_layers):
            width = n_in if layer == 0 else n_hidden
            covariates = n_covariates if layer == 0 or deeply_inject else 0
            # batch normalisation takes a constant away again; its gradient would be rounding, which Adam scales up
            self.linears.append(ConditionedLinear(width, n_hidden, covariates, bias=normalization != "batch"))
            self.tails.append(NormActivationDropout(n_hidden, normalization, activation, dropout_rate))

    def add_covariates(self, n: int) -> None:
        """Take ``n`` further entries of c in every layer that covariates enter."""
        for linear, _ in self.blocks() if self.deeply_inject else self.blocks()[:1]:
            linear.add_covariates(n)

    def blocks(self) -> list[tuple[ConditionedLinear, NormActivationDropout]]:
        """Return the linear map and what follows it, layer by layer."""
        return list(zip(self.linears, self.tails, strict=True))  # type: ignore[arg-type]

    def forward(self, x_BI: Tensor | SparseRows, c_BC: Tensor) -> Tensor:
        """Map x (B, I) and c (B, C) to hidden units (B, H)."""
        h = x_BI
        for linear, tail in self.blocks():
            h = tail(linear(h, c_BC))
        assert isinstance(h, Tensor)
        return h


def weight_matrices(network: nn.Module) -> list[Tensor]:
    """Return the weights of linear maps of profiles, hidden units and z: those for which a normal prior is meant.

    Not biases, covariate effects, normalisations, dispersions or pseudo-inputs, whose typical value is not 0.
    """
    modules = list(network.modules())
    effects = {module.covariates for module in modules if isinstance(module, ConditionedLinear)}
    found: list[Tensor] = []
    for module in modules:
        if isinstance(module, Linear):
            found.append(module.weight_IO)
        elif isinstance(module, nn.Linear) and module not in effects:
            found.append(module.weight)
    return found
