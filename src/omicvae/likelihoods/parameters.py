"""A parameter of every entry: one per gene, per gene and batch, per gene and cell (a decoder head), or fixed.

All four offer the same to a likelihood; values are unbounded, such as a logarithm.
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from omicvae._core import Batch, HeadOutput
from omicvae._core.native import as_array, n_parts

Array = NDArray[np.float32]


class GeneParameter(nn.Module):
    """One learned value per gene, ``raw`` (G,); other kinds change where the values come from."""

    heads: tuple[str, ...] = ()
    raw: Tensor

    def __init__(self, name: str, n_genes: int, n_batches: int) -> None:
        super().__init__()
        self.create(name, n_genes, n_batches)

    def create(self, name: str, n_genes: int, n_batches: int) -> None:
        """Create own values, or name the decoder's head."""
        self.raw = nn.Parameter(torch.zeros(n_genes))

    def add_batches(self, n: int) -> None:
        """Hold for ``n`` further levels of the batch covariate too."""

    def initialise(self, value_G: Tensor) -> dict[str, Tensor]:
        """Start at these values; return a bias for each head."""
        with torch.no_grad():
            self.raw.copy_(value_G.expand_as(self.raw))
        return {}

    def rows(self) -> Tensor:
        """Return the values, shape (G,) or (R, G)."""
        return self.raw

    def forward(self, batch: Batch, heads: Mapping[str, Tensor]) -> Tensor:
        """Return the values, shape (G,) or (B, G)."""
        return self.raw

    def table(self, batch: Batch, outputs: Mapping[str, HeadOutput]) -> tuple[Array, NDArray[np.int64], Array]:
        """Return the values (R, G), the row that holds for each cell, and zeros (parts, R, G) to sum gradients into."""
        raw = self.rows()
        table_RG = as_array(raw).reshape(-1, raw.shape[-1])
        sum_PRG = np.zeros((n_parts(len(batch)), *table_RG.shape), np.float32)
        return table_RG, self.row_of_cell(batch), sum_PRG

    def row_of_cell(self, batch: Batch) -> NDArray[np.int64]:
        """Return the row of the table that holds for each cell."""
        return np.zeros(len(batch), np.int64)

    def take_gradient(self, gradient_RG: Array, outputs: Mapping[str, HeadOutput]) -> tuple[Array, ...]:
        """Return the gradient in the table as one in own parameters, or give it to the head."""
        return tuple(gradient_RG.reshape(own.shape) for own in self.parameters())


class FixedParameter(GeneParameter):
    """The value 0 for every gene."""

    def create(self, name: str, n_genes: int, n_batches: int) -> None:
        """Keep zeros beside the parameters."""
        self.register_buffer("raw", torch.zeros(n_genes), persistent=False)


class GeneBatchParameter(GeneParameter):
    """One learned value per level of the batch covariate and gene; ``raw`` has shape (n_batches, G)."""

    def create(self, name: str, n_genes: int, n_batches: int) -> None:
        """Create a row for each level."""
        self.raw = nn.Parameter(torch.zeros(n_batches, n_genes))
        self.added_AG: nn.Parameter | None = None

    def add_batches(self, n: int) -> None:
        """Create rows for ``n`` further levels, at the mean of the others."""
        if n:
            self.added_AG = nn.Parameter(self.raw.detach().mean(0).expand(n, -1).clone())

    def rows(self) -> Tensor:
        """Return the values, shape (R, G)."""
        return self.raw if self.added_AG is None else torch.cat([self.raw, self.added_AG])

    def forward(self, batch: Batch, heads: Mapping[str, Tensor]) -> Tensor:
        """Return the rows of the cells' levels; shape (G,) where no batch covariate was registered."""
        if batch.categories_BD.shape[1] == 0:
            return self.raw[0]
        return nn.functional.embedding(batch.categories_BD[:, 0], self.rows())

    def take_gradient(self, gradient_RG: Array, outputs: Mapping[str, HeadOutput]) -> tuple[Array, ...]:
        """Return the gradient in the known levels' rows, and in those of further ones."""
        n = len(self.raw)
        return (gradient_RG,) if self.added_AG is None else (gradient_RG[:n], gradient_RG[n:])

    def row_of_cell(self, batch: Batch) -> NDArray[np.int64]:
        """Return the cells' levels."""
        return as_array(batch.categories_BD[:, 0]) if batch.categories_BD.shape[1] else super().row_of_cell(batch)


class GeneCellParameter(GeneParameter):
    """One value per gene and cell, from the decoder head called ``name``."""

    def create(self, name: str, n_genes: int, n_batches: int) -> None:
        """Name the head."""
        self.heads = (name,)

    def initialise(self, value_G: Tensor) -> dict[str, Tensor]:
        """Start the head at these values."""
        return {self.heads[0]: value_G.to(torch.get_default_dtype())}

    def forward(self, batch: Batch, heads: Mapping[str, Tensor]) -> Tensor:
        """Return the head, shape (B, G)."""
        return heads[self.heads[0]]

    def table(self, batch: Batch, outputs: Mapping[str, HeadOutput]) -> tuple[Array, NDArray[np.int64], Array]:
        """Return a row for each cell, and one table of sums, since no two parts share a row."""
        table_RG = outputs[self.heads[0]].values().numpy()
        return table_RG, np.arange(len(batch)), np.zeros((1, *table_RG.shape), np.float32)

    def take_gradient(self, gradient_RG: Array, outputs: Mapping[str, HeadOutput]) -> tuple[Array, ...]:
        """Give the gradient to the head."""
        outputs[self.heads[0]].overwrite(torch.from_numpy(gradient_RG))
        return ()
