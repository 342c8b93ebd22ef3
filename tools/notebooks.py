"""Run the notebooks of examples/ and write their outputs back into them.

python tools/notebooks.py [NAME ...]

The notebooks are the source: edit them in any editor, then run this. What differs from run to run without a meaning
(times, versions, cell numbers) is left out, so that a diff shows what changed.
"""

import argparse
import base64
import hashlib
import io
import os
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

EXAMPLES = Path(__file__).parents[1] / "examples"
LARGEST = 600_000  # bytes of a notebook
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
# one thread: the same sums in the same order on every machine; the warning is of a progress bar that is off
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore:IProgress not found"}
LANGUAGE = {"name": "python", "pygments_lexer": "python"}


def execute(path: Path) -> None:
    """Run all cells in a fresh kernel and write the notebook; an error in a cell is raised and nothing written."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=900, kernel_name="python3", record_timing=False)
    client.execute(cwd=str(EXAMPLES), env={**os.environ, **ENVIRONMENT})
    path.write_text(nbformat.writes(stripped(notebook)) + "\n", encoding="utf-8")


def fingerprint(notebook: nbformat.NotebookNode) -> str:
    """Hash of the code, kept beside the outputs: where it differs, the outputs are those of other code."""
    code = "\0".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    return hashlib.sha256(code.encode()).hexdigest()[:16]


def stripped(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Take out what means nothing; cells are numbered and their ids are their places."""
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": KERNEL, "language_info": LANGUAGE, "omicvae": {"code": fingerprint(notebook)}}
    )
    count = 0
    for place, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{place}", nbformat.from_dict({})
        if cell.cell_type != "code":
            continue
        count += 1
        cell.execution_count = count
        cell.outputs = joined(cell.outputs)
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = smaller(output.data["image/png"])
                output.data.pop("text/plain", None)  # "<Figure size ...>"
            if "metadata" in output:
                output.metadata = nbformat.from_dict({})
            if "execution_count" in output:
                output.execution_count = count
    nbformat.validate(notebook)
    return notebook


def joined(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Join what was printed piece by piece; the pieces depend on timing."""
    result: list[nbformat.NotebookNode] = []
    for output in outputs:
        last = result[-1] if result else None
        if last is not None and last.output_type == output.output_type == "stream" and last.name == output.name:
            last.text += output.text
        else:
            result.append(output)
    return result


def smaller(png: str) -> str:
    """Return the figure in 256 colours: a third of the bytes."""
    image = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def main() -> None:
    """Run all, or those that are named."""
    parser = argparse.ArgumentParser(description="Run the notebooks in place.")
    parser.add_argument("names", nargs="*", help="which of them, such as vanishing_kl_cures; default: all")
    names = parser.parse_args().names
    for path in sorted(EXAMPLES.glob("*.ipynb")):
        if not names or path.stem in names:
            start = time.perf_counter()
            execute(path)
            print(f"{path.name}: {time.perf_counter() - start:.0f} s, {path.stat().st_size // 1000} kB", flush=True)
            if path.stat().st_size > LARGEST:
                print(f"{path.name} has more than {LARGEST // 1000} kB: use fewer or smaller figures.")


if __name__ == "__main__":
    main()
