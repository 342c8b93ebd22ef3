"""Cells beside their reconstruction."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from anndata import AnnData

from omicvae._core import integral
from omicvae.analysis import Reconstruction
from omicvae.data import gene_columns
from omicvae.metrics import calibration
from omicvae.model.state import HasState
from omicvae.training import derive_seed


class ReconstructionMixin(HasState):
    """Compares data with what the model makes of them."""

    def reconstruct(
        self,
        adata: AnnData | None = None,
        indices: Sequence[int] | None = None,
        *,
        gene_list: Sequence[str] | None = None,
        n_samples: int = 50,
        batch_size: int | None = None,
        seed: int | None = None,
    ) -> Reconstruction:
        """Set cells beside E[x | z, c] at their posterior mean, gene means, and draws of the posterior predictive.

        For ``ov.pl.reconstruction``, ``reconstruction_genes``, ``reconstruction_cells`` and ``calibration``. It holds a
        few dense arrays (N, G): of many cells name some, such as ``indices=model.validation_indices``, which training
        did not see.

        Parameters
        ----------
        n_samples
            Draws x̂ of each cell for the calibration.
        """
        passes = self.state.passes("reconstruct()", adata, indices, batch_size)
        genes, draws = gene_columns(self.schema.gene_names, gene_list), integral("n_samples", n_samples, minimum=1)
        rows, first = passes.rows, self.state.seed_for("latent", seed)
        x_NG = passes.store.csr(rows)[:, genes].toarray()
        likelihood = self.module.likelihood

        def expected(heads: Any, batch: Any, start: int) -> Any:
            return likelihood.distribution(batch, heads).mean[:, genes]

        predicted_NG = passes.at(passes.encode(lambda q, start: q.mean_BK)[0], expected)[0]
        baseline_NG = np.broadcast_to(x_NG.mean(0, dtype=np.float64), x_NG.shape)
        if counts := likelihood.support == "counts":
            library_N1 = passes.store.library_N[rows, None]
            baseline_NG = library_N1 * (x_NG.sum(0, dtype=np.float64) / library_N1.sum())

        def drawn() -> Iterator[Any]:
            for s in range(draws):
                yield passes.sample(genes, seed=derive_seed(first, "latent", s), n_samples=1)

        names = [self.schema.gene_names[g] for g in genes]
        cells = (self.state.own_adata() if adata is None else adata).obs_names[rows]
        return Reconstruction(
            observed_NG=x_NG,
            predicted_NG=predicted_NG,
            baseline_NG=baseline_NG,
            counts=counts,
            cells=tuple(cells),
            genes=tuple(names),
            calibration=calibration(x_NG, drawn(), genes=names, seed=first % 2**32),
        )
