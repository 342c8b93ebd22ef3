"""From AnnData to minibatches: set-up, checks, the compact store, splits."""

from omicvae.data.alignment import align_genes
from omicvae.data.audit import MatrixAudit, audit_matrix, check_support, choose_likelihood
from omicvae.data.covariates import CategoricalLevels, ContinuousScaling
from omicvae.data.fingerprint import fingerprint
from omicvae.data.keys import SetupKeys
from omicvae.data.matrix import get_matrix, iter_rows
from omicvae.data.schema import DataSchema
from omicvae.data.splits import minibatch_sizes, train_validation_split
from omicvae.data.store import CellStore

__all__ = [
    "CategoricalLevels",
    "CellStore",
    "ContinuousScaling",
    "DataSchema",
    "MatrixAudit",
    "SetupKeys",
    "align_genes",
    "audit_matrix",
    "check_support",
    "choose_likelihood",
    "fingerprint",
    "get_matrix",
    "iter_rows",
    "minibatch_sizes",
    "train_validation_split",
]
