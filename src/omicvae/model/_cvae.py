"""The conditional VAE on AnnData."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from anndata import AnnData
from scvi.model.base import ArchesMixin, BaseModelClass, RNASeqMixin, VAEMixin

from omicvae._core import integral
from omicvae.data import (
    CellStore,
    DataSchema,
    SetupKeys,
    check_support,
    choose_likelihood,
    train_validation_split,
)
from omicvae.likelihoods import LIKELIHOODS
from omicvae.model._build import ModelConfig, random_cells
from omicvae.model._diagnosis import DiagnosisMixin
from omicvae.model._expression import ExpressionMixin
from omicvae.model._refusals import RefusalsMixin
from omicvae.model._saving import SavingMixin
from omicvae.model._setup import check_unchanged, own_memory, record_setup, recorded_setup
from omicvae.module import Architecture
from omicvae.networks import LOG_VARIANCE_BOUNDS
from omicvae.objective import Objective
from omicvae.training import Split, derive_seed, fit, hardware, plan_budget

logger = logging.getLogger("omicvae")

#: settings that hold the KL weight of an earlier objective where it ended
HELD = {"schedule": "constant", "warmup": None, "warmup_epochs": None, "warmup_steps": None}


class CVAE(
    ExpressionMixin,
    DiagnosisMixin,
    SavingMixin,
    RefusalsMixin,
    VAEMixin,
    RNASeqMixin,
    ArchesMixin,
    BaseModelClass,
):
    """Conditional variational autoencoder for counts, real values and binary data.

    Maximises, per cell, the β = 1 bound log p(x | c) ≥ E_q[log p(x | z, c)] − KL(q(z | x, c) ‖ p(z)) in nats
    (Kingma & Welling 2014; Sohn et al. 2015; for counts Lopez et al. 2018), or the objective given to ``train``.

    Parameters
    ----------
    adata
        Cells × genes; set up with ``CVAE.setup_anndata`` or, if it was not, with defaults.
    likelihood
        ``"nb"``, ``"zinb"``, ``"poisson"`` (counts), ``"gaussian"`` (real values), ``"bernoulli"`` (0/1), or
        ``"auto"``: integer counts get ``"nb"``, 0/1 ``"bernoulli"``, real values ``"gaussian"``.
    n_latent
        Dimensions K of the latent space.
    n_hidden, n_layers, dropout_rate, normalization, activation
        Width and number of hidden layers, dropout of the encoder, ``"batch"``/``"layer"``/``"none"``,
        ``"relu"``/``"gelu"``/``"silu"``/``"tanh"``/``"leaky_relu"`` (slope 0.2).
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
        dropout_rate: float = 0.1,
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
    ) -> None:
        architecture = Architecture(
            n_latent=n_latent,
            n_hidden=n_hidden,
            n_layers=n_layers,
            dropout_rate=dropout_rate,
            normalization=normalization,
            activation=activation,
            covariate_encoding=covariate_encoding,
            encode_covariates=encode_covariates,
            decode_covariates=decode_covariates,
            deeply_inject_covariates=deeply_inject_covariates,
            n_hidden_decoder=n_hidden_decoder,
            n_layers_decoder=n_layers_decoder,
            dropout_rate_decoder=dropout_rate_decoder,
            log_variance_bounds=log_variance_bounds,
        )
        own_memory(adata)
        setup = recorded_setup(adata)
        if setup is None:
            logger.warning(
                "adata was not set up: using adata.X and no covariates. For batches, other covariates or a layer, call "
                "CVAE.setup_anndata(adata, ...) first."
            )
            type(self).setup_anndata(adata)
            setup = SetupKeys()
        schema = DataSchema.register(adata, setup)
        store = CellStore.build(adata, schema)
        if likelihood == "auto":
            likelihood = choose_likelihood(store.audit)
            logger.info('likelihood="auto" chose %r from the values of the data.', likelihood)
        config = ModelConfig(likelihood, dispersion, prior, seed, architecture, n_pseudo_inputs)
        check_support(store.audit, LIKELIHOODS[likelihood].support)
        self._assemble(config, schema)
        self._attach(adata, store)

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

        Raises
        ------
        DataError
            On missing columns or values, NaN or inf, duplicate gene names, or no cells or genes.
        """
        setup = SetupKeys(
            layer,
            batch_key,
            labels_key,
            categorical_covariate_keys,  # type: ignore[arg-type]  # normalised to a tuple by SetupKeys
            continuous_covariate_keys,  # type: ignore[arg-type]
            size_factor_key,
        )
        own_memory(adata)
        DataSchema.register(adata, setup)
        record_setup(adata, setup)

    def train(
        self,
        max_epochs: int | None = None,
        *,
        objective: Objective | Mapping[str, Any] | None = None,
        batch_size: int = 128,
        train_size: float = 0.9,
        early_stopping: bool = True,
        early_stopping_patience: int | None = None,
        learning_rate: float | None = None,
        accelerator: str = "auto",
        devices: int | str | list[int] = "auto",
        precision: str = "auto",
        seed: int | None = None,
        progress_bar: bool = True,
        callbacks: Sequence[Any] = (),
        **trainer_arguments: Any,
    ) -> None:
        """Fit the model: one-cycle Adam, KL warm-up, validation in every epoch, best weights kept.

        Parameters
        ----------
        max_epochs
            Length of the run; None takes the number of optimiser steps that benchmarks found to suffice.
        objective
            ``Objective`` or a mapping of its fields (``beta``, ``schedule``, ``warmup``, ``free_bits``, ...).
        batch_size
            Cells in a minibatch.
        train_size
            Fraction of cells to train on; the others validate. 1.0 trains on all, without validation.
        early_stopping, early_stopping_patience
            Stop when the validation objective has not improved for so many epochs (default: a fifth of the plan,
            at least 10), counted once the KL weight is final and the learning rate falls.
        learning_rate
            Peak of the one-cycle rate.
        accelerator, devices, precision
            As in ``lightning.pytorch.Trainer``; ``"auto"`` takes a CUDA device where there is one, else the CPU, and
            float32. Offered are one device, and the precisions of ``omicvae.training.PRECISIONS``.
        seed
            None goes on from the model's seed.
        progress_bar
            Show a bar; the log line of each epoch goes to the logger ``omicvae`` at level INFO.
        callbacks, trainer_arguments
            Passed to the Trainer.

        A second call goes on from the present weights with the same split, by default with the last objective at its
        final KL weight, and appends its epochs to ``history``.

        Raises
        ------
        SettingError
            If the run would end before the KL weight is final, or a setting is impossible.
        """
        check_unchanged(self._own_adata(), self.schema.keys.layer, self._fingerprint)
        store = self._cells(None)
        seed = self.config.seed if seed is None else integral("seed", seed, minimum=0)
        if objective is None and self.fits:
            objective = {**self.objective, **HELD}
        goal = Objective.parse(objective)
        batch_size = integral("batch_size", batch_size, minimum=1)
        split = self._known_split() or self._split(store, train_size, seed)
        budget = plan_budget(len(split.train), batch_size, max_epochs=max_epochs, learning_rate=learning_rate)
        if not self.fits:
            self.schema = self.schema.fit_scaling(store, split.train)
            self._store = store = store.with_schema(self.schema)
            self.module.initialise(store.moments(split.train), random_cells(store, split.train, seed))
            self._name_constant_genes()
        else:
            logger.warning("Training goes on from epoch %d with the present weights.", len(self.history))
        planned = goal.plan(
            budget.total_steps,
            budget.steps_per_epoch,
            n_genes=self.module.n_genes,
            n_latent=self.config.architecture.n_latent,
        )
        if planned.effective_beta != goal.beta:
            logger.warning(
                'reduction="mean" averages the reconstruction over %d genes and the KL over %d dimensions: '
                "beta=%g acts like beta=%.4g on the ELBO.",
                self.module.n_genes,
                self.config.architecture.n_latent,
                goal.beta,
                planned.effective_beta,
            )
        result = fit(
            self.module,
            store,
            split,
            planned=planned,
            budget=budget,
            batch_size=batch_size,
            seed=derive_seed(seed, "noise", len(self.fits)),
            early_stopping=early_stopping,
            patience=early_stopping_patience,
            progress_bar=progress_bar,
            callbacks=callbacks,
            first_epoch=len(self.history) + 1,
            **hardware(accelerator, devices, precision),
            **trainer_arguments,
        )
        self.fits.append(result)
        self.objective = goal.to_dict()
        self.train_indices, self.validation_indices = split.train, split.validation
        self._knows_split = True
        self.is_trained_ = True

    def _name_constant_genes(self) -> None:
        left_out = [self.schema.gene_names[g] for g in self.module.likelihood.constant_genes.tolist()]
        if left_out:
            logger.warning(
                "%d gene(s) are constant over the training cells and are left out of the likelihood, such as %s.",
                len(left_out),
                ", ".join(left_out[:5]),
            )

    def _known_split(self) -> Split | None:
        """Split of an earlier run on these cells: what has been trained on must not validate later."""
        return Split(self.train_indices, self.validation_indices) if self.fits and self._knows_split else None

    def _split(self, store: CellStore, train_size: float, seed: int) -> Split:
        """Split the same way in every run with the same seed and size; stratified by the categorical covariates."""
        rng = np.random.default_rng(derive_seed(seed, "split"))
        return Split(*train_validation_split(store.n_cells, train_size=train_size, strata=store.codes_ND, rng=rng))

    def __repr__(self) -> str:
        """Return one line on likelihood, sizes and state."""
        state = f"trained for {len(self.history)} epochs" if self.fits else "not trained"
        return (
            f"CVAE({self.config.likelihood!r}, {len(self.schema.gene_names)} genes, "
            f"{self.config.architecture.n_latent} latent dimensions, {state})"
        )
