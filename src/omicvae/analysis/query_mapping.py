"""What mapping a query to a reference found: labels with their confidence, and whether the cells are covered."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from omicvae._core import DataError, keys
from omicvae.analysis.coverage import Coverage
from omicvae.diagnostics import Row, evidence_table, verdict_lines
from omicvae.metrics.labels import Array, FloatArray

#: expected shares of cells outside, above which the reference covers the query in part, and not
PARTLY, MOSTLY = 0.1, 0.5
#: accuracy on held-out reference cells that missing genes may cost
LOSS_BY_GENES = 0.02


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class QueryMapping:
    """N query cells on a reference.

    Attributes
    ----------
    cells
        Their names.
    mean_NK, sd_NK
        Posterior means and SDs.
    coverage
        How far out each lies.
    labels_N, confidence_N
        Label by the nearest reference cells, and the probability that it is right, which that of being outside lowers;
        None where the reference has no labels. Too high for cells of a type that the reference lacks, in so far as the
        coverage does not find them.
    n_missing, n_genes
        Genes of the model that the query lacks, of how many.
    held_out_accuracy
        Share of held-out reference cells that get their label: with all genes, and without those that the query lacks.
    """

    cells: pd.Index
    mean_NK: FloatArray
    sd_NK: FloatArray
    coverage: Coverage
    labels_N: Array | None
    confidence_N: FloatArray | None
    n_missing: int
    n_genes: int
    held_out_accuracy: tuple[float, ...] | None

    @property
    def verdict(self) -> str:
        """``"covered"``, ``"partly_covered"`` or ``"not_covered"``."""
        share = self.coverage.share_outside
        return "covered" if share <= PARTLY else "partly_covered" if share <= MOSTLY else "not_covered"

    @property
    def tone(self) -> str:
        """How grave the verdict is: ``"good"``, ``"warning"`` or ``"bad"``."""
        return {"covered": "good", "partly_covered": "warning", "not_covered": "bad"}[self.verdict]

    @property
    def headline(self) -> str:
        """The verdict in a sentence."""
        share, n = f"{self.coverage.share_outside:.0%}", len(self.cells)
        if self.verdict == "covered":
            return (
                f"The reference covers the query as far as can be seen: {share} of {n} cells lie outside of what its "
                "own batches show. A type that the reference lacks can hide within one that is like it."
            )
        where = self._where()
        if self.verdict == "partly_covered":
            return (
                f"The reference covers the query in part: {share} of {n} cells lie outside{where}. Labels of these "
                "cells are guesses."
            )
        return (
            f"The reference does not cover the query: {share} of {n} cells lie outside{where}. Labels and latents of "
            "these cells say little; fit a model of both together."
        )

    def _where(self) -> str:
        """Name the label under which most cells outside were put."""
        if self.labels_N is None or self.coverage.share_outside == 0:
            return ""
        names, codes_N = np.unique(self.labels_N, return_inverse=True)
        outside_C = np.bincount(codes_N, self.coverage.outside_N)
        c = int(outside_C.argmax())
        return f", {outside_C[c] / outside_C.sum():.0%} of them next to {names[c]!r}"

    @property
    def evidence(self) -> pd.DataFrame:
        """What the verdict rests on: check, value, threshold, passed (None: shown, not judged), meaning."""
        return evidence_table(self._rows())

    def _rows(self) -> Iterator[Row]:
        c = self.coverage
        yield Row(
            "share of cells outside",
            c.share_outside,
            "expected, from how far out cells lie beside reference cells held out batch by batch",
            f"≤ {PARTLY:g}",
            c.share_outside <= PARTLY,
        )
        yield Row(
            "distance to the reference",
            float(np.median(c.distance_N)),
            "median over cells, in posterior SDs, to the 15 nearest reference cells",
        )
        yield Row(
            "cells beyond 95 % of the reference",
            float((c.p_value_N < 0.05).mean()),
            "share of cells that are farther out than 95 % of held-out reference cells; by chance 0.05",
        )
        meaning = "median over cells of (x − E[x | z])² / Var[x | z]; 1 where the model is right"
        yield Row("misfit", float(np.median(c.misfit_N)), meaning)
        if self.held_out_accuracy is not None:
            whole, without = self.held_out_accuracy
            yield Row("labels of held-out cells", whole, "share of reference cells whose label is found")
            if self.n_missing:
                meaning = f"what the {self.n_missing} of {self.n_genes} genes that are missing cost of it"
                loss = whole - without
                yield Row("loss by missing genes", loss, meaning, f"≤ {LOSS_BY_GENES:g}", loss <= LOSS_BY_GENES)
        if self.confidence_N is not None:
            meaning = "mean probability that a cell's label is right; too high for types that the reference lacks"
            yield Row("confidence", float(self.confidence_N.mean()), meaning)

    def to_frame(self) -> pd.DataFrame:
        """Return a row per cell: ``outside``, ``p_value``, ``misfit``, and with labels ``label`` and ``confidence``."""
        columns: dict[str, Any] = {}
        if self.labels_N is not None:
            columns = {"label": pd.Categorical(self.labels_N), "confidence": self.confidence_N}
        columns |= {"outside": self.coverage.outside_N, "p_value": self.coverage.p_value_N}
        columns["misfit"] = self.coverage.misfit_N
        return pd.DataFrame(columns, index=self.cells)

    def write(self, adata: Any, key: str = keys.LATENT) -> None:
        """Write latents to ``obsm[key]`` and ``obsm[key + "_sd"]``, and :meth:`to_frame` to ``obs`` as ``omicvae_…``.

        Raises
        ------
        DataError
            If ``adata`` holds other cells than those that were mapped.
        """
        if not self.cells.equals(adata.obs_names):
            raise DataError("adata holds other cells than those that were mapped, or in another order.")
        for name, column in self.to_frame().items():
            adata.obs[f"omicvae_{name}"] = column
        adata.obsm[key], adata.obsm[key + keys.LATENT_SD_SUFFIX] = self.mean_NK, self.sd_NK
        found = json.dumps({"verdict": self.verdict, "headline": self.headline})
        adata.uns[keys.UNS] = {**adata.uns.get(keys.UNS, {}), f"{key}_mapping": found}

    def __str__(self) -> str:
        """Verdict, its sentence and the evidence."""
        return "\n".join(verdict_lines(self.verdict, self.headline, self.evidence))

    __repr__ = __str__
