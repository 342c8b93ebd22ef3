"""Sphinx settings. Build with: pip install sphinx myst-nb && sphinx-build -W docs docs/_build."""

import tomllib
from pathlib import Path

with (Path(__file__).parents[1] / "pyproject.toml").open("rb") as file:
    _project = tomllib.load(file)["project"]

project = "omicvae"
author = copyright = "omicvae developers"
version = release = _project["version"]

extensions = ["myst_nb"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"

exclude_patterns = ["_build"]
html_title = f"omicvae {release}"

# Sphinx reads below its own folder only: notebooks are copied there, and links between the two are turned.
_notebooks = Path(__file__).parent / "notebooks"
_notebooks.mkdir(exist_ok=True)
for _path in (Path(__file__).parents[1] / "examples").glob("*.ipynb"):
    (_notebooks / _path.name).write_text(_path.read_text().replace("](../docs/", "](../"))


def _turn_links(app, docname, source):
    source[0] = source[0].replace("](../examples/", "](notebooks/")


def setup(app):
    """Sphinx calls this."""
    app.connect("source-read", _turn_links)
