"""What the R package ``omicvae`` calls: matrices as raw bytes in, plain values, tables and raw bytes out.

R needs two names: :class:`Cells` takes a matrix block by block, and :func:`answer` runs a verb. Errors, warnings and
log lines come back as values, so that nothing rests on how a version of reticulate turns exceptions.
"""

from omicvae.r_bridge.libraries import load_torch

load_torch()  # before anything else does

from omicvae.r_bridge.answer import answer  # noqa: E402
from omicvae.r_bridge.transfer import Cells  # noqa: E402

__all__ = ["Cells", "answer"]
