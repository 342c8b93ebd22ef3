"""The state of a ``CVAE``: configuration, data, network and training in one object that another model can take over."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import wraps
from typing import Any, TypeVar, cast

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from torch import Tensor

from omicvae._core import NotSupportedError, SettingError, integral
from omicvae.data import CellStore, DataSchema, Identity, check_support, matrix_place
from omicvae.data.minified import is_minified, minified_store, require_data
from omicvae.model.config import ModelConfig, build_module
from omicvae.model.setup_record import check_anndata, own_memory
from omicvae.module import ConditionalVAE
from omicvae.training import CellPasses, FitResult, Split, derive_seed, history_frame


@dataclass(slots=True, eq=False)
class ModelState:
    """All that a model is beside its registration with scvi-tools; what users see of it, ``HasState`` describes.

    Attributes
    ----------
    adata, store
        The model's own cells, as they were given and as the network sees them.
    identity
        What tells them from others; :meth:`own_adata`, the one gate to them, holds it against what they are now.
    parts
        Its checksums, known without the data too.
    split
        Rows of the own cells; None before training and for other cells than those of the training.
    moments
        Of the optimiser, for a run that goes on.
    known
        Results that :meth:`once` keeps.
    """

    config: ModelConfig
    schema: DataSchema
    module: ConditionalVAE = field(init=False)
    adata: AnnData | None = None
    store: CellStore | None = None
    identity: Identity | None = None
    parts: Mapping[str, str] = field(default_factory=dict)
    split: Split | None = None
    fits: list[FitResult] = field(default_factory=list)
    objective: dict[str, Any] = field(default_factory=dict)
    moments: Mapping[str, Tensor] | None = None
    known: dict[Hashable, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.module = build_module(self.config, self.schema)

    def attach(self, adata: AnnData, store: CellStore, identity: Identity) -> None:
        """Make ``adata`` the model's own data."""
        own_memory(adata)
        self.adata, self.store, self.identity, self.parts = adata, store, identity, identity.parts

    def require_own_weights(self, what: str) -> None:
        """Raise where the network is that of a reference, and only what further levels added to it is this model's."""
        if self.schema.extended:
            raise NotSupportedError(
                f"{what} would change weights of the reference, to which this model's cells were mapped. Make a new "
                "model of the cells, CVAE(adata); or map them anew, CVAE.load_query_data(adata, reference)."
            )

    def restart(self) -> None:
        """Make new weights and forget all training."""
        self.require_own_weights("A fresh start")
        self.module = build_module(self.config, self.schema)
        self.fits, self.moments, self.split = [], None, None

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """Leave everything as it was, the network's weights included, where an error ends the block."""
        before = {f.name: getattr(self, f.name) for f in fields(self)} | {"fits": list(self.fits)}
        weights = {name: value.clone() for name, value in self.module.state_dict().items()}
        try:
            yield
        except BaseException as error:
            for name, value in before.items():
                setattr(self, name, value)
            self.module.load_state_dict(weights)
            self.module.eval()
            error.add_note("The model is as it was before this call.")
            raise

    def twin(self, changes: Mapping[str, Any]) -> "ModelState":
        """Return the state of an untrained model of the same cells and split, with other settings of the network."""
        self.require_own_weights("Another network")
        own = {name: value for name, value in changes.items() if name in ModelConfig.__slots__}
        network = {name: value for name, value in changes.items() if name not in own}
        config = replace(self.config, architecture=replace(self.config.architecture, **network), **own)
        return replace(self, config=config, fits=[], objective={}, moments=None)

    def once(self, what: Hashable, make: Callable[[], Any]) -> Any:
        """Compute what the cells say without a latent once: for a second diagnosis, and for all twins."""
        if what not in self.known:
            self.known[what] = make()
        return self.known[what]

    @property
    def history(self) -> pd.DataFrame:
        """Return the epochs of all runs."""
        return pd.concat([fit.history for fit in self.fits]) if self.fits else history_frame([])

    def own_adata(self) -> AnnData:
        """Return the model's own data.

        Raises
        ------
        NotSupportedError
            If it has none.
        DataError
            If they are not what they were when the model took them.
        """
        if self.adata is None:
            raise NotSupportedError(
                "This model was loaded without data: pass adata=, or load it with CVAE.load(path, adata=adata)."
            )
        assert self.identity is not None  # it comes with the data
        if not self.identity.looked_at:
            self.identity.require(self.adata)
            self.identity.looked_at = self.identity.in_call
        return self.adata

    @contextmanager
    def one_look(self) -> Iterator[None]:
        """Look at the own data at most once in the block: a call of the user's and the models it makes."""
        identity = self.identity
        if identity is None or identity.in_call:
            yield
            return
        identity.in_call = True
        try:
            yield
        finally:
            identity.in_call = identity.looked_at = False

    def own_split(self) -> Split | None:
        """Return the split of the own cells, where there are any as they were; None where it is not known."""
        if self.split is not None and self.adata is not None:
            self.own_adata()
        return self.split

    def require_trained(self, what: str) -> None:
        """Raise where the model is not trained."""
        if not self.fits:
            raise NotSupportedError(f"{what} needs a trained model; call train() first.")

    def require_split(self, what: str) -> Split:
        """Return the split; raise where the model is not trained, or has not the cells that it was trained on."""
        self.require_trained(what)
        require_data(self.own_adata(), what)
        if self.split is None:
            whose = (
                "none of the mapped cells has trained" if self.schema.extended else "those of CVAE.load() are others"
            )
            raise NotSupportedError(
                f"{what} needs the cells that the model was trained on, in their order, to know which of them "
                f"validate; {whose}."
            )
        return self.split

    def cells(
        self, adata: AnnData | None = None, *, unseen: str | Mapping[str, str] = "error", missing_genes: str = "error"
    ) -> CellStore:
        """Store of the model's own cells, or of another AnnData encoded by name and checked like training data."""
        if adata is None or adata is self.adata:
            self.own_adata()
            assert self.store is not None  # it comes with the data
            return self.store
        check_anndata(adata)
        if is_minified(adata):
            return minified_store(adata, self.schema, self.module)
        store = CellStore.build(adata, self.schema, unseen=unseen, missing_genes=missing_genes)
        check_support(store.summary, self.module.likelihood.support, matrix_place(self.schema.keys.layer))
        return store

    def passes(
        self,
        what: str,
        adata: AnnData | None,
        indices: Sequence[int] | None,
        batch_size: int | None = None,
        **choices: Any,
    ) -> CellPasses:
        """Return the passes over chosen cells for method ``what``; ``choices`` as in :meth:`cells`."""
        self.require_trained(what)
        store = self.cells(adata, **choices)
        return CellPasses(self.module, store, rows_of(indices, store.n_cells), batch_size)

    def seed_for(self, purpose: str, seed: int | None = None) -> int:
        """Derive the seed of a purpose from what the user gave, or else from the model's seed."""
        return derive_seed(self.config.seed if seed is None else integral("seed", seed, minimum=0), purpose)


