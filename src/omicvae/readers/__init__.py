"""Fits of other libraries, read and judged as our own are."""

from omicvae.readers.arrays import audit
from omicvae.readers.comparison import Comparison, compare
from omicvae.readers.fit import Fit
from omicvae.readers.gather import gather
from omicvae.readers.page import write_evidence, write_report
from omicvae.readers.sources import diagnose, inputs_of

__all__ = ["Comparison", "Fit", "audit", "compare", "diagnose", "gather", "inputs_of", "write_evidence", "write_report"]
