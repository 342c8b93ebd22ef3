"""Data that need no download: real counts that ship inside scanpy, and simulations with a known truth."""

from omicvae.datasets._pbmc import pbmc68k_counts
from omicvae.datasets._simulate_bulk import simulate_bulk
from omicvae.datasets._simulate_counts import simulate_counts

__all__ = ["pbmc68k_counts", "simulate_bulk", "simulate_counts"]
