"""The conditional VAE on AnnData."""

import inspect
import logging
from collections.abc import Sequence
from typing import Any

from anndata import AnnData
from scvi.model.base import ArchesMixin, BaseMinifiedModeModelClass, RNASeqMixin, VAEMixin

from omicvae._core import SettingError, named_fields
from omicvae._core.words import unknown_settings
from omicvae.data import CellStore, DataSchema, Identity, SetupKeys, check_support, choose_likelihood
from omicvae.data.minified import require_data
from omicvae.likelihoods import LIKELIHOODS
from omicvae.model.anomaly import AnomalyMixin
from omicvae.model.config import ModelConfig, default_dropout
from omicvae.model.counterfactual import CounterfactualMixin
from omicvae.model.diagnosis import DiagnosisMixin
from omicvae.model.effects import EffectsMixin
from omicvae.model.export import ExportMixin
from omicvae.model.expression import ExpressionMixin
from omicvae.model.generation import GenerationMixin
from omicvae.model.host import RefusalsMixin, adopt
from omicvae.model.imputation import ImputationMixin
from omicvae.model.latent import LatentMixin
from omicvae.model.mapping import MappingMixin
from omicvae.model.minified import MinifiedMixin
from omicvae.model.reconstruction import ReconstructionMixin
from omicvae.model.saving import SavingMixin
from omicvae.model.setup_record import own_memory, record_setup, recorded_setup
from omicvae.model.state import ModelState
from omicvae.model.training import TrainingMixin
from omicvae.module import Architecture
from omicvae.networks import LOG_VARIANCE_BOUNDS

logger = logging.getLogger("omicvae")


