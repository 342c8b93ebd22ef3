"""Figures from results, public as ``omicvae.pl``.

Every function draws on the axes that it is given, or on a figure of its own, and returns the axes. None shows
a window, picks a backend or changes a style: save with ``ax.figure.savefig("file.png")``.
"""

from omicvae.plotting._curves import elbo_curve, kl_weight_curve, loss_curves, opponent_curve
from omicvae.plotting._latent import embedding, kl_per_dimension
from omicvae.plotting._probes import probe_scores

__all__ = [
    "elbo_curve",
    "embedding",
    "kl_per_dimension",
    "kl_weight_curve",
    "loss_curves",
    "opponent_curve",
    "probe_scores",
]
