"""One call of R's: a verb is run, and what it returns, says and fails with comes back as plain values."""

import ctypes
import logging
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import omicvae
from omicvae._core.errors import OmicVAEError
from omicvae.r_bridge.verbs import VERBS
from omicvae.r_bridge.words import in_r_words

PACKAGE = str(Path(omicvae.__file__).parent)


def answer(verb: str, tell: Callable[[str], Any] | None = None, /, **arguments: Any) -> dict[str, Any]:
    """Run a verb.

    Parameters
    ----------
    verb
        One of ``VERBS``.
    tell
        Takes each line of the log at level INFO, as progress; None: they are dropped.
    arguments
        Of the verb.

    Returns
    -------
    ``value``, or ``error`` with its ``kind`` (the name of the class) and, for an error that omicvae does not raise on
    purpose, its ``trace``; and ``warnings``, texts in R's words.
    """
    said: list[str] = []
    found: dict[str, Any]
    try:
        with _listening(said, tell), own_interrupts():
            found = {"value": VERBS[verb](**arguments)}
    except KeyboardInterrupt:
        found = {"error": "interrupted", "kind": "KeyboardInterrupt"}
    except OmicVAEError as error:
        found = {"error": in_r_words(str(error)), "kind": type(error).__name__}
    except Exception as error:
        text = in_r_words(f"{type(error).__name__}: {error}")
        found = {"error": text, "kind": "Exception", "trace": traceback.format_exc()}
    return {**found, "warnings": said}


class _Ear(logging.Handler):
    """Keeps warnings of the log, and tells other lines at once."""

    def __init__(self, said: list[str], tell: Callable[[str], Any] | None) -> None:
        super().__init__(logging.INFO)
        self.said, self.tell = said, tell

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line."""
        text = in_r_words(record.getMessage())
        if record.levelno >= logging.WARNING:
            self.said.append(text)
        elif self.tell is not None:
            self.tell(text)


@contextmanager
def _listening(said: list[str], tell: Callable[[str], Any] | None) -> Iterator[None]:
    """Keep what omicvae logs and warns of from the console, and take it down."""
    logger = logging.getLogger("omicvae")
    ear, level, propagate = _Ear(said, tell), logger.level, logger.propagate
    logger.addHandler(ear)
    logger.propagate = False
    logger.setLevel(logging.WARNING if tell is None else logging.INFO)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
    finally:
        logger.removeHandler(ear)
        logger.setLevel(level)
        logger.propagate = propagate
        # those of other libraries are about Python
        ours = (w for w in caught if w.category is UserWarning and w.filename.startswith(PACKAGE))
        said.extend(in_r_words(str(warning.message)) for warning in ours)


@contextmanager
def own_interrupts() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt here, and R have it back afterwards.

    reticulate's own handler is a function of R, whose jump out of Python would lose a fit that is being trained. It
    stands in C, where Python's ``signal`` does not see it, so it is kept and put back there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    get, put = ctypes.pythonapi.PyOS_getsig, ctypes.pythonapi.PyOS_setsig
    get.restype = put.restype = ctypes.c_void_p
    get.argtypes, put.argtypes = [ctypes.c_int], [ctypes.c_int, ctypes.c_void_p]
    in_c, in_python = get(signal.SIGINT), signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        if in_python is not None:
            signal.signal(signal.SIGINT, in_python)
        put(signal.SIGINT, in_c)
        sys.stdout.flush()
