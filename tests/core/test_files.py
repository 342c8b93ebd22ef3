"""Files that several threads write at a time."""

from concurrent.futures import ThreadPoolExecutor

from omicvae._core.files import write_atomically


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
