"""A fit as one HTML file that needs nothing else: facts, figures, evidence, remedies, settings."""

from omicvae.report._facts import ModelFacts
from omicvae.report._maps import CellMaps
from omicvae.report._page import number, render

__all__ = ["CellMaps", "ModelFacts", "number", "render"]
