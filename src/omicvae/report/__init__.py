"""A fit as one HTML file that needs nothing else: facts, figures, evidence, remedies, settings."""

from omicvae.report.facts import ModelFacts
from omicvae.report.maps import CellMaps
from omicvae.report.page import number, render

__all__ = ["CellMaps", "ModelFacts", "number", "render"]
