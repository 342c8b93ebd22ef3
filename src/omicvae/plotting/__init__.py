"""Figures from results, public as ``omicvae.pl``.

Every function draws on the axes that it is given as ``ax``, or on a figure of its own, and returns the axes. A notebook
shows that figure below the cell, an interactive session as it shows pyplot's; in a script it belongs to no window: save
with ``ax.figure.savefig("file.png")``. None picks a backend or changes a style. What cannot be drawn raises
``DataError``, which says what is needed and what was given.
"""

from omicvae.plotting.compare import compare
from omicvae.plotting.curves import adversary_curve, elbo_curve, kl_weight_curve, loss_curves
from omicvae.plotting.effects import effects
from omicvae.plotting.latent import embedding, kl_per_dimension
from omicvae.plotting.probes import probe_scores
from omicvae.plotting.reconstruction import calibration, reconstruction, reconstruction_cells, reconstruction_genes
from omicvae.plotting.stability import stability

__all__ = [
    "adversary_curve",
    "calibration",
    "compare",
    "effects",
    "elbo_curve",
    "embedding",
    "kl_per_dimension",
    "kl_weight_curve",
    "loss_curves",
    "probe_scores",
    "reconstruction",
    "reconstruction_cells",
    "reconstruction_genes",
    "stability",
]
