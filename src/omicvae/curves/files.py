"""From a path to what it holds: the one log of a folder, and the text of a file in any common encoding."""

import codecs
import os
from pathlib import Path

from omicvae._core.errors import DataError

#: Byte-order marks, the longer of two that begin alike first.
MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
EVENTS = "*tfevents*"
#: What a folder's log may be called, the likeliest first; of these the first that is there is taken.
IN_FOLDERS = (EVENTS, "metrics.csv", "*.csv", "*.jsonl", "*.json", "*.log", "*.txt", "*.out")
LISTED = 5


def found_log(path: Path) -> Path:
    """Return the file, or, of a folder, its one log: in itself, else in the folders below it.

    A folder with event files stands for them.

    Raises
    ------
    DataError
        If there is no such file or folder, nothing in it may be a log, or several may.
    """
    if not os.path.exists(path):  # False, and no error, for what is too long for a name
        raise DataError(f"There is no file {shortened(path)}.")
    if not path.is_dir():
        return path
    for pattern in (*IN_FOLDERS, *(f"**/{name}" for name in IN_FOLDERS)):
        files = sorted(file for file in path.glob(pattern) if file.is_file())
        if pattern.endswith(EVENTS):
            files = sorted({file.parent for file in files})
        if len(files) > 1:
            shown = ", ".join(repr(str(file.relative_to(path))) for file in files[:LISTED])
            raise DataError(f"The folder {shortened(path)} holds {len(files)} logs; name one of them: {shown} …")
        if files:
            return files[0]
    raise DataError(
        f"The folder {shortened(path)} holds neither TensorBoard event files nor a metrics.csv, nor any other log "
        f"({', '.join(IN_FOLDERS[2:])})."
    )


def text_of(path: Path) -> str | None:
    """Text of a file; None where it is none.

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    try:
        return decoded(path.read_bytes())
    except OSError as error:
        raise DataError(f"{shortened(path)} cannot be read: {error}") from error


def decoded(data: bytes) -> str | None:
    """Decode UTF-8, UTF-16 or UTF-32 by their marks, UTF-16 without one, or a code page; None for what is no text."""
    mark = next((mark for mark in MARKS if data.startswith(mark)), None)
    guesses = [MARKS[mark]] if mark else ["utf-8", *_without_mark(data)]
    for encoding in guesses:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        return text.replace("\0", "")
    return None


def shortened(path: Path) -> str:
    """Show a name, cut where it is no name at all."""
    name = repr(str(path))
    return name if len(name) <= 200 else f"{name[:200]}…'"


def _without_mark(data: bytes) -> list[str]:
    """Guess UTF-16 by the zeros of its Latin letters; a code page where there are no control characters."""
    start = data[:4096]
    zeros = [start[first::2].count(0) / max(1, len(start) // 2) for first in (0, 1)]
    if max(zeros) > 0.5 and len(data) % 2 == 0:
        return ["utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"]
    return ["cp1252", "latin-1"] if not any(byte < 32 and byte not in b"\t\n\r\b\f\x1b" for byte in start) else []