class CVAE(
    TrainingMixin,
    LatentMixin,
    ExpressionMixin,
    ExportMixin,
    GenerationMixin,
    ReconstructionMixin,
    DiagnosisMixin,
    AnomalyMixin,
    ImputationMixin,
    MinifiedMixin,
    EffectsMixin,
    MappingMixin,
    SavingMixin,
    CounterfactualMixin,
    RefusalsMixin,
    VAEMixin,
    RNASeqMixin,
    ArchesMixin,
    BaseMinifiedModeModelClass,
):
    """Conditional variational autoencoder for counts, real values and binary data.

    Maximises, per cell, the β = 1 bound log p(x | c) ≥ E_q[log p(x | z, c)] − KL(q(z | x, c) ‖ p(z)) in nats
    (Kingma & Welling 2014; Sohn et al. 2015; for counts Lopez et al. 2018), or the objective given to ``train``.

    Parameters
    ----------
    adata
        Cells × genes; set up with ``CVAE.setup_anndata`` or, if it was not, with defaults.
    likelihood
        ``"nb"``, ``"zinb"``, ``"poisson"`` (counts), ``"gaussian"`` (real values), ``"bernoulli"`` (0/1),
        ``"student_t"`` (real values with outliers; heavy tails, never chosen by ``"auto"``), or
        ``"auto"``: counts, and what ``round_counts`` makes some, get ``"nb"``, 0/1 ``"bernoulli"``, real values
            ``"gaussian"``.
    n_latent
        Dimensions K of the latent space.
    n_hidden, n_layers, dropout_rate, normalization, activation
        Width and number of hidden layers, dropout of the encoder (None: 0.1, and 0.5 below 500 cells),
        ``"batch"``/``"layer"``/``"none"``, ``"relu"``/``"gelu"``/``"silu"``/``"tanh"``/``"leaky_relu"`` (slope 0.2).
    n_hidden_decoder, n_layers_decoder, dropout_rate_decoder
        The same of the decoder; None for as wide and as deep as the encoder.
    log_variance_bounds
        Lowest and highest log variance of the posterior, with 0, where it starts, between them.
    dispersion
        Counts: ``"gene"``, ``"gene-batch"`` or ``"gene-cell"``. Gaussian variance: ``"gene"``, ``"gene-cell"`` or
        ``"fixed"`` (1 in standardised units). None takes the first.
    covariate_encoding
        ``"one_hot"`` or ``"embedding"`` of categorical covariates.
    encode_covariates, decode_covariates, deeply_inject_covariates
        Whether covariates enter the encoder, the decoder, and every layer of them rather than the first.
    prior
        ``"standard"``: N(0, I). ``"conditional"``: N(m(c), diag v(c)), with m and log v linear in the covariates (Sohn
        et al. 2015). ``"vamp"``: the mixture of the posteriors at learned pseudo-inputs (Tomczak & Welling 2018).
    n_pseudo_inputs
        Components of the VampPrior, at most as many as there are training cells.
    seed
        Fixes weights, split and everything that ``train(seed=None)`` draws; global generators are left alone.

    Raises
    ------
    DataError
        If the data cannot be modelled, or not with this likelihood; the message says what to do.
    SettingError
        On an unknown or impossible setting.
    """

    def __init__(
        self,
        adata: AnnData,
        likelihood: str = "auto",
        n_latent: int = 10,
        *,
        n_hidden: int = 128,
        n_layers: int = 1,
        dropout_rate: float | None = None,
        dispersion: str | None = None,
        normalization: str = "batch",
        activation: str = "relu",
        covariate_encoding: str = "one_hot",
        encode_covariates: bool = True,
        decode_covariates: bool = True,
        deeply_inject_covariates: bool = True,
        prior: str = "standard",
        n_pseudo_inputs: int = 50,
        n_hidden_decoder: int | None = None,
        n_layers_decoder: int | None = None,
        dropout_rate_decoder: float = 0.0,
        log_variance_bounds: tuple[float, float] = LOG_VARIANCE_BOUNDS,
        seed: int = 0,
        **unknown: Any,
    ) -> None:
        named = locals().copy()
        if unknown:
            raise unknown_settings("CVAE()", unknown, list(inspect.signature(type(self).__init__).parameters)[1:-1])
        own_memory(adata)
        require_data(adata, "CVAE()")
        if dropout_rate is None:
            named["dropout_rate"] = default_dropout(adata.n_obs)
        architecture = Architecture(**named_fields(Architecture, named))
        identity = recorded_setup(adata)
        if identity is None:
            logger.warning(
                "adata was not set up: using adata.X and no covariates. For batches, other covariates or a layer, call "
                "CVAE.setup_anndata(adata, ...) first."
            )
            type(self).setup_anndata(adata)
            identity = Identity.of(adata, SetupKeys())
        schema = DataSchema.register(adata, identity.keys)
        store = CellStore.build(adata, schema)
        if likelihood == "auto":
            rounds, layer = identity.keys.round_counts, identity.keys.layer
            named["likelihood"] = "nb" if rounds else choose_likelihood(store.summary, adata, layer)
            logger.info('likelihood="auto" chose %r from the values of the data.', named["likelihood"])
        config = ModelConfig(architecture=architecture, **named_fields(ModelConfig, named))
        support = LIKELIHOODS[config.likelihood].support
        if identity.keys.round_counts and support != "counts":
            raise SettingError(
                f"round_counts=True makes counts, and likelihood={config.likelihood!r} models none. Take one "
                "for counts, or set up without it."
            )
        check_support(store.summary, support)
        state = ModelState(config, schema)
        state.attach(adata, store, identity)
        adopt(self, state)

    @classmethod
    def setup_anndata(
        cls,
        adata: AnnData,
        *,
        layer: str | None = None,
        batch_key: str | None = None,
        labels_key: str | None = None,
        categorical_covariate_keys: Sequence[str] | None = None,
        continuous_covariate_keys: Sequence[str] | None = None,
        size_factor_key: str | None = None,
        round_counts: bool = False,
    ) -> None:
        """Record which layer and ``obs`` columns a model uses, and check them.

        Parameters
        ----------
        layer
            Layer with the data; None for ``adata.X``.
        batch_key, categorical_covariate_keys, continuous_covariate_keys
            Columns of ``adata.obs`` on which the model conditions. A single name may be given as a string.
        labels_key
            Column used by the diagnosis; it never enters the network.
        size_factor_key
            Positive factors s near 1; the mean of a count is then s·exp(f) instead of library · softmax(f).
        round_counts
            Round to whole numbers whatever is read, here and in new cells: for counts that were corrected to fractions,
            as ambient-RNA tools and expected counts have them. ``adata`` stays as it is.

        Raises
        ------
        DataError
            On missing columns or values, NaN or inf, duplicate gene names, or no cells or genes.
        """
        setup = SetupKeys(**named_fields(SetupKeys, locals()))
        own_memory(adata)
        require_data(adata, "setup_anndata()")
        DataSchema.register(adata, setup)
        record_setup(adata, setup)

    def __repr__(self) -> str:
        """Return one line on likelihood, sizes and state."""
        state = f"trained for {len(self.history)} epochs" if self.fits else "not trained"
        return (
            f"CVAE({self.config.likelihood!r}, {len(self.schema.gene_names)} genes, "
            f"{self.config.architecture.n_latent} latent dimensions, {state})"
        )
