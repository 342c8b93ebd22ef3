"""Minified cells: posterior and library in the place of the data, as scvi-tools has them."""

import numpy as np
import scipy.sparse as sp
from anndata import AnnData
from scvi.data._constants import _SCVI_UUID_KEY

from omicvae._core import choose, keys
from omicvae.data import Identity
from omicvae.data.minified import minified_store, require_data, weights_sum
from omicvae.model.host import adopt
from omicvae.model.state import HasState
from omicvae.training import CellPasses

#: the one form that is offered; scvi-tools' other one keeps the counts, and so saves nothing
TYPES = ("latent_posterior_parameters",)


class MinifiedMixin(HasState):
    """``minify_adata``, with scvi-tools' name."""

    @property
    def minified_data_type(self) -> str | None:
        """``"latent_posterior_parameters"`` where the model's own cells are minified, else None."""
        adata = self.state.adata
        return None if adata is None else adata.uns.get(keys.MINIFY_TYPE)

    def minify_adata(
        self,
        minified_data_type: str = "latent_posterior_parameters",
        use_latent_qzm_key: str = keys.POSTERIOR_MEAN,
        use_latent_qzv_key: str = keys.POSTERIOR_VARIANCE,
    ) -> None:
        """Put q(z | x, c) and the library in the place of the data: a model with cells that takes little room.

        ``model.adata`` becomes a new AnnData without data, with mean and variance of q (N, K each) in ``obsm`` and the
        library (or size factor) in ``obs["observed_lib_size"]``; the AnnData as it was is left alone. What needs the
        latent alone answers as before: latents, expression, samples. What reads data refuses:
        ``get_elbo``, ``get_reconstruction_error``, ``get_marginal_ll``, ``train``, ``diagnose``. Save it with
        ``save_anndata=True``, or write ``model.adata`` yourself; ``CVAE.load`` takes either.

        Parameters
        ----------
        minified_data_type
            The one form there is.
        use_latent_qzm_key, use_latent_qzv_key
            Must stay as they are: the latents are computed here, and not read from elsewhere.

        Raises
        ------
        NotSupportedError
            If the model is not trained, has no data, or minified data.
        """
        choose("minified_data_type", minified_data_type, TYPES)
        choose("use_latent_qzm_key", use_latent_qzm_key, (keys.POSTERIOR_MEAN,))
        choose("use_latent_qzv_key", use_latent_qzv_key, (keys.POSTERIOR_VARIANCE,))
        state = self.state
        state.require_trained("minify_adata()")
        adata, store = state.own_adata(), state.cells()
        require_data(adata, "minify_adata()")
        posterior = CellPasses(state.module, store).encode(lambda q, start: (q.mean_BK, q.log_variance_BK))
        layer, nothing = state.schema.keys.layer, sp.csr_matrix(adata.shape, dtype=np.float32)
        uns = {name: value for name, value in adata.uns.items() if name != _SCVI_UUID_KEY}
        own = {**uns.get(keys.UNS, {}), keys.MINIFIED: weights_sum(state.module)}
        own.pop(keys.SETUP, None)  # there is nothing to make another model of
        small = AnnData(
            nothing,
            obs=adata.obs.assign(**{keys.LIBRARY: store.library_N}),
            var=adata.var.copy(),
            uns={**uns, keys.UNS: own, keys.MINIFY_TYPE: minified_data_type},
            obsm={keys.POSTERIOR_MEAN: posterior[0], keys.POSTERIOR_VARIANCE: np.exp(posterior[1])},
            layers={} if layer is None else {layer: nothing},
        )
        parts, state.known = state.parts, {}
        state.attach(small, minified_store(small, state.schema, state.module), Identity.of(small, state.schema.keys))
        state.parts = {**parts, **state.parts}  # the data themselves are the cells of the fit as well
        adopt(self, state)
