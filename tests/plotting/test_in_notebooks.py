"""A notebook shows figures and the progress of training below the cell, once, and needs no widgets for it."""

import subprocess
import sys

import nbformat
import pytest
from nbclient import NotebookClient

SET_UP = """
import pandas as pd, omicvae as ov
ov.CVAE
history = pd.DataFrame({"loss_train": [3.0, 2.0], "recon_train": [2.0, 1.0], "kl_train": [1.0, 1.0]})
"""
DRAWN = {
    "ov.pl.loss_curves(history)": 1,
    "ax = ov.pl.kl_per_dimension([0.3, 2.0])": 1,
    "import matplotlib.pyplot as plt; _, ax = plt.subplots(); ax = ov.pl.kl_per_dimension([0.3, 2.0], ax)": 1,
    "from omicvae.plotting.axes import new_axes; ax = ov.pl.kl_per_dimension([0.3], new_axes()[0])": 0,
}


@pytest.fixture(scope="module")
def shown():
    """How many PNGs stand below each cell."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in (SET_UP, *DRAWN)])
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    outputs = [cell.outputs for cell in notebook.cells[1:]]
    return dict(
        zip(DRAWN, [sum("image/png" in part.get("data", {}) for part in cell) for cell in outputs], strict=True)
    )


@pytest.mark.parametrize(("source", "pictures"), DRAWN.items())
def test_a_notebook_shows_each_figure_once(shown, source, pictures):
    assert shown[source] == pictures


def test_an_interactive_session_gets_pyplots_figures():
    code = (
        "import matplotlib; matplotlib.use('agg'); import matplotlib.pyplot as plt; plt.ion(); import omicvae as ov; "
        "ax = ov.pl.kl_per_dimension([0.3, 2.0]); assert plt.fignum_exists(ax.figure.number); "
        "plt.ioff(); ov.pl.kl_per_dimension([0.3]); assert plt.get_fignums() == [ax.figure.number]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
