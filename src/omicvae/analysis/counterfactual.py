"""Whether predicted changes of groups of cells come nearer to what was observed than two simple baselines."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from omicvae.metrics import benjamini_hochberg
from omicvae.metrics.labels import FloatArray
from omicvae.metrics.linear import r_squared

Matrix = NDArray[Any] | sp.csr_matrix

#: standard errors that must lie between two predictions for one to be called the nearer
CLEAR = 2.0
#: cells in each state for a group to have a part in the mean shift, where any has so many; else two
FEWEST = 20
#: balanced accuracy above which z is said to tell the state
LEAKS = 0.6
VERDICTS = {1: "beats", 0: "ties with", -1: "loses to"}
UNKNOWN = "cannot be judged"
BASELINES = {"no_change": "no change", "mean_shift": "the mean shift of the other groups"}


def mean_of(cells: Matrix) -> FloatArray:
    """Mean over cells, (G,), float64."""
    return np.asarray(cells.mean(axis=0, dtype=np.float64), dtype=np.float64).ravel()


@dataclass(frozen=True, slots=True, eq=False)
class ObservedGroups:
    """Cells as they were observed, by group: in their own and in the target state, (N, G) each, in one unit.

    ``changes`` has, of each group in both, the smaller number of cells and the observed change of its mean.
    """

    own: Mapping[str, Matrix]
    target: Mapping[str, Matrix]
    changes: Mapping[str, tuple[int, FloatArray]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        both = [(name, self.own[name], self.target[name]) for name in self.own if name in self.target]
        changes = {name: (min(a.shape[0], b.shape[0]), mean_of(b) - mean_of(a)) for name, a, b in both}
        object.__setattr__(self, "changes", changes)

    @property
    def n_target(self) -> int:
        """Cells in the target state, of all groups."""
        return sum(cells.shape[0] for cells in self.target.values())

    def mean_shift(self, group: str) -> FloatArray | None:
        """Mean of the observed changes of the other groups, each alike; None where no other was seen in both states."""
        others = [change for name, change in self.changes.items() if name != group]
        fewest = FEWEST if max((n for n, _ in others), default=0) >= FEWEST else 2
        shifts = [change_G for n, change_G in others if n >= fewest]
        return np.mean(shifts, axis=0) if shifts else None


@dataclass(frozen=True, slots=True, eq=False)
class PredictedGroup:
    """What a model predicts for the chosen cells of one group; vectors (G,), in the unit of the observed cells.

    Attributes
    ----------
    n, own_mean_G
        The cells, and their observed mean.
    change_G
        Mean of x̂ ~ p(x | z, c′) less mean of x̂ ~ p(x | z, c), over the cells and the same draws of z.
    own_variance_G, variance_G
        Variance of x̂ under c and under c′, within and between cells.
    """

    n: int
    own_mean_G: FloatArray
    change_G: FloatArray
    own_variance_G: FloatArray
    variance_G: FloatArray

    @property
    def mean_G(self) -> FloatArray:
        """Predicted mean: the observed one plus the change, so that what the model misses under c is not counted."""
        return self.own_mean_G + self.change_G

    def tested(self, n_target: int, z: float) -> dict[str, FloatArray]:
        """Interval, p and q of the change, as if its two means had been measured in so many cells.

        SE² = v′ / n_target + v / n with the predicted variances: the network cannot know the target state better than
        the cells in that state told it. p is two-sided normal, q Benjamini–Hochberg over genes; NaN without such cells.
        """
        from scipy.stats import norm

        se_G = np.sqrt(self.variance_G / (n_target or np.nan) + self.own_variance_G / self.n)
        p_G = 2 * norm.sf(np.abs(self.change_G) / np.where(se_G > 0, se_G, np.nan))
        half_G = z * se_G
        interval = {"lower": self.change_G - half_G, "upper": self.change_G + half_G}
        return {**interval, "p_value": p_G, "q_value": benjamini_hochberg(p_G)}


def nearer(mean_G: FloatArray, baseline_G: FloatArray, target: Matrix) -> tuple[float, float]:
    """Return D = mean_g [(b_g − ȳ_g)² − (m_g − ȳ_g)²], above 0 where m is nearer to ȳ than b, and its standard error.

    D is linear in the observed mean: mean_g [(b − m)(b + m)] − 2 mean_g [(b − m) ȳ]. So the cells' own values
    −2 mean_g [(b − m) y_n] give its standard error, SD / √N, whatever the dependence between genes; it is of the target
    cells alone, the two predictions taken as they are.
    """
    difference_G = (baseline_G - mean_G) / len(mean_G)
    values_N = -2 * np.asarray(target @ difference_G, dtype=np.float64).ravel()
    gain = float(difference_G @ (baseline_G + mean_G) + values_N.mean())
    return gain, float(values_N.std(ddof=1) / np.sqrt(len(values_N)))


@dataclass(frozen=True, slots=True, eq=False)
class CounterfactualJudgement:
    """Predicted group means beside no change and the mean shift of the other groups.

    Attributes
    ----------
    to, unit
        The target state, and the unit of all means, in words.
    predicted, observed
        The groups.
    trained
        Groups whose cells in the target state took part in training: what is shown of them is fit, not prediction.
        None where that is not known.
    leak
        Balanced accuracy with which a draw of z tells the state within groups (chance ½); NaN where it cannot be asked.
    """

    to: str
    unit: str
    predicted: Mapping[str, PredictedGroup]
    observed: ObservedGroups
    trained: frozenset[str] | None
    leak: float

    def to_frame(self) -> pd.DataFrame:
        """One row a group: cells, R² of means over genes, and the verdict against each baseline.

        ``gain_over_…`` is D of :func:`nearer` and ``se_…`` its standard error: beyond ``CLEAR`` of them the model beats
        the baseline or loses to it, within them it ties. NaN and "cannot be judged" where nothing can judge.
        """
        return pd.DataFrame([self._row(name) for name in self.predicted]).set_index("group")

    def _row(self, name: str) -> dict[str, Any]:
        group, target, shift_G = self.predicted[name], self.observed.target.get(name), self.observed.mean_shift(name)
        if target is not None and target.shape[0] < 2:
            target = None  # one cell has no standard error
        trained = "unknown" if self.trained is None else "yes" if name in self.trained else "no"
        n_target = 0 if target is None else target.shape[0]
        row: dict[str, Any] = {"group": name, "n": group.n, "n_target": n_target, "trained_on": trained}
        shifted_G = None if shift_G is None else group.own_mean_G + shift_G
        baselines = {"no_change": group.own_mean_G, "mean_shift": shifted_G}
        for what, mean_G in {"model": group.mean_G, **baselines}.items():
            known = target is not None and mean_G is not None
            row[f"r2_{what}"] = r_squared(mean_of(target), mean_G) if known else np.nan  # type: ignore[arg-type]
        for what, baseline_G in baselines.items():
            gain, se, verdict = np.nan, np.nan, UNKNOWN
            if target is not None and baseline_G is not None:
                gain, se = nearer(group.mean_G, baseline_G, target)
                verdict = VERDICTS[int(np.sign(gain)) if abs(gain) > CLEAR * se else 0]
            row |= {f"gain_over_{what}": gain, f"se_{what}": se, f"against_{what}": verdict}
        return row

    def genes_to_frame(self, gene_names: Sequence[str], z: float) -> pd.DataFrame:
        """One row for each group and gene: means, change with interval, p and q, variances, and what was observed."""
        parts = []
        for name, group in self.predicted.items():
            shift_G, target = self.observed.mean_shift(name), self.observed.target.get(name)
            columns = {
                "group": name,
                "gene": np.asarray(gene_names, dtype=object),
                "own_mean": group.own_mean_G,
                "predicted_mean": group.mean_G,
                "change": group.change_G,
                **group.tested(self.observed.n_target, z),
                "own_variance": group.own_variance_G,
                "predicted_variance": group.variance_G,
                "mean_shift": np.nan if shift_G is None else shift_G,
                "observed_mean": np.nan if target is None else mean_of(target),
            }
            parts.append(pd.DataFrame(columns))
        return pd.concat(parts, ignore_index=True)

    def __str__(self) -> str:
        """Say what was predicted, whether it beats the baselines, and what cannot be judged."""
        frame = self.to_frame()
        lines = [f"Counterfactual to {self.to}: {frame['n'].sum()} cells, {len(frame)} group(s)."]
        for what, words in BASELINES.items():
            verdicts = frame[f"against_{what}"]
            said = [f"{verb} it in {_listed(verdicts, verb)}" for verb in VERDICTS.values() if (verdicts == verb).any()]
            if said:
                lines.append(f"Against {words}, by the distance of means ({self.unit}), the model {', '.join(said)}.")
        without = frame.index[frame["n_target"] == 0]
        if len(without):
            lines.append(f"No cells in the target state to judge the prediction with: {_names(without)}.")
        alone = frame.index[(frame["n_target"] > 0) & (frame["against_mean_shift"] == UNKNOWN)]
        if len(alone):
            lines.append(f"No other group was seen in both states, so there is no mean shift for {_names(alone)}.")
        return "\n".join([*lines, *self._reservations(frame[frame["n_target"] > 0])])

    def _reservations(self, judged: pd.DataFrame) -> list[str]:
        """Say what the verdicts and p-values do not mean."""
        lines = []
        fitted = judged.index[judged["trained_on"] == "yes"]
        if len(fitted):
            lines.append(
                f"The model was trained on the target cells of {_names(fitted)}, which the mean shift has not seen: "
                "that is fit, not prediction. To judge prediction, leave a group's target cells out of training and "
                "pass them in adata."
            )
        if self.trained is None and len(judged):
            lines.append("Whether the model was trained on these target cells is not known.")
        if self.leak == self.leak:
            told = f"A draw of z tells the state within groups with balanced accuracy {self.leak:.2f} (chance 0.50)"
            lines.append(told + (": some of the state stays when c is changed." if self.leak > LEAKS else "."))
        lines.append("Cells are the units of p and q: that donors or samples differ is not in them.")
        return lines


def _listed(verdicts: pd.Series, verb: str) -> str:
    names = verdicts.index[verdicts == verb]
    return f"{len(names)} of {len(verdicts)} ({_names(names)})"


def _names(names: Iterable[object], shown: int = 8) -> str:
    said = [str(name) for name in names]
    return ", ".join(said[:shown]) + (f" and {len(said) - shown} more" if len(said) > shown else "")
