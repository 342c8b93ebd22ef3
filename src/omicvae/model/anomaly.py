"""``anomaly_score``: cells that the model did not expect."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from omicvae._core import SettingError, integral
from omicvae.model.state import HasState
from omicvae.training.replicates import surprise


class AnomalyMixin(HasState):
    """How likely each cell is, and whether that is less than the model expects of such a cell."""

    def anomaly_score(
        self,
        adata: AnnData | None = None,
        indices: Sequence[int] | None = None,
        *,
        n_replicates: int = 50,
        n_samples: int = 10,
        n_genes: int = 0,
        batch_size: int | None = None,
        unseen: str | Mapping[str, str] = "error",
        missing_genes: str = "error",
        seed: int | None = None,
    ) -> pd.DataFrame:
        """Score cells: −log p(x | c), and its excess over replicates of the cell that the model draws itself.

        A deep cell has a large −log p(x | c) because it has more counts. So each cell is compared with R replicates
        x̂ ~ p(x | z, c, ℓ) at its own draw z ~ q(z | x, c), covariates and library: by the negative bound
        −log p(x | z, c) + KL(q ‖ p), for which a replicate is encoded as the cell is. Where cells are the model's,
        ``tail_share`` is about uniform from 1/(R + 1) to 1. Cells that trained fit better than replicates do; judge
        others. A cell far out in the latent that is decoded well is rare, and has no excess.

        Parameters
        ----------
        adata, indices, batch_size, unseen, missing_genes
            Cells, as in ``get_latent_representation``.
        n_replicates
            Replicates R of each cell.
        n_samples
            Draws of the importance-weighted ``nll`` (Burda et al. 2016); more give a tighter bound.
        n_genes
            Name so many genes that contribute most to the excess.
        seed
            Of all draws; None for the model's. A cell's draws are its own, whatever cells are beside it.

        Returns
        -------
        pandas.DataFrame
            A row for each cell: ``nll``, −log p(x | c) in nats; ``excess``, the negative bound minus the mean of the
            replicates' in nats; ``z``, the excess in SDs of the replicates; ``tail_share``, (1 + number of replicates
            as surprising) / (R + 1), small for an anomaly. With ``n_genes``, ``gene_1``, ``gene_1_excess`` (nats), …

        Raises
        ------
        SettingError
            On fewer than two replicates, or more genes than there are.
        """
        n_replicates = integral("n_replicates", n_replicates, minimum=2)
        n_samples, n_genes = integral("n_samples", n_samples, minimum=1), integral("n_genes", n_genes, minimum=0)
        names = np.asarray(self.schema.gene_names)
        if n_genes > len(names):
            raise SettingError(f"n_genes={n_genes} is more than the model's {len(names)} genes.")
        matching = {"unseen": unseen, "missing_genes": missing_genes}
        passes = self.state.passes("anomaly_score()", adata, indices, batch_size, **matching)
        seed = self.state.seed_for("latent", seed)
        found = surprise(passes, seed=seed, n_replicates=n_replicates, n_genes=n_genes)
        excess_N = found.nats_N - found.replicates_NR.mean(1)
        sd_N = found.replicates_NR.std(1, ddof=1)
        as_surprising_N = (found.replicates_NR >= found.nats_N[:, None]).sum(1)
        columns = {
            "nll": -passes.marginal_log_likelihood(seed=seed, n_samples=n_samples),
            "excess": excess_N,
            "z": excess_N / np.where(sd_N > 0, sd_N, np.inf),
            "tail_share": (1 + as_surprising_N) / (n_replicates + 1),
        }
        for place in range(n_genes):
            columns[f"gene_{place + 1}"] = names[found.genes_NT[:, place]]
            columns[f"gene_{place + 1}_excess"] = found.excess_NT[:, place]
        cells = (self.state.own_adata() if adata is None else adata).obs_names
        return pd.DataFrame(columns, index=cells[passes.rows])
