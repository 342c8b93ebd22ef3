"""Decoded expression, samples from the posterior predictive, differential expression."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from numpy.typing import NDArray
from scvi.model.base import RNASeqMixin
from torch import Tensor

from omicvae._core import Batch, DataError, NotSupportedError, SettingError, integral
from omicvae.model._latent import LatentMixin, rows_of
from omicvae.training import derive_seed, map_cells, private_generators


class ExpressionMixin(LatentMixin):
    """Methods of scvi-tools' ``RNASeqMixin`` that are right here, with its argument names."""

    def get_normalized_expression(
        self,
        adata: AnnData | None = None,
        indices: Sequence[int] | None = None,
        transform_batch: str | int | Sequence[str | int] | None = None,
        *,
        gene_list: Sequence[str] | None = None,
        library_size: float = 1,
        n_samples: int = 1,
        n_samples_overall: int | None = None,
        weights: str | None = None,
        batch_size: int | None = None,
        return_mean: bool = True,
        return_numpy: bool | None = None,
        out: Any = None,
        silent: bool = True,
    ) -> pd.DataFrame | NDArray[np.float32]:
        """Decode expression: ρ = softmax(f(z, c)) times ``library_size`` for counts, the mean in data units else.

        With size factors a count's value is exp(f(z, c)) times ``library_size``.

        Parameters
        ----------
        adata, indices
            Cells, as in ``get_latent_representation``.
        transform_batch
            Decode as if every cell were of this level of ``batch_key``; a sequence averages over its levels.
        gene_list
            Genes to return, by name and in the order of the data.
        library_size
            Library to which counts are scaled; must stay 1 for other likelihoods.
        n_samples, n_samples_overall
            Posterior draws per cell (1: the posterior mean is decoded); or the number of rows drawn over all cells.
        weights
            ``"uniform"`` or None; importance weights are not offered.
        return_mean
            Average over draws, else shape (S, N, G).
        return_numpy
            An array instead of a table with names.
        out
            Array of shape (N, G) to write into and return, cells by cells: a ``numpy.memmap`` or a data set of zarr or
            h5py holds what does not fit in memory.
        silent
            Taken for scvi-tools' sake; there is no progress bar.

        Returns
        -------
        Shape (N, G), or (S, N, G), or (n_samples_overall, G).
        """
        self._require_trained("get_normalized_expression()")
        if weights not in (None, "uniform"):
            raise SettingError(f'weights must be None or "uniform", got {weights!r}.')
        if library_size != 1 and self.module.likelihood.support != "counts":
            raise SettingError(
                f"library_size={library_size!r} scales counts; this model's likelihood is "
                f"{self.config.likelihood!r}. Leave library_size at 1."
            )
        if library_size == "latent":
            raise SettingError(
                'library_size="latent" is not offered: omicvae uses the observed library. Pass a number.'
            )
        store = self._cells(adata)
        rows = rows_of(indices, store.n_cells)
        if n_samples_overall is not None:
            n_samples = integral("n_samples_overall", n_samples_overall, minimum=1) // len(rows) + 1
        n_samples = integral("n_samples", n_samples, minimum=1)
        batch_codes = self._batch_codes(transform_batch)
        genes = self._gene_columns(gene_list)
        module = self.module
        generator = torch.Generator(module.device).manual_seed(derive_seed(self.config.seed, "latent"))

        def expression(batch: Batch, start: int) -> Tensor:
            q = module.encode(batch)
            single = n_samples == 1 and n_samples_overall is None
            draws = [q.mean_BK] if single else [q.sample(generator) for _ in range(n_samples)]
            values = []
            for z_BK in draws:
                decoded = [
                    module.likelihood.normalized(module.decode(z_BK, as_batch(batch, code)))[:, genes]
                    for code in batch_codes
                ]
                values.append(torch.stack(decoded).mean(0) * float(library_size))
            if return_mean and n_samples_overall is None:
                return torch.stack(values).mean(0)
            return torch.stack(values, dim=1)  # (B, S, G), so that cells stay the first axis

        if out is not None and (tuple(out.shape) != (len(rows), len(genes)) or n_samples_overall or not return_mean):
            raise SettingError(
                f"out has shape {tuple(out.shape)}, and takes the mean over draws of shape {(len(rows), len(genes))} "
                "(cells, genes)."
            )
        (values,) = map_cells(module, store, rows, expression, batch_size=batch_size, device=module.device, out=out)
        if out is not None:
            return values
        names = [self.schema.gene_names[g] for g in genes]
        if n_samples_overall is not None:
            rng = np.random.default_rng(derive_seed(self.config.seed, "latent"))
            flat = values.reshape(-1, len(genes))
            return flat[rng.choice(len(flat), int(n_samples_overall), replace=False)]
        if values.ndim == 3:
            return values.transpose(1, 0, 2)
        if return_numpy:
            return values
        cells = (self._own_adata() if adata is None else adata).obs_names[rows]
        return pd.DataFrame(values, index=cells, columns=names)

    def posterior_predictive_sample(
        self,
        adata: AnnData | None = None,
        indices: Sequence[int] | None = None,
        transform_batch: str | int | Sequence[str | int] | None = None,
        n_samples: int = 1,
        gene_list: Sequence[str] | None = None,
        batch_size: int | None = None,
        *,
        seed: int | None = None,
        silent: bool = True,
    ) -> Any:
        """Draw x̂ ~ p(x | z, c) with z ~ q(z | x, c), in data units and with each cell's own library.

        Returns
        -------
        A ``sparse.GCXS`` array (N, G), or (N, G, S) for several draws, as scvi-tools does.
        """
        import sparse

        self._require_trained("posterior_predictive_sample()")
        store = self._cells(adata)
        n_samples = integral("n_samples", n_samples, minimum=1)
        codes, genes, module = self._batch_codes(transform_batch), self._gene_columns(gene_list), self.module
        if len(codes) > 1:
            raise SettingError("Samples cannot be averaged over batches; pass one level as transform_batch.")
        seed = self.config.seed if seed is None else integral("seed", seed, minimum=0)

        def sample(batch: Batch, start: int) -> Tensor:
            q, target = module.encode(batch), as_batch(batch, codes[0])
            draws = [module.distribution(q.sample(), target).sample()[:, genes] for _ in range(n_samples)]
            return torch.stack(draws, dim=-1) if n_samples > 1 else draws[0]

        rows = rows_of(indices, store.n_cells)
        with private_generators():
            torch.manual_seed(derive_seed(seed, "latent"))
            (values,) = map_cells(module, store, rows, sample, batch_size=batch_size, device=module.device)
        return sparse.GCXS.from_numpy(values)

    def differential_expression(self, adata: AnnData | None = None, **arguments: Any) -> pd.DataFrame:
        """Differential expression of counts as in scvi-tools (Lopez et al. 2018; Boyeau et al. 2019).

        Arguments are those of ``scvi.model.SCVI.differential_expression``. Only for count likelihoods: its fold
        changes are ratios of ρ.
        """
        self._require_trained("differential_expression()")
        if self.module.likelihood.support != "counts":
            raise NotSupportedError(
                f"differential_expression() compares proportions of counts, and this model's likelihood is "
                f"{self.config.likelihood!r}. Compare get_normalized_expression() between groups instead."
            )
        if adata is not None and adata is not self.adata:
            raise NotSupportedError("differential_expression() works on the model's own cells; leave adata at None.")
        if tuple(self._own_adata().var_names) != self.schema.gene_names:
            raise NotSupportedError(
                "differential_expression() names genes by their place: the data's genes must be the model's, in its "
                "order. Load the model with adata[:, list(model.schema.gene_names)].copy()."
            )
        return RNASeqMixin.differential_expression(self, adata, **arguments)

    def _validate_anndata(self, adata: AnnData | None = None, copy_if_view: bool = True) -> AnnData:
        """scvi-tools' hook; genes and levels are checked by name where cells are encoded."""
        return self.adata if adata is None else adata

    def _batch_codes(self, levels: str | int | Sequence[str | int] | None) -> list[int | None]:
        """Codes of levels of the batch covariate; None stands for each cell's own."""
        if levels is None:
            return [None]
        wanted: list[Any] = [levels] if np.ndim(levels) == 0 else list(levels)  # type: ignore[arg-type]
        if wanted == [None]:
            return [None]
        if self.schema.keys.batch_key is None:
            raise SettingError("transform_batch needs a batch_key, and this model was set up without one.")
        batches = self.schema.categorical[0]
        codes = [batches.code(level) for level in wanted]
        if None in codes:
            raise SettingError(f"transform_batch={levels!r}: known levels of {batches.key!r} are {batches.levels}.")
        return codes

    def _gene_columns(self, gene_list: Sequence[str] | None) -> list[int]:
        if gene_list is None:
            return list(range(len(self.schema.gene_names)))
        wanted = {gene_list} if isinstance(gene_list, str) else set(gene_list)
        unknown = wanted.difference(self.schema.gene_names)
        if unknown:
            raise DataError(f"{len(unknown)} gene(s) of gene_list are not in the model, such as {sorted(unknown)[:5]}.")
        return [g for g, name in enumerate(self.schema.gene_names) if name in wanted]


def as_batch(batch: Batch, code: int | None) -> Batch:
    """Return the minibatch with every cell in the batch ``code``; None leaves it as it is."""
    if code is None:
        return batch
    categories_BD = batch.categories_BD.clone()
    categories_BD[:, 0] = code
    return batch.with_categories(categories_BD)
