"""Fits beside each other, whoever trained them: bounds with paired errors, and what else tells them apart."""

import html
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from omicvae._core import SettingError
from omicvae.diagnostics import WIDTH, Diagnosis, DiagnosisInputs, number, plain
from omicvae.diagnostics.estimate import Estimate
from omicvae.diagnostics.probing import DRAW, PCA
from omicvae.readers.sources import diagnose

#: Standard errors within which a difference counts as none.
TIED_SE = 2.0
#: Cells judged in both of two fits from which on differences are paired: of fewer an SD is none.
PAIRED_CELLS = 10
#: How the name of a row of evidence begins that says how well a draw tells a covariate.
LEAKAGE = "leakage of "


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Comparison:
    """Fits side by side, best first; made by ``omicvae.compare``.

    Attributes
    ----------
    table
        A row for each run by name, those of one base measure together. ``elbo`` and ``elbo_se``: bound of the
        ``n_judged`` cells, nats per cell, higher is better. ``behind`` and ``behind_se``: by how much the best of the
        same base measure is better, over the ``n_paired`` cells judged in both (0: means of different cells); ``tied``:
        whether that is within two standard errors. NaN, and None, where there is no such bound. ``rate`` (KL, nats),
        ``active`` of ``n_latent`` dimensions, ``probe`` and ``probe_pca`` (balanced accuracy of ``labels`` from a
        posterior draw, and from PCA), ``leakage of …`` (a covariate from a draw), ``verdict``, ``sound``, ``origin``
        and ``base_measure``.
    diagnoses
        That of each run.
    notes
        What is to be known before a difference is believed.
    """

    table: pd.DataFrame
    diagnoses: Mapping[str, Diagnosis]
    notes: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """Return a copy of the table."""
        return self.table.copy()

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON takes; what is NaN becomes None."""
        return {"runs": plain(self.table.reset_index()), "notes": list(self.notes)}

    def __repr__(self) -> str:
        return f"<Comparison: {', '.join(f'{name} {verdict}' for name, verdict in self.table['verdict'].items())}>"

    def __str__(self) -> str:
        """Table and notes, at most 110 columns wide where names and labels leave room."""
        shown = self._shown()
        rows = [list(shown.columns), *shown.to_numpy().tolist()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        room = max(WIDTH - sum(widths) - 2 * len(widths), 8)
        lines = []
        for name, row in zip([shown.index.name, *shown.index], rows, strict=True):
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            first, *rest = textwrap.wrap(name, room) or [""]
            lines.append("  ".join([first.ljust(min(room, max(map(len, shown.index)))), *cells]).rstrip())
            lines += rest
        notes = [line for note in self.notes for line in textwrap.wrap(note, WIDTH)]
        return "\n".join([*lines, "", *notes])

    def _repr_html_(self) -> str:
        """Table, with the notes below."""
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        return f"<div>{self._shown().to_html(border=0)}{notes}</div>"

    def _shown(self) -> pd.DataFrame:
        """Table as text, of what any run has."""
        table = self.table
        columns = {
            "bound": [
                f"{mean:.1f} ± {number(se)}" if mean == mean else "–"
                for mean, se in zip(table["elbo"], table["elbo_se"], strict=True)
            ],
            "behind the best": [
                "–"
                if tied is None
                else "best"
                if not mean and not se
                else f"{number(mean)} ± {number(se)}{' ≈' * tied}"
                for mean, se, tied in zip(table["behind"], table["behind_se"], table["tied"], strict=True)
            ],
            "KL": table["rate"].map(number),
            "active": [f"{n}/{of}" for n, of in zip(table["active"], table["n_latent"], strict=True)],
        }
        if table["probe"].notna().any():
            names = table["labels"].dropna().unique()
            labels = names[0] if len(names) == 1 else "labels"
            pairs = zip(table["probe"], table["probe_pca"], strict=True)
            columns[f"{labels} (PCA)"] = [f"{number(draw)} ({number(pca)})" for draw, pca in pairs]
        for name in table.columns[table.columns.str.startswith(LEAKAGE)]:
            columns[name] = table[name].map(number)
        return pd.DataFrame({**columns, "verdict": table["verdict"]}, index=table.index).astype(str)


def compare(runs: Mapping[str, Any], labels_key: str | None = None, *, seed: int | None = None) -> Comparison:
    """Put fits side by side, whoever trained them: bound, rate, active units, probe, leakage and verdict.

    The bound is the ELBO at a KL weight of 1, log p(x | z, c) − KL, of cells that judge. Of two fits it differs by

        d = mean over n of (ELBO_n of one − ELBO_n of the other),  SE = SD of these differences / √n

    over the cells that both judge, found by their names (by their numbers, where neither run has names and both have as
    many cells). Pairing matters: cells differ by hundreds of nats, these differences by few. Where fewer than ten cells
    are shared, means of different cells are subtracted and errors added in squares, which tells little.

    A difference within two standard errors is a tie, as it is to be read in ArviZ's ``compare`` of Bayesian models.
    Bounds are compared within one base measure only: those of counts and of log values, or of other numbers of genes,
    have different units.

    Parameters
    ----------
    runs
        Name → whatever ``ov.diagnose`` takes, or a diagnosis that was made, in which neither labels nor seed change.
    labels_key
        Column of ``obs`` that models are probed for; evidence holds its own.
    seed
        Of draws, folds and subsamples; None for that of each run.

    Raises
    ------
    SettingError
        On fewer than two runs, or where they have no names.

    References
    ----------
    Vehtari, Gelman & Gabry (2017), Practical Bayesian model evaluation using leave-one-out cross-validation and WAIC,
    section 5.2 (paired standard errors). Kumar et al. (2019), ArviZ.
    """
    if not isinstance(runs, Mapping):
        raise SettingError(
            f"compare takes runs by name, such as {{'sums': first, 'means': second}}, got a {type(runs).__name__}."
        )
    if len(runs) < 2:
        raise SettingError(f"compare needs two runs or more, got {len(runs)}; ov.diagnose judges one.")
    diagnoses = {
        str(name): run if isinstance(run, Diagnosis) else diagnose(run, labels_key, seed=seed, umap=False)
        for name, run in runs.items()
    }
    bounds = {name: bound for name, one in diagnoses.items() if (bound := _bound(one.inputs)) is not None}
    rows = {name: _row(one) for name, one in diagnoses.items()}
    order: list[str] = []
    for measure in dict.fromkeys(diagnoses[name].inputs.base_measure for name in bounds):
        among = [name for name in bounds if diagnoses[name].inputs.base_measure == measure]
        order += (among := _best_first({name: bounds[name] for name in among}))
        for name in among:
            rows[name] |= _behind(bounds[among[0]], bounds[name])
    order += [name for name in rows if name not in order]
    table = pd.DataFrame([rows[name] for name in order], index=pd.Index(order, name="run"))
    return Comparison(table, diagnoses, tuple(_notes(table)))


def _bound(inputs: DiagnosisInputs) -> "pd.Series[float] | None":
    """Bound of each judged cell by the cell's name; None where it is not known, or of what it is a density."""
    elbo_W = inputs.elbo_W
    if elbo_W is None or not inputs.base_measure or not np.isfinite(elbo_W).all():
        return None
    n_cells, judged_W, names_N = len(inputs.mean_NK), inputs.judged_W, inputs.cell_names_N
    if judged_W is None:
        return pd.Series(elbo_W)
    numbers = [f"{row} of {n_cells}" for row in judged_W]
    return pd.Series(elbo_W, index=numbers if names_N is None else np.asarray(names_N)[judged_W].astype(str))


