"""Memory that a loop over minibatches frees and asks for again at once should stay with the process."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

# glibc's names for what it hands back to the system: free memory at the top of the heap, and every large block
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST_BLOCK = 32 * 2**20
_RETAINED = 512 * 2**20
_LARGEST_BLOCK_LATER = 8 * 2**20

_inside = 0  # contexts, one in another


@contextmanager
def retained_heap(*, give_back: bool = True) -> Iterator[None]:
    """Keep freed blocks for the next minibatch inside this context, where the C library is glibc.

    A minibatch's arrays are a megabyte each. By default each goes back to the system when it is freed and comes back
    as 256 page faults, which costs several times what is computed on it. Afterwards free memory is given back,
    or, where the same will soon be done again, left for the next large block to be freed to give back. Inside of
    another such context it does nothing.
    """
    global _inside
    try:
        libc = ctypes.CDLL("libc.so.6")
        mallopt, malloc_trim = libc.mallopt, libc.malloc_trim
    except (OSError, AttributeError):  # another C library
        yield
        return
    if _inside == 0:
        mallopt(_MMAP_THRESHOLD, _LARGEST_BLOCK)
        mallopt(_TRIM_THRESHOLD, _RETAINED)
    _inside += 1
    try:
        yield
    finally:
        _inside -= 1
        if _inside == 0:
            # once set, they no longer adapt to what is freed: arrays of some megabytes, the caller's too, should stay
            mallopt(_TRIM_THRESHOLD, 2 * _LARGEST_BLOCK_LATER)
            mallopt(_MMAP_THRESHOLD, _LARGEST_BLOCK_LATER)
            if give_back:
                malloc_trim(0)
