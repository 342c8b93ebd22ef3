"""Statistics of what a fitted model says of cells: arrays in, frozen results out."""

from omicvae.analysis.stability import Stability

__all__ = ["Stability"]