Method = TypeVar("Method", bound=Callable[..., Any])


def looks_once(method: Method) -> Method:
    """Let a method of ``CVAE`` look at the own data at most once in a call."""

    @wraps(method)
    def call(self: HasState, *arguments: Any, **named: Any) -> Any:
        with self.state.one_look():
            return method(self, *arguments, **named)

    return cast("Method", call)


class HasState:
    """What every part of ``CVAE`` relies on; the parts stand side by side and know nothing of each other."""

    state: ModelState

    @property
    def config(self) -> ModelConfig:
        """What defines the network."""
        return self.state.config

    @property
    def schema(self) -> DataSchema:
        """What defines the data."""
        return self.state.schema

    @property
    def module(self) -> ConditionalVAE:
        """The network."""
        return self.state.module

    @property
    def fits(self) -> list[FitResult]:
        """One result per call of ``train``."""
        return self.state.fits

    @property
    def objective(self) -> dict[str, Any]:
        """Settings of the last objective; empty before training."""
        return self.state.objective

    @property
    def history(self) -> pd.DataFrame:
        """A row per epoch over all runs; losses in nats per cell, ``elbo_validation`` higher is better."""
        return self.state.history

    @property
    def train_indices(self) -> Any:
        """Rows of the model's own cells that it was trained on; None where they are not known."""
        split = self.state.own_split()
        return None if split is None else split.train

    @property
    def validation_indices(self) -> Any:
        """Rows of the model's own cells that validate; None where they are not known."""
        split = self.state.own_split()
        return None if split is None else split.validation


def rows_of(indices: Sequence[int] | slice | None, n_cells: int) -> NDArray[np.int64]:
    """Row numbers from numbers (integral floats too, as R sends), a boolean mask, a slice, or None for all rows.

    Raises
    ------
    SettingError
        On numbers that are not whole or not rows of the data, a mask of another length, or no row at all.
    """
    if indices is None:
        return np.arange(n_cells)
    if np.ma.is_masked(indices):
        raise SettingError("indices are masked in part, which leaves open whether these cells are meant; fill them.")
    given = np.arange(n_cells)[indices] if isinstance(indices, slice) else np.atleast_1d(np.asarray(indices))
    if given.dtype == bool:
        if given.shape != (n_cells,):
            raise SettingError(f"A mask as indices needs one entry for each of {n_cells} cells, got {given.shape}.")
        given = np.flatnonzero(given)
    if given.size == 0:
        raise SettingError("indices select no cell.")
    if given.dtype.kind not in "iuf" or given.ndim > 1 or not np.isfinite(given).all():
        raise SettingError(
            f"indices must be a list of whole numbers, a mask or a slice, got {indices!r}. Names of cells become "
            "numbers by adata.obs_names.get_indexer(names)."
        )
    rows = given.astype(np.int64)
    if (rows != given).any() or rows.min() < 0 or rows.max() >= n_cells:
        raise SettingError(
            f"indices must be whole numbers from 0 to {n_cells - 1}, got {given.min()} to {given.max()}."
        )
    return rows
