"""From AnnData to minibatches: set-up, checks, a summary, the compact store, splits."""

from omicvae.data.alignment import align_genes, gene_columns
from omicvae.data.covariates import CategoricalLevels, ContinuousScaling, column_levels, labels_of, obs_column
from omicvae.data.identity import Identity, fingerprint, matrix_place
from omicvae.data.keys import SetupKeys
from omicvae.data.matrix import get_matrix, iter_rows
from omicvae.data.points import Covariates, covariate_frame, named_covariates, point_covariates
from omicvae.data.schema import DataSchema
from omicvae.data.splits import minibatch_sizes, train_validation_split
from omicvae.data.store import CellStore
from omicvae.data.summary import USUAL, MatrixSummary, check_support, choose_likelihood, support_of
from omicvae.data.transform import Transform, covariate_columns, require_covariates

__all__ = [
    "USUAL",
    "CategoricalLevels",
    "CellStore",
    "ContinuousScaling",
    "Covariates",
    "DataSchema",
    "Identity",
    "MatrixSummary",
    "SetupKeys",
    "Transform",
    "align_genes",
    "check_support",
    "choose_likelihood",
    "column_levels",
    "covariate_columns",
    "covariate_frame",
    "fingerprint",
    "gene_columns",
    "get_matrix",
    "iter_rows",
    "labels_of",
    "matrix_place",
    "minibatch_sizes",
    "named_covariates",
    "obs_column",
    "point_covariates",
    "require_covariates",
    "support_of",
    "train_validation_split",
]
