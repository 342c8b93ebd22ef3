"""Which of the C library's settings are changed, and when they are set back."""

from types import SimpleNamespace

import pytest

from omicvae.training import heap
from omicvae.training.heap import retained_heap

CHANGED = [("mallopt", -3, 32 * 2**20), ("mallopt", -1, 512 * 2**20)]
SET_BACK = [("mallopt", -1, 16 * 2**20), ("mallopt", -3, 8 * 2**20)]
TRIMMED = [("malloc_trim", 0)]


@pytest.fixture
def calls(monkeypatch):
    made = []
    libc = SimpleNamespace(
        mallopt=lambda name, value: made.append(("mallopt", name, value)),
        malloc_trim=lambda pad: made.append(("malloc_trim", pad)),
    )
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda name: libc)
    return made


def test_settings_last_until_the_outermost_context_ends(calls):
    with retained_heap():
        for _ in range(2):
            with retained_heap(give_back=False):
                assert calls == CHANGED
        assert calls == CHANGED
    assert calls == CHANGED + SET_BACK + TRIMMED


def test_memory_can_be_left_with_the_process(calls):
    with retained_heap(give_back=False):
        pass
    assert calls == CHANGED + SET_BACK


def test_an_error_sets_them_back(calls):
    with pytest.raises(ZeroDivisionError), retained_heap():
        raise ZeroDivisionError
    assert calls == CHANGED + SET_BACK + TRIMMED
    with retained_heap():  # the count of contexts is right again
        pass
    assert calls == 2 * (CHANGED + SET_BACK + TRIMMED)


def test_another_c_library_is_left_alone(monkeypatch):
    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(heap.ctypes, "CDLL", missing)
    with retained_heap(), retained_heap():
        pass
    assert heap._inside == 0
