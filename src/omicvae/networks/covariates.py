"""Numeric encoding of categorical and continuous covariates."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omicvae._core import Batch


class OneHot(nn.Module):
    """Indicator vector of a level. A single level tells nothing, and has no entry."""

    def __init__(self, n_levels: int) -> None:
        super().__init__()
        self.n_levels = n_levels
        self.width = self.width_of(n_levels)

    def vectors(self) -> Tensor:
        """Return the vector of each level (L, L)."""
        return torch.eye(self.n_levels)[:, : self.width]

    @staticmethod
    def width_of(n_levels: int) -> int:
        """Width of the encoding, L or 0."""
        return n_levels if n_levels > 1 else 0

    def forward(self, codes_B: Tensor) -> Tensor:
        """Map codes (B,) to indicators (B, L)."""
        return F.one_hot(codes_B, self.n_levels)[:, : self.width].float()


class LevelEmbedding(nn.Module):
    """Learned vector of a level; its width grows slowly with the number of levels, as min(16, ⌈L / 2⌉ + 1).

    Vectors start at N(0, 1) draws, as torch has them. A single level tells nothing, and has a vector without entries.
    """

    def __init__(self, n_levels: int) -> None:
        super().__init__()
        self.width = self.width_of(n_levels)
        self.table = nn.Embedding(n_levels, self.width)

    @staticmethod
    def width_of(n_levels: int) -> int:
        """Width of the encoding, E or 0."""
        return min(16, (n_levels + 1) // 2 + 1) if n_levels > 1 else 0

    def vectors(self) -> Tensor:
        """Return the vector of each level (L, E)."""
        return self.table.weight

    def forward(self, codes_B: Tensor) -> Tensor:
        """Map codes (B,) to vectors (B, E)."""
        return self.table(codes_B)


COVARIATE_ENCODINGS: dict[str, type[OneHot] | type[LevelEmbedding]] = {
    "one_hot": OneHot,
    "embedding": LevelEmbedding,
}


def covariate_width(n_levels: Sequence[int], n_continuous: int, *, encoding: str) -> int:
    """Width C of a :class:`CovariateEncoding` of the same arguments, without making one."""
    return sum(COVARIATE_ENCODINGS[encoding].width_of(n) for n in n_levels) + n_continuous


class CovariateEncoding(nn.Module):
    """c = [encoding of each categorical covariate, continuous covariates], shape (B, C).

    Parameters
    ----------
    n_levels
        Number of levels of each categorical covariate, in the order of ``Batch.categories_BD``.
    n_continuous
        Number of continuous covariates.
    encoding
        Key of ``COVARIATE_ENCODINGS``.
    """

    def __init__(self, n_levels: Sequence[int], n_continuous: int, *, encoding: str = "one_hot") -> None:
        super().__init__()
        self.levels = nn.ModuleList(COVARIATE_ENCODINGS[encoding](n) for n in n_levels)
        self.width = covariate_width(n_levels, n_continuous, encoding=encoding)
        self.n_levels = tuple(n_levels)
        self.n_added: tuple[int, ...] = ()

    def add_levels(self, n_added: Sequence[int]) -> None:
        """Encode further levels too, so many of each covariate, whose codes follow on those of the known ones.

        c then has an indicator of each at its end; in the place of the known levels' encoding stands the mean of these.
        """
        self.n_added = tuple(n_added)

    def forward(self, batch: Batch) -> Tensor:
        """Encode the covariates of a minibatch, shape (B, C)."""
        codes_BD = batch.categories_BD
        if not self.n_added:
            parts = [level(codes_BD[:, d]) for d, level in enumerate(self.levels)]
            return torch.cat([*parts, batch.continuous_BV], dim=1)
        parts, indicators = [], []
        for d, (level, n, more) in enumerate(zip(self.levels, self.n_levels, self.n_added, strict=True)):
            codes_B = codes_BD[:, d]
            known = codes_B < n
            mean_E = level.vectors().mean(0).to(codes_BD.device)  # type: ignore[operator]
            parts.append(torch.where(known[:, None], level(torch.where(known, codes_B, 0)), mean_E))
            indicators.append(F.one_hot(torch.where(known, more, codes_B - n), more + 1)[:, :more].float())
        return torch.cat([*parts, batch.continuous_BV, *indicators], dim=1)
