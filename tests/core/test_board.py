"""Parts of a loop: each is run once, whoever takes it, and an absent thread holds nobody up."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from omicvae._core import native


@native.compiled
def count(part, parts, calls_P, rows_N):
    """Write which part each row belongs to, and count the calls of each part."""
    calls_P[part] += 1
    for n in range(len(rows_N) * part // parts, len(rows_N) * (part + 1) // parts):
        rows_N[n] = part + 10 * parts


@native.compiled
def fail(part, parts, sizes_P):
    np.empty(sizes_P[part])


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield 3
    torch.set_num_threads(before)


def counted(n):
    calls_P, rows_N = np.zeros(8, np.int64), np.zeros(n, np.int64)
    native.run(count, n, calls_P, rows_N)
    return calls_P, rows_N


def check(calls_P, rows_N, parts=3):
    assert calls_P.tolist() == [1] * parts + [0] * (8 - parts)
    expected = [part + 10 * parts for part in range(parts) for _ in range(len(rows_N) // parts)]
    assert rows_N.tolist() == expected


def test_each_part_is_run_once(threads):
    for _ in range(2000):
        check(*counted(96))


def test_few_rows_stay_in_the_calling_thread(threads):
    check(*counted(20), parts=1)


def test_an_absent_thread_holds_nobody_up(threads, monkeypatch):
    monkeypatch.setattr(native._Threads, "_work", lambda self, started: started.put(None))  # they leave at once
    monkeypatch.setattr(native, "_threads", native._Threads())
    check(*counted(96))
    done = []
    native.run_functions(lambda part, parts, done: done.append((part, parts)), 96, done)
    assert sorted(done) == [(part, 3) for part in range(3)]


def test_callers_in_several_threads_get_their_own_numbers(threads):
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(counted, [96, 960, 9600] * 100):
            check(*found)


def test_functions_and_kernels_take_turns(threads):
    for _ in range(200):
        done = []
        native.run_functions(lambda part, parts, done: done.append(part), 96, done)
        assert sorted(done) == [0, 1, 2]
        check(*counted(96))


def test_a_part_without_memory_is_an_error(threads):
    for sizes in ([1, 1, 2**60], [2**60, 1, 1]):
        with pytest.raises(MemoryError, match="no memory"):
            native.run(fail, 96, np.array(sizes))
    native.run(fail, 96, np.array([1, 1, 1]))


def test_no_thread_is_lost_between_kernels_and_functions(threads, monkeypatch):
    monkeypatch.setattr(native, "_threads", native._Threads())
    own = native._threads
    for _ in range(30):
        check(*counted(96))
        native.run_functions(lambda part, parts: None, 96)
        time.sleep(0.003)  # longer than threads look for work
    until = time.monotonic() + 20.0
    while own._waiting.qsize() < 2 - own._tasks.qsize():  # each can be called again, as soon as it got a core
        assert time.monotonic() < until
        time.sleep(0.01)
