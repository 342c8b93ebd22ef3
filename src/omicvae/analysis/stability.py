"""What several fits of the same cells agree on: latents, neighbours, labels, effects, verdicts."""

import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import pandas as pd

from omicvae._core.errors import DataError
from omicvae.diagnostics import WIDTH
from omicvae.metrics.agreement import effect_agreement
from omicvae.metrics.cka import linear_cka
from omicvae.metrics.labels import Array, FloatArray
from omicvae.metrics.neighbours import N_NEIGHBOURS, neighbour_overlap

#: What the least alike pair of fits must reach to be relied on, by convention: the latent as a whole, the larger part
#: of a cell's neighbours, the order of genes; and how far apart the probes of labels may lie.
CKA_FLOOR, OVERLAP_FLOOR, RANK_FLOOR, PROBE_SPREAD = 0.9, 0.5, 0.9, 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """What one fit says of the cells that are compared.

    Attributes
    ----------
    seed, verdict, sound, elbo
        Its seed, its diagnosis, and its bound of the validation cells, nats per cell, higher is better.
    latent_NK
        Posterior means.
    effects_LG
        Effects on genes, a row for each contrast; or one row of the variances that the latent explains.
    probe, probe_pca
        Balanced accuracy of labels from a posterior draw, and from PCA; NaN without labels.
    """

    seed: int
    verdict: str
    sound: bool
    elbo: float
    latent_NK: Array
    effects_LG: FloatArray
    probe: float = float("nan")
    probe_pca: float = float("nan")


