"""PyTorch in a process that has a BLAS already."""

import os
import sys


def load_torch() -> None:
    """Import torch so that it calls its own BLAS, and not that of the program that Python runs in.

    R's BLAS is there first, and the dynamic linker would give torch's calls of ``sgemm_`` to it (PyTorch issue 182263):
    with Debian's reference BLAS a matrix product takes 25 times as long, and results differ from Python's in their last
    bits. Where torch is loaded already, it stays as it is.
    """
    deep = getattr(os, "RTLD_DEEPBIND", None)  # elsewhere libraries keep to their own
    if deep is None or "torch" in sys.modules:
        return
    before = sys.getdlopenflags()
    sys.setdlopenflags(os.RTLD_NOW | deep)
    try:
        import torch  # noqa: F401
    finally:
        sys.setdlopenflags(before)