def _difference(one: "pd.Series[float]", other: "pd.Series[float]") -> tuple[Estimate, int]:
    """Mean of ``one`` less ``other``, and the number of cells that both hold, if it is over those."""
    known = not any(isinstance(bound.index, pd.RangeIndex) or not bound.index.is_unique for bound in (one, other))
    shared = one.index.intersection(other.index) if known else ()
    if len(shared) >= PAIRED_CELLS:
        return Estimate.of((one.loc[shared] - other.loc[shared]).to_numpy()), len(shared)
    first, second = Estimate.of(one.to_numpy()), Estimate.of(other.to_numpy())
    return Estimate(first.mean - second.mean, float(np.hypot(first.se, second.se)), min(first.n, second.n)), 0


def _best_first(bounds: "Mapping[str, pd.Series[float]]") -> list[str]:
    """Names by how far a run lies above the others on average, each difference over cells that both judge."""
    lead = {name: sum(_difference(mine, other)[0].mean for other in bounds.values()) for name, mine in bounds.items()}
    return sorted(bounds, key=lambda name: -lead[name])


def _behind(best: "pd.Series[float]", mine: "pd.Series[float]") -> dict[str, Any]:
    if best is mine:
        return {"behind": 0.0, "behind_se": 0.0, "n_paired": len(mine), "tied": True}
    lacks, n_paired = _difference(best, mine)
    tied = bool(abs(lacks.mean) <= TIED_SE * lacks.se)
    return {"behind": lacks.mean, "behind_se": lacks.se, "n_paired": n_paired, "tied": tied}