@dataclass(frozen=True, slots=True, eq=False)
class Agreement:
    """One thing that fits may agree on.

    Attributes
    ----------
    name, meaning
        What it is, and what its number says.
    pairs_SS
        Agreement of each pair of fits, symmetric, 1 on the diagonal; higher is better.
    chance
        What fits that have nothing to do with each other have.
    floor
        What the least alike pair must reach.
    """

    name: str
    meaning: str
    pairs_SS: FloatArray
    chance: float
    floor: float

    @property
    def pairs_P(self) -> FloatArray:
        """Agreement of the S (S − 1) / 2 pairs."""
        return self.pairs_SS[np.triu_indices(len(self.pairs_SS), 1)]

    @property
    def lowest(self) -> float:
        """Agreement of the least alike pair; NaN where one fit has no value."""
        return float(self.pairs_P.min())

    @property
    def reliable(self) -> bool:
        """Whether the least alike pair reaches the floor."""
        return self.lowest >= self.floor


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Stability:
    """Several fits of the same cells beside each other; made by ``omicvae.stability``.

    Attributes
    ----------
    fits
        A row for each: ``seed``, ``verdict``, ``sound``, ``elbo`` (nats per validation cell), and ``probe`` and
        ``probe_pca`` (balanced accuracy; NaN without labels).
    latent, neighbours, effects
        Agreement of each pair: linear CKA of posterior means, share of the nearest neighbours in common, and rank
        correlation of the effects on genes, averaged over contrasts.
    genes
        A row for each contrast and gene: mean and SD of the effect over fits, and whether all fits give it one sign.
    labels, n_cells
        Name of the labels, empty without; cells that were compared.
    """

    fits: pd.DataFrame
    latent: Agreement
    neighbours: Agreement
    effects: Agreement
    genes: pd.DataFrame
    labels: str
    n_cells: int
    agreements: tuple[Agreement, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "agreements", (self.latent, self.neighbours, self.effects))

    @property
    def sound(self) -> bool:
        """Whether every fit is."""
        return bool(self.fits["sound"].all())

    @property
    def probe_spread(self) -> float:
        """Highest minus lowest balanced accuracy of the probe; NaN without labels."""
        return float(np.ptp(self.fits["probe"].to_numpy(dtype=float)))

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each check: mean, least agreeing, chance, floor, whether to rely on it, and its meaning."""
        rows = [
            (
                "sound fits",
                float(self.fits["sound"].mean()),
                float(self.sound),
                np.nan,
                1.0,
                self.sound,
                self._verdicts(),
            ),
            *(
                (one.name, float(one.pairs_P.mean()), one.lowest, one.chance, one.floor, one.reliable, one.meaning)
                for one in self.agreements
            ),
        ]
        if self.labels:
            values, spread = self.fits["probe"], self.probe_spread
            meaning = f"balanced accuracy from a posterior draw; they lie {spread:.3f} apart, {PROBE_SPREAD:g} at most"
            floor = float(values.max()) - PROBE_SPREAD
            rows.append(
                (f"probe of {self.labels}", float(values.mean()), float(values.min()), np.nan, floor,
                 spread <= PROBE_SPREAD, meaning)
            )  # fmt: skip
        return pd.DataFrame(rows, columns=["check", "mean", "lowest", "chance", "floor", "reliable", "meaning"])

    @property
    def headline(self) -> str:
        """What can be relied on and what cannot, in a few sentences."""
        rely: list[str] = []
        doubt: list[str] = []
        for one in self.agreements:
            said = f"{one.name} ({one.lowest:.2f} in the least alike pair, {one.chance:.2f} by chance)"
            (rely if one.reliable else doubt).append(said)
        if self.labels:
            low, high, pca = self.fits["probe"].min(), self.fits["probe"].max(), self.fits["probe_pca"].mean()
            beside = "which does better" if pca > high + PROBE_SPREAD else "which does as well" if pca >= low else ""
            said = (
                f"{self.labels} read from a draw ({low:.2f} to {high:.2f}; PCA {pca:.2f}{', ' * bool(beside)}{beside})"
            )
            (rely if self.probe_spread <= PROBE_SPREAD else doubt).append(said)
        parts = [f"{len(self.fits)} fits: {self._verdicts()}."]
        if not self.sound:
            parts.append("Mend the fits first: what unsound fits agree on is not to be relied on.")
            rely, doubt = [], rely + doubt
        parts += [
            f"{word}: {'; '.join(said)}." for word, said in (("Rely on", rely), ("Do not rely on", doubt)) if said
        ]
        parts.append("All fits saw the same cells: that they agree does not show that they are right.")
        return " ".join(parts)

    def _verdicts(self) -> str:
        counts = self.fits["verdict"].value_counts(sort=False)
        return ", ".join(f"{count} {verdict}" for verdict, count in counts.items())

    def __repr__(self) -> str:
        return f"<Stability: {len(self.fits)} fits, {self._verdicts()}>"

    def __str__(self) -> str:
        """Headline and table, the headline at most 110 columns wide."""
        table = self.to_frame().drop(columns="meaning").to_string(index=False, float_format="{:.3f}".format, na_rep="–")
        return "\n".join([*textwrap.wrap(self.headline, WIDTH), "", table])


def compare_fits(
    fits: Sequence[Fit], *, genes: Sequence[str], contrasts: Sequence[str], effect: str, labels: str, seed: int = 0
) -> Stability:
    """Compare fits of the same cells pair by pair.

    Parameters
    ----------
    genes, contrasts
        Names of the columns and rows of ``effects_LG``.
    effect
        What the effects are, for the name of their agreement.
    labels
        What the probes read, empty for nothing.
    seed
        Of the permutation of cells that shows what CKA gives by chance.

    Raises
    ------
    DataError
        On fewer than two fits.
    """
    if len(fits) < 2:
        raise DataError(f"Stability compares two fits or more, got {len(fits)}.")
    latents, effects_SLG = [fit.latent_NK for fit in fits], np.stack([fit.effects_LG for fit in fits])
    n_cells = len(latents[0])
    k, order = min(N_NEIGHBOURS, n_cells - 1), np.random.default_rng(seed).permutation(n_cells)
    by_chance_SS = _pairs(latents, lambda a, b: linear_cka(a, b[order]))
    columns = ("seed", "verdict", "sound", "elbo", "probe", "probe_pca")
    return Stability(
        fits=pd.DataFrame([{name: getattr(fit, name) for name in columns} for fit in fits]),
        latent=Agreement(
            "the latent as a whole",
            "linear CKA of posterior means: 1 where they are the same up to rotation, shift and scale",
            _pairs(latents, linear_cka),
            float(np.nanmean(by_chance_SS[np.triu_indices(len(fits), 1)])),
            CKA_FLOOR,
        ),
        neighbours=Agreement(
            "a cell's neighbours",
            f"share of the {k} nearest neighbours in posterior means that two fits have in common",
            _pairs(latents, lambda a, b: float(neighbour_overlap(a, b, k).mean())),
            k / (n_cells - 1),
            OVERLAP_FLOOR,
        ),
        effects=Agreement(
            effect,
            "Spearman correlation over genes, averaged over contrasts",
            _pairs(list(effects_SLG), _rank_agreement),
            0.0,
            RANK_FLOOR,
        ),
        genes=_genes(effects_SLG, genes, contrasts),
        labels=labels,
        n_cells=n_cells,
    )


def _pairs(values: Sequence[Array], agreement: Callable[[Array, Array], float]) -> FloatArray:
    """Agreement of all pairs, symmetric; NaN where a fit has values that are not finite."""
    pairs_SS = np.eye(len(values))
    for i, j in combinations(range(len(values)), 2):
        finite = np.isfinite(values[i]).all() and np.isfinite(values[j]).all()
        pairs_SS[i, j] = pairs_SS[j, i] = agreement(values[i], values[j]) if finite else np.nan
    return pairs_SS


def _rank_agreement(first_LG: Array, second_LG: Array) -> float:
    ranks = [effect_agreement(a, b).rank_correlation for a, b in zip(first_LG, second_LG, strict=True)]
    return float(np.mean(ranks))


def _genes(effects_SLG: FloatArray, genes: Sequence[str], contrasts: Sequence[str]) -> pd.DataFrame:
    def rows() -> Iterator[pd.DataFrame]:
        for place, contrast in enumerate(contrasts):
            effects_SG = effects_SLG[:, place]
            one_sign_G = np.abs(np.sign(effects_SG).sum(0)) == len(effects_SG)
            columns = {"mean": effects_SG.mean(0), "sd": effects_SG.std(0, ddof=1), "one_sign": one_sign_G}
            yield pd.DataFrame({"contrast": contrast, "gene": list(genes), **columns})

    return pd.concat(rows(), ignore_index=True)
