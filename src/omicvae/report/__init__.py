"""A fit as one HTML file that needs nothing else: facts, figures, evidence, remedies, settings."""

from omicvae.report.facts import EvidenceFacts, ModelFacts
from omicvae.report.maps import CellMaps
from omicvae.report.page import number, render

__all__ = ["CellMaps", "EvidenceFacts", "ModelFacts", "number", "render"]