def _row(diagnosis: Diagnosis) -> dict[str, Any]:
    """Collect what a run shows, its bound not yet beside that of others."""
    inputs = diagnosis.inputs
    elbo = Estimate() if inputs.elbo_W is None else Estimate.of(inputs.elbo_W)
    values = dict(zip(diagnosis.evidence["check"], diagnosis.evidence["value"], strict=True))
    probes, nothing = diagnosis.probes, float("nan")
    linear = {} if probes.empty else probes[probes["classifier"] == "logistic"].set_index("representation").to_dict()
    scores = linear.get("balanced_accuracy", {})
    return {
        "elbo": elbo.mean,
        "elbo_se": elbo.se,
        "n_judged": len(inputs.kl_WK),
        "behind": nothing,
        "behind_se": nothing,
        "n_paired": 0,
        "tied": None,
        "rate": float(diagnosis.kl_per_dimension.sum()),
        "active": int(np.sum(diagnosis.active_dimensions)),
        "n_latent": inputs.mean_NK.shape[1],
        "labels": None if probes.empty or probes["fallback"].any() else str(probes["labels"].iloc[0]),
        "probe": scores.get(DRAW, nothing),
        "probe_pca": scores.get(PCA, nothing),
        **{check: value for check, value in values.items() if check.startswith(LEAKAGE)},
        "verdict": diagnosis.verdict,
        "sound": diagnosis.sound,
        "origin": inputs.origin,
        "base_measure": inputs.base_measure,
    }


def _notes(table: pd.DataFrame) -> Iterator[str]:
    """Say what the figures are, and what keeps a difference from being believed."""
    yield (
        "Bound: ELBO at a KL weight of 1 of the cells that judge, nats per cell, higher is better; behind the best: "
        "mean difference over the cells judged in both, ± its standard error. ≈ marks a difference within two of them: "
        "none was found. The error is over cells: another seed changes a bound as well (ov.stability)."
    )
    ranked = table[table["behind"].notna()]
    measures = list(dict.fromkeys(ranked["base_measure"]))
    if len(measures) > 1:
        parts = (f"{measure}: {', '.join(ranked.index[ranked['base_measure'] == measure])}" for measure in measures)
        yield f"Bounds of different measures have different units, and each has its own best. {'; '.join(parts)}."
    if unranked := list(table.index[table["behind"].isna()]):
        yield (
            "Not compared by bound, which is unknown or not finite, or of which it is not known what it is a density "
            f"of: {', '.join(unranked)}."
        )
    if apart := list(ranked.index[ranked["n_paired"] == 0]):
        yield (
            f"Judged on other cells than the best, so that the error is that of two means, which tells little: "
            f"{', '.join(apart)}. Hold out the same cells, by the same names, in all runs."
        )
    few = ranked[(ranked["n_paired"] > 0) & (ranked["n_paired"] < ranked["n_judged"])]
    if len(few):
        counts = (
            f"{name} ({n} of {of})" for name, n, of in zip(few.index, few["n_paired"], few["n_judged"], strict=True)
        )
        yield f"Only some of the cells were judged in the best as well: {', '.join(counts)}."
    if unsound := [f"{name} ({verdict})" for name, verdict in table.loc[~table["sound"], "verdict"].items()]:
        yield f"A high bound makes no fit sound: {', '.join(unsound)}."
