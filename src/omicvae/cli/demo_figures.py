"""The pictures of the demo."""

from pathlib import Path

import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes

import omicvae as ov
from omicvae._core import keys
from omicvae.cli.demo_fits import COLLAPSED_KEY, DemoFit
from omicvae.diagnostics import umap_coordinates
from omicvae.plotting.axes import new_axes

# UMAP takes a second or so for as many cells
UMAP_CELLS = 1500


def _save(ax: Axes, path: Path) -> Path:
    ax.figure.savefig(path, dpi=120)
    return path


def draw_losses(fit: DemoFit, out: Path) -> Path:
    """Draw total loss, reconstruction and KL of one fit."""
    axes = ov.pl.loss_curves(fit.model.history)
    axes[0].figure.suptitle(fit.title)
    return _save(axes[0], out / f"{fit.name}_loss.png")


def draw_kl(fits: list[DemoFit], out: Path) -> Path:
    """Draw the KL of every dimension of every fit."""
    axes = new_axes(len(fits), width=4.4, height=3.4)
    for fit, ax in zip(fits, axes, strict=True):
        ov.pl.kl_per_dimension(fit.diagnosis, ax)
        ax.set_title(f"{fit.title}\n{ax.get_title()}", fontsize="medium")
    # one scale, so that the bars can be compared
    top = max(ax.get_ylim()[1] for ax in axes)
    for ax in axes:
        ax.set_ylim(top=top)
    return _save(axes[0], out / "kl_per_dimension.png")


def _umaps(adata: AnnData, key: str, *, seed: int) -> dict[str, np.ndarray]:
    """Return UMAP coordinates of posterior means and of one posterior draw, shape (cells, 2)."""
    mean_NK = np.asarray(adata.obsm[key])
    noise_NK = np.random.default_rng(seed).standard_normal(mean_NK.shape)
    draw_NK = mean_NK + np.asarray(adata.obsm[key + keys.LATENT_SD_SUFFIX]) * noise_NK
    return {"means": umap_coordinates(mean_NK, seed=seed), "one draw": umap_coordinates(draw_NK, seed=seed)}


def draw_pbmc(adata: AnnData, collapsed: DemoFit, defaults: DemoFit, out: Path, *, seed: int) -> list[Path]:
    """Draw the cells of both fits by label and by covariate; the coordinates go to ``obsm``."""
    coordinates = {
        collapsed.title: _umaps(adata, COLLAPSED_KEY, seed=seed),
        defaults.title: _umaps(adata, keys.LATENT, seed=seed),
    }
    adata.obsm[keys.UMAP] = coordinates[defaults.title]["means"]
    adata.obsm[f"{COLLAPSED_KEY}_umap"] = coordinates[collapsed.title]["means"]
    paths = []
    for column in ("bulk_labels", "phase"):
        axes = new_axes(2, 2, width=5.2, height=3.6)
        panels = [(f"{title}: {kind}", xy) for title, kinds in coordinates.items() for kind, xy in kinds.items()]
        for position, (ax, (title, xy_N2)) in enumerate(zip(axes, panels, strict=True)):
            ov.pl.embedding(xy_N2, adata.obs[column], title=title, ax=ax)
            if position != 1:
                ax.get_legend().remove()
        paths.append(_save(axes[0], out / f"pbmc_umap_{column}.png"))
    return paths


def draw_bulk(adata: AnnData, fit: DemoFit, out: Path, *, seed: int) -> Path:
    """Draw some samples of the cohort by tissue, disease and batch."""
    order = np.random.default_rng(seed).permutation(adata.n_obs)
    some = np.sort(order[:UMAP_CELLS])
    xy_M2 = umap_coordinates(np.asarray(adata.obsm[keys.LATENT])[some], seed=seed)
    axes = new_axes(3, width=4.8, height=3.8)
    for ax, column in zip(axes, ("tissue", "disease", "batch"), strict=True):
        ov.pl.embedding(xy_M2, adata.obs[column].iloc[some], ax=ax)
    axes[0].figure.suptitle(f"{fit.title}: posterior means of {len(some)} samples")
    return _save(axes[0], out / "bulk_umap.png")
