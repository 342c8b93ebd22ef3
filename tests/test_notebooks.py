"""Notebooks: their code runs, their outputs are those of that code, and their text claims what the outputs say."""

import ast
import base64
import functools
import importlib.util
import re
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import pytest
import scanpy as sc

import omicvae as ov
from omicvae.diagnostics import RULES

ROOT = Path(__file__).parents[1]
PATHS = sorted((ROOT / "examples").glob("*.ipynb"))
VERDICTS = {rule.name for rule in RULES}

every_notebook = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


def load_tool():
    """tools/notebooks.py as a module."""
    spec = importlib.util.spec_from_file_location("notebooks_tool", ROOT / "tools" / "notebooks.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


def cells(path: Path, kind: str) -> list:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == kind]


def printed(path: Path) -> str:
    """What the code cells wrote to standard output."""
    outputs = [output for cell in cells(path, "code") for output in cell.outputs]
    return "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")


def claimed(path: Path) -> dict[str, str]:
    """Fit → verdict of the table in the last text, under "What the diagnosis said"."""
    text = "\n".join(cell.source for cell in cells(path, "markdown"))
    _, _, below = text.partition("## What the diagnosis said\n")
    assert below, "a notebook ends with what the diagnosis said"
    rows = [[part.strip() for part in line.strip("|").split("|")] for line in below.splitlines() if line[:1] == "|"]
    return {row[0]: row[1].strip("`") for row in rows[2:]}


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """Runs of a few epochs, one diagnosis for all fits, and no UMAP: the code is what is tested here."""
    train, diagnose, made = ov.CVAE.train, ov.CVAE.diagnose, []

    def short_train(model, max_epochs=None, **arguments):
        train(model, **{"max_epochs": None if "resume_from" in arguments else 4, **arguments})

    @functools.wraps(diagnose)
    def one_diagnosis(model, *given, **arguments):
        if not made:
            made.append(diagnose(model, *given, **{**arguments, "umap": False}))
        return made[0]

    def no_umap(cells, **arguments):
        cells.obsm["X_umap"] = cells.obsm["z"][:, :2]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ov.CVAE, "train", short_train)
    monkeypatch.setattr(ov.CVAE, "diagnose", one_diagnosis)
    monkeypatch.setattr(sc.pp, "neighbors", lambda *given, **arguments: None)
    monkeypatch.setattr(sc.tl, "umap", no_umap)
    yield
    plt.close("all")


@pytest.mark.slow
@every_notebook
def test_code_runs_from_the_first_cell_to_the_last(path, quick):
    namespace: dict = {"__name__": path.stem}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for cell in cells(path, "code"):
            exec(compile(cell.source, path.name, "exec"), namespace)


@every_notebook
def test_outputs_are_those_of_the_code_in_order_and_without_errors(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.omicvae.code == load_tool().fingerprint(notebook), "make notebooks"
    code = cells(path, "code")
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    for cell in code:
        assert all(output.output_type != "error" for output in cell.outputs)
        if "plt.subplots(" in cell.source:
            assert any("image/png" in output.get("data", {}) for output in cell.outputs), cell.source
        last = ast.parse(cell.source).body[-1]
        if "print(" in cell.source or (isinstance(last, ast.Expr) and isinstance(last.value, ast.Name)):
            assert cell.outputs, cell.source


@every_notebook
def test_notebooks_are_small_and_hold_figures_but_nothing_of_the_machine(path):
    text = path.read_text()
    assert path.stat().st_size < 600_000
    assert not re.search(r"/(home|tmp|root|usr|work|Users)/|\d{4}-\d\d-\d\dT\d\d:", text)
    figures = [
        output.data["image/png"]
        for c in cells(path, "code")
        for output in c.outputs
        if "image/png" in output.get("data", {})
    ]
    assert len(figures) >= 2
    assert all(len(base64.b64decode(figure)) < 150_000 for figure in figures)


@every_notebook
def test_the_text_claims_the_verdicts_that_were_printed(path):
    found = dict(re.findall(r"^Verdict of (.+): (\w+)$", printed(path), flags=re.MULTILINE))
    assert claimed(path) == found
    assert len(found) >= 2
    assert set(found.values()) <= VERDICTS


@every_notebook
def test_links_of_the_text_lead_somewhere(path):
    for cell in cells(path, "markdown"):
        for link in re.findall(r"\]\(([^)\s]+)\)", cell.source):
            assert re.match(r"[a-z]+:", link) or (path.parent / link.partition("#")[0]).exists(), link


def test_there_are_five_and_the_docs_list_them():
    names = {path.stem for path in PATHS}
    assert len(names) == 5
    page = (ROOT / "docs" / "examples.md").read_text()
    assert set(re.findall(r"\]\(\.\./examples/(\w+)\.ipynb\)", page)) == names
    assert set(re.findall(r"^notebooks/(\w+)$", page, flags=re.MULTILINE)) == names
    assert set(re.findall(r"\]\(examples/(\w+)\.ipynb\)", (ROOT / "README.md").read_text())) == names


@pytest.mark.parametrize("path", [*PATHS, *sorted((ROOT / "examples").glob("*.py"))], ids=lambda path: path.name)
def test_examples_import_the_public_package_alone(path):
    code = path.read_text() if path.suffix == ".py" else "\n".join(cell.source for cell in cells(path, "code"))
    modules = [node.module for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ImportFrom)]
    names = [a.name for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Import) for a in node.names]
    assert "omicvae" in [*modules, *names]
    assert not [name for name in [*modules, *names] if name.startswith("omicvae.")]
