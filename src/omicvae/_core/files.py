"""Writing files so that readers see the old one or the new one, never half of one."""

import os
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from omicvae._core.errors import SavingError


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` make a file beside the target, flush it to the disk, then rename it over the target.

    The temporary file is in the same folder, because a rename is atomic only within one file system.
    """
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.partial")  # its own in every thread and process
    try:
        write(temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def refused(error: Exception) -> bool:
    """Whether the operating system refused to read (no permission, too many open files): it says nothing of damage."""
    return isinstance(error, OSError) and error.errno is not None and not isinstance(error, FileNotFoundError)


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` make a file, whole or not at all; folders are made as needed.

    Raises
    ------
    SavingError
        If the folder cannot be made or the file not be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, write)
    except OSError as error:
        raise SavingError(f"{str(path)!r} could not be written: {error}") from error


def write_text(text: str, path: Path) -> None:
    """Write a small text file, as :func:`write_file` does."""
    write_file(path, lambda target: target.write_text(text, encoding="utf-8"))
