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
