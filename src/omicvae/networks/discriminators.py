"""Networks that play against the cVAE: they read covariates from z, or tell real from generated cells."""

from collections.abc import Sequence

from torch import Tensor, nn

from omicvae.networks.blocks import MLP, full_precision


def _body(n_in: int, n_covariates: int, n_hidden: int, n_layers: int) -> MLP:
    # no normalisation over the cells of a minibatch: it would let cells see each other
    return MLP(
        n_in,
        n_hidden,
        n_layers,
        n_covariates=n_covariates,
        deeply_inject=False,
        normalization="none",
        activation="silu",
        dropout_rate=0.0,
    )


class LatentClassifier(nn.Module):
    """One perceptron on z with an output per level of each categorical covariate.

    Parameters
    ----------
    n_latent, n_levels
        Dimensions of z; number of levels of each covariate.
    """

    def __init__(self, n_latent: int, n_levels: Sequence[int], *, n_hidden: int, n_layers: int) -> None:
        super().__init__()
        self.body = _body(n_latent, 0, n_hidden, n_layers)
        self.heads = nn.ModuleList(nn.Linear(n_hidden, n) for n in n_levels)

    def forward(self, z_BK: Tensor) -> list[Tensor]:
        """Return log p(level | z), nats, shape (B, L) for each covariate."""
        h_BH = self.body(z_BK, z_BK[:, :0])
        return [full_precision(head(h_BH)).log_softmax(-1) for head in self.heads]


class RealnessScore(nn.Module):
    """D(x, c): above 0 for cells that look real, unbounded (a hinge loss stops at ±1)."""

    def __init__(self, n_genes: int, n_covariates: int, *, n_hidden: int, n_layers: int) -> None:
        super().__init__()
        self.body = _body(n_genes, n_covariates, n_hidden, n_layers)
        self.score = nn.Linear(n_hidden, 1)

    def forward(self, features_BG: Tensor, c_BC: Tensor) -> Tensor:
        """Map normalised data (B, G) and covariates (B, C) to scores (B,)."""
        return full_precision(self.score(self.body(features_BG, c_BC))).squeeze(-1)
