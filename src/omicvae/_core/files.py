"""Writing files so that readers see the old one or the new one, never half of one."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


@contextmanager
def zarr_folder(path: Path) -> Iterator[Path]:
    """Give a folder beside ``path`` to write zarr into, and rename it to that when all is well.

    Raises
    ------
    SavingError
        If it cannot be written, or ``path`` is something else than a zarr folder: that is left as it is.
    """
    if path.exists() and not any((path / name).exists() for name in (".zgroup", "zarr.json")):
        raise SavingError(f"{path} exists and is no zarr folder; it is left as it is.")
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if path.exists():
            old = path.rename(path.with_name(f"{temporary.name}.old"))
            temporary.rename(path)
            shutil.rmtree(old)
        else:
            temporary.rename(path)
    except OSError as error:
        raise SavingError(f"{str(path)!r} could not be written: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


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
