"""Files that several threads write at a time."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from omicvae._core.errors import SavingError
from omicvae._core.files import write_atomically, zarr_folder


def test_threads_that_write_the_same_file_leave_one_of_theirs_whole(tmp_path):
    target = tmp_path / "out.txt"

    def write(i):
        for _ in range(20):
            write_atomically(target, lambda path: path.write_text(str(i) * 100_000))
            text = target.read_text()
            assert len(text) == 100_000
            assert len(set(text)) == 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]


def write(path, text):
    with zarr_folder(path) as folder:
        folder.mkdir()
        if text is None:
            raise OSError("no space left")
        (folder / "zarr.json").write_text(text)


def test_a_folder_that_is_no_zarr_is_never_replaced(tmp_path):
    (tmp_path / "mine.zarr").mkdir()
    (tmp_path / "mine.zarr" / "thesis.txt").write_text("years of work")
    with pytest.raises(SavingError, match="is no zarr folder; it is left as it is"):
        write(tmp_path / "mine.zarr", "other")
    assert (tmp_path / "mine.zarr" / "thesis.txt").read_text() == "years of work"


def test_a_zarr_folder_replaces_the_one_before_when_it_is_whole(tmp_path):
    target = tmp_path / "new" / "out.zarr"
    write(target, "first")
    write(target, "second")
    with pytest.raises(SavingError, match="could not be written: no space left"):
        write(target, None)
    assert [path.name for path in target.parent.iterdir()] == ["out.zarr"]
    assert (target / "zarr.json").read_text() == "second"
