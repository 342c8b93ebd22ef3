"""Settings of the whole process, such as filters of warnings, that several threads need for a while."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from threading import Lock
from typing import Any


class Together(AbstractContextManager[None]):
    """Decorates a context: ``make()`` is entered with the first thread that comes, and left with the last that goes.

    Threads that each saved and restored a setting would take it from one another, and leave the user theirs.
    """

    def __init__(self, make: Callable[[], AbstractContextManager[Any]]) -> None:
        self._make, self._lock, self._inside, self._stack = make, Lock(), 0, ExitStack()

    def __call__(self) -> "Together":
        return self

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._stack.enter_context(self._make())
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._stack.close()
