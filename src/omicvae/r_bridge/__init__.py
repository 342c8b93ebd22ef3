"""What the R package ``omicvae`` calls: matrices as raw bytes in, plain values, tables and raw bytes out.

R needs two names: :class:`Cells` takes a matrix block by block, and :func:`answer` runs a verb. Errors, warnings and
log lines come back as values, so that nothing rests on how a version of reticulate turns exceptions.
"""

from omicvae.r_bridge.answer import answer
from omicvae.r_bridge.transfer import Cells

__all__ = ["Cells", "answer"]
