"""Data that need no download: real counts that ship inside scanpy, and simulations with a known truth."""

from omicvae.datasets.pbmc import pbmc68k_counts
from omicvae.datasets.simulation import simulate_bulk, simulate_counts

__all__ = ["pbmc68k_counts", "simulate_bulk", "simulate_counts"]
