"""Memory that the training loop frees and asks for again at once should stay with the process."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

# glibc's names for what it hands back to the system: free memory at the top of the heap, and every large block
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST_BLOCK = 32 * 2**20
_RETAINED = 512 * 2**20


@contextmanager
def retained_heap() -> Iterator[None]:
    """Keep freed blocks for the next minibatch inside this context, where the C library is glibc.

    A minibatch's arrays are a megabyte each. By default each goes back to the system when it is freed and comes back
    as 256 page faults, which costs several times what is computed on it. Afterwards free memory is given back, and the
    C library keeps as much of what is freed as it would by itself once a block of 32 MB was freed: a pass over the
    cells, or the caller's own code, has the same need.
    """
    try:
        libc = ctypes.CDLL("libc.so.6")
        mallopt, malloc_trim = libc.mallopt, libc.malloc_trim
    except (OSError, AttributeError):  # another C library
        yield
        return
    mallopt(_MMAP_THRESHOLD, _LARGEST_BLOCK)
    mallopt(_TRIM_THRESHOLD, _RETAINED)
    try:
        yield
    finally:
        mallopt(_TRIM_THRESHOLD, 2 * _LARGEST_BLOCK)
        malloc_trim(0)
