"""Statistics of what a fitted model says of cells: arrays in, frozen results out."""

from omicvae.analysis.coverage import Coverage, MappedCells, coverage
from omicvae.analysis.neighbour_labels import NeighbourLabels, calibration_error
from omicvae.analysis.query_mapping import QueryMapping

__all__ = ["Coverage", "MappedCells", "NeighbourLabels", "QueryMapping", "calibration_error", "coverage"]
