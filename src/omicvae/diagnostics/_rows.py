"""The evidence as rows that a person reads: check, value, threshold, passed, meaning."""

from collections.abc import Iterator
from dataclasses import astuple, dataclass

import pandas as pd

from omicvae.diagnostics import thresholds as T
from omicvae.diagnostics.embedding import EmbeddingCheck
from omicvae.diagnostics.information import Information
from omicvae.diagnostics.measurements import Measurements
from omicvae.diagnostics.probing import Probes
from omicvae.diagnostics.structure import Structure
from omicvae.diagnostics.usage import LatentUsage
from omicvae.diagnostics.verdict import (
    gain_is_negligible,
    gap,
    gap_margin,
    improvement_limit,
    is_too_wide,
    is_under_regularised,
    probe_lost,
    still_winning,
    training_went_astray,
)

COLUMNS = ("check", "value", "threshold", "passed", "meaning")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of evidence; ``passed`` is None where the value is shown and not judged."""

    check: str
    value: float
    threshold: str
    passed: bool | None
    meaning: str


def evidence_table(measurements: Measurements) -> pd.DataFrame:
    """Table of every check that was made, in reading order."""
    sections = (_output, _structure, _latent, _gain, _overpaid, _information, _probes, _umap, _leakage, _curves)
    rows = [astuple(row) for section in sections for row in section(measurements)]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"value": float, "passed": object})


def _output(m: Measurements) -> Iterator[Row]:
    bad = sum(m.non_finite.values())
    where = f"in {', '.join(m.non_finite)}" if bad else "the model's output is finite"
    yield Row("non-finite entries", bad, "= 0", bad == 0, where)


def _structure(m: Measurements) -> Iterator[Row]:
    if m.structure is None:
        return
    s: Structure = m.structure
    directions = "leading direction" if s.n_directions == 1 else f"{s.n_directions} leading directions"
    yield Row(
        "structure of the data",
        s.share,
        f"> {s.limit:.4f}",
        s.found,
        f"share of variance in the {directions} across genes, beyond covariates and depth; "
        f"without structure {s.by_chance:.4f} ({s.n_simulations} simulations, {s.n_cells} cells × {s.n_genes} genes)",
    )


def _latent(m: Measurements) -> Iterator[Row]:
    if m.usage is None or m.use is None:
        return
    usage: LatentUsage = m.usage
    rate = usage.rate.mean
    yield Row(
        "rate (KL)",
        rate,
        f"≥ {T.ONE_FACT:.2f}",
        rate >= T.ONE_FACT,
        "nats per cell that the latent holds at most; below log 2 it cannot tell two groups apart",
    )
    unused = usage.n_latent - usage.n_active
    yield Row(
        "active units",
        usage.n_active,
        "≥ 1",
        usage.n_active >= 1,
        f"of {usage.n_latent} dimensions with variance of the mean above 0.01"
        + (f"; {unused} unused, which alone is no illness" if unused and usage.n_active else ""),
    )
    cost = m.use.cost
    yield Row(
        "decoder use",
        cost.mean,
        f"≥ {T.IGNORED_COST:.2f}",
        cost.mean >= T.IGNORED_COST and cost.mean > cost.margin,
        f"nats that a wrong z costs: {cost}; 0 where the decoder ignores z",
    )


def _gain(m: Measurements) -> Iterator[Row]:
    if m.gain is None:
        return
    gain = m.gain.gain
    yield Row(
        "gain over null",
        gain.mean,
        f"> {max(gain.margin, T.ONE_FACT):.2f}",
        not gain_is_negligible(gain),
        f"nats that the latent buys over the best decoder without z: {gain}",
    )
    if gap(m) == gap(m):
        limit = T.GAP_PER_GAIN * max(gain.mean, T.ONE_FACT) + gap_margin(m)
        yield Row(
            "train–validation gap",
            gap(m),
            f"≤ {limit:.2f}",
            gap(m) <= limit,
            f"nats that training cells gain more than validation cells (± {gap_margin(m):.2g}, 95 %)",
        )


def _overpaid(m: Measurements) -> Iterator[Row]:
    if m.gain is None or m.usage is None or (m.mismatch is None and m.tempering is None):
        return
    rate, overpaid = m.usage.rate.mean, m.overpaid
    limit = max(T.OVERPAID_RATE * rate, T.OVERPAID_GAIN * (m.gain.gain.mean + overpaid))
    yield Row(
        "rate that buys nothing",
        overpaid,
        f"≤ {max(T.ONE_FACT, min(limit, T.MOST_OF_RATE * rate)):.2f}",
        not is_under_regularised(m),
        "nats that the next two save: lying nearer to the prior, and wider posteriors",
    )
    if m.mismatch is not None:
        mixture = m.mismatch.mixture_K.sum()
        yield Row(
            "prior mismatch",
            m.mismatch.waste,
            "",
            None,
            "nats that shifting and scaling z would save: KL between the Gaussian with the moments of all posteriors "
            f"and the prior, summed over dimensions; of their mixture {mixture:.3g}",
        )
    if m.tempering is not None:
        text = "nats that {} posteriors would win: {}"
        widened, narrowed = m.tempering.widened, m.tempering.narrowed
        yield Row("posterior too narrow", widened.mean, "", None, text.format("wider", widened))
        limit = max(rate, T.ONE_FACT)
        yield Row(
            "posterior too wide",
            narrowed.mean,
            f"≤ {limit:.2f}",
            not is_too_wide(m),
            text.format("narrower", narrowed) + "; judged against the rate",
        )


def _information(m: Measurements) -> Iterator[Row]:
    if m.information is None:
        return
    found: Information = m.information
    yield Row(
        "mutual information",
        found.mutual_information.mean,
        "",
        None,
        f"nats that a draw tells about which cell it is of: {found.mutual_information}; at most log N = "
        f"{found.limit:.2f}, near which it is a lower bound",
    )
    yield Row(
        "posterior stability",
        found.overlap.mean,
        "",
        None,
        f"share of nearest neighbours that two draws agree on; {found.overlap_by_chance:.3f} by chance",
    )


def _probes(m: Measurements) -> Iterator[Row]:
    if m.probes is None:
        return
    p: Probes = m.probes
    remark = " (the model was given these labels: proves nothing)" if p.conditioned else ""
    remark += " (no labels: classes cut from the data)" if p.fallback else ""
    judged = p.learnable and not p.conditioned
    name = f"probe of {p.key}"
    yield Row(
        f"{name}, draw",
        p.draw.balanced_accuracy,
        f"> {p.permuted.high:.2f}",
        (not p.at_chance) if judged else None,
        f"balanced accuracy from a posterior draw; permuted labels give "
        f"{p.permuted.low:.2f}–{p.permuted.high:.2f}; "
        f"macro-F1 {p.draw.macro_f1:.2f}, accuracy {p.draw.accuracy:.2f} (majority "
        f"{p.draw.majority_rate:.2f}), "
        f"kNN {p.draw_knn.balanced_accuracy:.2f}{remark}",
    )
    share = T.RETAINED_SHARE_FALLBACK if p.fallback else T.RETAINED_SHARE
    yield Row(
        f"{name}, share of PCA kept",
        p.retained,
        f"≥ {share:.2f}",
        (not probe_lost(m)) if judged else None,
        f"of PCA's balanced accuracy above chance; the draw loses {p.lost.mean:.2f} ± {p.lost.se:.2f}",
    )
    left_out = f"; too few cells: {', '.join(p.means.left_out)}" if p.means.left_out else ""
    shown = {
        "standardised means": (p.means, p.means_knn, "shown beside: scaling magnifies what the noise drowns"),
        "PCA": (p.reference, p.reference_knn, f"with as many dimensions, same folds{left_out}"),
    }
    for title, (score, knn, text) in shown.items():
        scores = f"macro-F1 {score.macro_f1:.2f}, accuracy {score.accuracy:.2f}, kNN {knn.balanced_accuracy:.2f}"
        yield Row(f"{name}, {title}", score.balanced_accuracy, "", None, f"{text}; {scores}")


def _umap(m: Measurements) -> Iterator[Row]:
    if m.umap is None:
        return
    check: EmbeddingCheck = m.umap
    scores = {"draw": check.draw, "means": check.means, "PCA": check.reference}
    for title, score in scores.items():
        text = f"share of like neighbours (chance {check.chance:.2f}); silhouette {score.silhouette:.2f}"
        yield Row(f"UMAP of {title}, purity", score.purity, "", None, f"{text}; shown, acquits nobody")


def _leakage(m: Measurements) -> Iterator[Row]:
    for key, score in (m.leakage or {}).items():
        text = f"balanced accuracy from a draw, chance {score.chance:.2f}; accuracy {score.accuracy:.2f}"
        yield Row(
            f"leakage of {key}",
            score.balanced_accuracy,
            "",
            None,
            f"{text} (majority {score.majority_rate:.2f})",
        )


def _curves(m: Measurements) -> Iterator[Row]:
    c = m.curves
    if c.n_epochs == 0:
        return
    yield Row(
        "epochs after warm-up",
        c.n_settled,
        "≥ 1",
        None if c.settled is None else c.settled,
        f"of {c.n_epochs} epochs with the final KL weight",
    )
    limit = improvement_limit(m)
    yield Row(
        "still improving",
        c.improvement,
        f"≤ {limit:.2f}" if limit == limit else "",
        not still_winning(m) if m.gain is not None else None,
        f"nats another quarter of the run would win at the final pace (± {c.improvement_se:.2g})",
    )
    yield Row(
        "epochs not finite",
        c.n_non_finite,
        "= 0",
        not training_went_astray(m),
        "training losses that were NaN or inf, or a reconstruction that blew up",
    )
