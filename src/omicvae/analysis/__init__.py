"""Statistics of what a fitted model says of cells: arrays in, frozen results out."""

from omicvae.analysis.intervals import DrawInterval, mean_and_sd

__all__ = ["DrawInterval", "mean_and_sd"]
