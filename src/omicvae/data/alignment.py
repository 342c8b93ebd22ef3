"""Match the genes of new data to those of a model, by name."""

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd

from omicvae._core import DataError, choose
from omicvae.data.covariates import listing

logger = logging.getLogger("omicvae")

#: Largest share of the model's genes that may be filled with zeros.
_MOST_MISSING = 0.2


def align_genes(expected: Sequence[str], given: Sequence[str], *, missing: str = "error") -> np.ndarray:
    """Find the column of ``given`` (in any order) for each expected gene of the model, int64.

    Genes that the model does not know are ignored (one info line). Missing ones are an error, or for
    ``missing="zero"``, up to a fifth of them, −1: zeros, as if they had not been expressed.

    Raises
    ------
    DataError
        If genes are missing (some are listed), too many to be filled, or a gene that is needed occurs twice.
    """
    choose("missing_genes", missing, ("error", "zero"))
    names = pd.Index(given)
    wanted = pd.Index(expected)
    repeated = names[names.duplicated()].intersection(wanted)
    if len(repeated):
        raise DataError(
            f"{len(repeated)} genes of the model occur more than once in var_names ({listing(repeated)}). "
            f"Make them unique with adata.var_names_make_unique() or drop the copies."
        )
    # a name that repeats is now none of the model's
    unique = ~names.duplicated(keep=False)
    columns = np.full(len(wanted), -1, dtype=np.int64)
    found = names[unique].get_indexer(wanted)
    columns[found >= 0] = np.flatnonzero(unique)[found[found >= 0]]
    absent = wanted[columns < 0]
    if len(absent):
        _accept_missing(absent, len(wanted), names, missing)
    n_extra = len(names) - int((columns >= 0).sum())
    if n_extra:
        logger.info("%d genes are not among the model's %d genes and are ignored.", n_extra, len(wanted))
    return columns


def _accept_missing(absent: pd.Index, n_expected: int, names: pd.Index, missing: str) -> None:
    share = len(absent) / n_expected
    problem = f"{len(absent)} of the model's {n_expected} genes are missing in the data: {listing(absent)}."
    if len(absent) == n_expected:
        raise DataError(
            f"{problem} None was found: var_names look like {listing(names, 3)}. Use the same kind of "
            f"identifier (symbols or Ensembl IDs) as in training."
        )
    if share > _MOST_MISSING:
        raise DataError(
            f"{problem} That is {share:.0%}, more than the limit of {_MOST_MISSING:.0%} up to which genes may be "
            f"filled with zeros by missing_genes='zero'. Use data measured on the model's genes."
        )
    if missing == "error":
        raise DataError(
            f"{problem} Add them, or fill them with zeros by get_latent_representation(adata, "
            f"missing_genes='zero') (allowed up to {_MOST_MISSING:.0%}, here {share:.1%})."
        )
    logger.info("%d missing genes are filled with zeros.", len(absent))


def gene_columns(names: Sequence[str], gene_list: Sequence[str] | None) -> list[int]:
    """Return the places of named genes, one or several, in the model's order; of all of them for None.

    Raises
    ------
    DataError
        If some are not in the model, or none is named.
    """
    wanted = {gene_list} if isinstance(gene_list, str) else set(names if gene_list is None else gene_list)
    if unknown := wanted.difference(names):
        some = sorted(map(str, unknown))[:5]
        raise DataError(f"{len(unknown)} gene(s) of gene_list are not in the model, such as {some}.")
    if not wanted:
        raise DataError("gene_list names no gene. Leave it out for all of them.")
    return [g for g, name in enumerate(names) if name in wanted]
