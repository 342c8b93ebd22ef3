"""README, docs and examples: code runs, links lead somewhere, tables agree with the package."""

import ast
import functools
import inspect
import re
import runpy
import shlex
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import omicvae as ov
from omicvae.cli import VERBS, build_parser
from omicvae.curves import HISTORY_RULES
from omicvae.data import SetupKeys
from omicvae.diagnostics import RULES
from omicvae.likelihoods import LIKELIHOODS
from omicvae.model.host import REASONS
from omicvae.networks import ACTIVATIONS, NORMALIZATIONS
from omicvae.objective import FREE_BITS_MODES, SCHEDULES
from omicvae.priors import PRIORS
from omicvae.training import make_budget
from omicvae.training.budget import DEFAULT_PEAK_RATE
from omicvae.training.history import COLUMNS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
VERDICTS = {rule.name for rule in RULES}

by_name = {"ids": lambda path: path.name}


def blocks(page: Path, language: str) -> list[str]:
    """Fenced code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def prose(page: Path) -> str:
    """The page without its fenced code."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def slugs(page: Path) -> set[str]:
    """Anchors of the page's headings, as GitHub and Sphinx make them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> list[str]:
    """Relative links of the page that lead to no file, folder or heading."""
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in slugs(target)):
            broken.append(link)
    return broken


def table(page: str, heading: str) -> list[list[str]]:
    """Rows of the first table below a heading of a page in docs, as cells; the head is left out."""
    _, _, below = f"\n{(DOCS / page).read_text()}".partition(f"\n{heading}\n")
    assert below, f"{page} has no heading {heading!r}"
    lines = re.search(r"((?:^\|.*\n)+)", below, flags=re.MULTILINE)[1].splitlines()
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def names(rows: list[list[str]], column: int = 0) -> set[str]:
    """Names in code type of one column, quotes dropped."""
    return {name.strip('"') for row in rows for name in re.findall(r"`([^`]+)`", row[column])}


@pytest.fixture
def run_code(tmp_path, monkeypatch):
    """Run the Python blocks of a page one after the other in an empty folder and return their names."""
    monkeypatch.chdir(tmp_path)

    def run(page: Path, **given: object) -> dict:
        namespace: dict = {"__name__": page.stem, **given}
        for block in blocks(page, "python"):
            exec(compile(block, page.name, "exec"), namespace)
        return namespace

    return run


def test_the_quickstart_runs_as_it_stands(run_code):
    left = run_code(DOCS / "quickstart.md")
    assert left["diagnosis"].verdict in VERDICTS
    assert left["z"].shape == (50, 10)
    assert left["rates"].shape == (700, 2)
    assert left["adata"].obsm["X_omicvae"].shape == (300, 5)
    assert left["model"].diagnosis.verdict in VERDICTS
    assert Path("loss.png").stat().st_size > 0


def test_the_page_on_training_runs_as_it_stands(run_code, monkeypatch):
    short = functools.partialmethod(ov.CVAE.train, 10, progress_bar=False)
    monkeypatch.setattr(ov.CVAE, "train", short)
    adata = ov.datasets.pbmc68k_counts()[:200].copy()
    ov.CVAE.setup_anndata(adata, categorical_covariate_keys=["phase"])
    left = run_code(DOCS / "training.md", ov=ov, adata=adata, model=ov.CVAE(adata, n_hidden=16))
    assert len(left["model"].history) == 10
    assert left["model"].fits[0].best_epoch is not None


def test_the_page_on_diagnosis_runs_as_it_stands(run_code):
    adata = ov.datasets.simulate_counts(300, 100, seed=2)
    ov.CVAE.setup_anndata(adata, batch_key="batch")
    model = ov.CVAE(adata, n_hidden=32)
    model.train(30, objective={"beta": 1000.0}, progress_bar=False)
    left = run_code(DOCS / "diagnosis.md", ov=ov, adata=adata, model=model)
    assert left["diagnosis"].verdict == "collapsed"
    assert left["rescue"].healed


def test_the_page_on_audits_runs_as_it_stands(run_code, monkeypatch):
    import scvi

    quiet = functools.partialmethod(scvi.model.SCVI.train, enable_progress_bar=False, accelerator="cpu")
    monkeypatch.setattr(scvi.model.SCVI, "train", quiet)
    with warnings.catch_warnings(action="ignore"):  # scvi-tools warns of what is its own
        left = run_code(DOCS / "audit.md")
    assert (left["diagnosis"].verdict, left["averaged"].verdict) == ("collapsed", "collapsed")
    assert left["linear"].inputs.base_measure == "squared errors of 765 features, times 0.5"
    assert str(left["again"]).split("\n\n")[0] == str(left["averaged"]).split("\n\n")[0]
    for remedy in (left["diagnosis"].remedies[0], left["averaged"].remedies[0]):  # what the page shows is what is said
        assert remedy.line in re.sub(r"\n +", " ", (DOCS / "audit.md").read_text())


def test_the_page_on_evidence_runs_as_it_stands(run_code):
    adata = ov.datasets.simulate_counts(150, 40, seed=2)
    model = ov.CVAE(adata, n_hidden=16)
    model.train(5, progress_bar=False)
    left = run_code(DOCS / "evidence.md", ov=ov, model=model)
    assert left["inputs"].labels_key == "cell_type"
    assert ov.diagnose("by_hand.safetensors", umap=False).verdict == "undecided"


def test_the_page_on_expression_runs_as_it_stands(run_code):
    left = run_code(DOCS / "expression.md")
    assert left["made"].shape == (2, 60)
    assert left["again"].shape == (500, 5)
    assert left["corrected"].shape == (300, 60)
    assert "explained beyond gene means" in str(left["result"])


def test_the_page_on_speed_runs_as_it_stands(run_code):
    left = run_code(DOCS / "speed.md")
    assert left["expression"].sum(1) == pytest.approx(1, abs=1e-4)  # shares of each cell's library


def test_the_page_on_query_mapping_runs_as_it_stands(run_code, monkeypatch):
    short = functools.partialmethod(ov.CVAE.train, progress_bar=False)
    monkeypatch.setattr(ov.CVAE, "train", short)
    left = run_code(DOCS / "query.md")
    assert left["mapping"].verdict in {"covered", "partly_covered", "not_covered"}
    assert left["query_cells"].obs["omicvae_confidence"].between(0, 1).all()


def test_the_page_on_metrics_runs_as_it_stands(run_code):
    left = run_code(DOCS / "metrics.md")
    integration = left["integration"]
    assert all(0 <= value <= 1 for value in integration.values())
    assert min(integration["cLISI"], integration["connectivity"], integration["iLISI"]) > 0.5
    assert left["fit"].n_draws == 25
    assert left["fit"].coverage_error < 0.1
    assert left["agreement"].rank_correlation > 0.5


def test_the_page_on_anomalies_runs_as_it_stands(run_code, monkeypatch):
    monkeypatch.setattr(ov.CVAE, "train", functools.partialmethod(ov.CVAE.train, 20))
    left = run_code(DOCS / "anomaly.md")
    assert left["suspects"]["z"].is_monotonic_decreasing
    assert len(left["table"]) == left["mask"].sum()
    columns = {
        name for name in names(table("anomaly.md", "## Which cells did the model not expect?")) if name[-1] != "…"
    }
    assert columns <= set(left["scores"].columns)
    assert {name for name in left["scores"].columns if not name.startswith("gene")} <= columns


def test_the_page_on_stability_runs_as_it_stands(run_code):
    left = run_code(DOCS / "stability.md")
    assert left["found"].fits["seed"].tolist() == [0, 1, 2]
    assert Path("stability.png").stat().st_size > 0


def test_the_page_on_comparison_runs_as_it_stands(run_code, monkeypatch):
    monkeypatch.setattr(ov.CVAE, "train", functools.partialmethod(ov.CVAE.train, progress_bar=False))
    left = run_code(DOCS / "compare.md")
    shown = left["comparison"].table
    assert set(shown.index) == {"sums", "β = 4", "means, β = 3"}
    assert shown.loc["means, β = 3", "verdict"] == "collapsed"
    assert not shown.loc["means, β = 3", "tied"]
    assert (shown["n_paired"] == shown["n_judged"]).all()
    named = names(table("compare.md", "# Compare fits"))
    assert named - {"leakage of …"} == set(shown.columns) - {"labels"}
    assert Path("compare.png").stat().st_size > 0


def test_the_page_on_effects_runs_as_it_stands(run_code):
    left = run_code(DOCS / "effects.md")
    hits = left["table"].index[left["table"]["q"] <= 0.05]
    assert len(set(hits) & {f"gene_{g}" for g in range(20)}) >= 15
    assert len(hits) <= 27
    assert left["said"].test is None


def test_the_page_on_curves_runs_as_it_stands(run_code):
    left = run_code(DOCS / "curves.md")
    assert left["diagnosis"].verdict == "healthy"
    assert len(left["diagnosis"].history) == 4


def test_the_page_on_reports_runs_as_it_stands(run_code, monkeypatch):
    monkeypatch.setattr(ov.CVAE, "train", functools.partialmethod(ov.CVAE.train, 4, progress_bar=False))
    left = run_code(DOCS / "report.md")
    assert left["diagnosis"].headline in Path("short.html").read_text(encoding="utf-8")
    assert "UMAP of means" in left["path"].read_text(encoding="utf-8")


def test_the_recipes_run(run_code, monkeypatch):
    whole, cells = ov.CVAE.train, ov.datasets.pbmc68k_counts()[:200]

    def short(model, max_epochs=None, **arguments):
        whole(model, 4, **arguments, progress_bar=False)

    monkeypatch.setattr(ov.CVAE, "train", short)
    monkeypatch.setattr(ov.datasets, "pbmc68k_counts", cells.copy)
    left = run_code(DOCS / "recipes.md")
    assert left["diagnosis"].verdict in VERDICTS - {"healthy"}
    assert len(left["model"].history) == 4


def test_the_page_on_networks_runs_as_it_stands(run_code):
    left = run_code(DOCS / "networks.md")
    assert set(left["bounds"]) == set(PRIORS)
    assert all(np.isfinite(bound) for bound in left["bounds"].values())


def test_the_page_on_counterfactuals_runs_as_it_stands(run_code):
    left = run_code(DOCS / "counterfactual.md")
    assert "fit, not prediction" in left["said"]["summary"]
    judged = left["judged"].uns["omicvae"]["counterfactual"]
    assert judged["groups"].loc["type_0", "trained_on"] == "no"
    assert "fit, not prediction" not in judged["summary"]


def test_the_page_on_methods_runs_as_it_stands(run_code):
    left = run_code(DOCS / "methods.md")
    assert left["generated"].shape == (100, 50)


def test_the_readme_example_runs(run_code, monkeypatch):
    monkeypatch.setattr(ov.CVAE, "train", functools.partialmethod(ov.CVAE.train, 3, progress_bar=False))
    monkeypatch.setattr(ov.CVAE, "diagnose", functools.partialmethod(ov.CVAE.diagnose, umap=False))
    left = run_code(ROOT / "README.md")
    assert left["diagnosis"].verdict in VERDICTS
    assert left["adata"].obsm["X_omicvae_sd"].shape == (700, 10)
    assert Path("pbmc_model/model.json").exists()
    (block,) = blocks(ROOT / "README.md", "python")
    assert len([line for line in block.splitlines() if line]) <= 10


@pytest.mark.parametrize("path", EXAMPLES, **by_name)
def test_examples_run(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [path.name, "--quick"])
    runpy.run_path(str(path), run_name="__main__")
    assert re.search(r"latent space|Undertrained|overfits", capsys.readouterr().out)
    assert len(path.read_text().splitlines()) < 40


@pytest.mark.parametrize("page", PAGES, **by_name)
def test_code_compiles_and_links_lead_somewhere(page):
    for block in blocks(page, "python"):
        compile(block, page.name, "exec")
    assert broken_links(page) == []


def test_broken_links_are_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A title\n[a](#a-title) [b](#no-title) [c](page.md) [d](gone.md) [e](https://e.org)\n")
    assert broken_links(page) == ["#no-title", "gone.md"]


def test_the_index_lists_every_page():
    (toctree,) = blocks(DOCS / "index.md", "{toctree}")
    pages = {path.stem for path in DOCS.glob("*.md")} - {"index"}
    assert {line for line in toctree.split() if not line.startswith(":")} == pages
    assert {link.removesuffix(".md") for link in re.findall(r"\]\((\w+\.md)\)", prose(DOCS / "index.md"))} == pages


def test_commands_can_be_read():
    script = "\n".join(blocks(DOCS / "cli.md", "bash")).replace("\\\n", " ")
    commands = [shlex.split(line) for line in script.splitlines() if line]
    assert len(commands) >= 4
    for command, *arguments in commands:
        assert command == "omicvae"
        build_parser().parse_args(arguments)  # an unknown option would exit


@pytest.mark.parametrize(
    ("page", "heading", "expected"),
    [
        ("likelihoods.md", "# Likelihoods", set(LIKELIHOODS)),
        ("networks.md", "## Priors", set(PRIORS)),
        ("training.md", "## Schedules", set(SCHEDULES)),
        ("training.md", "## Free bits", set(FREE_BITS_MODES)),
        ("training.md", "## What is minimised", {field for field in ov.Objective.__dataclass_fields__}),
        ("training.md", "## History", set(COLUMNS)),
        ("diagnosis.md", "## Verdicts", VERDICTS),
        ("diagnosis.md", "## Remedies", VERDICTS),
        ("curves.md", "## What curves prove", {rule.name for rule in HISTORY_RULES} | {"healthy", "undecided"}),
        ("data.md", "## Keys", set(SetupKeys.__dataclass_fields__)),
        ("methods.md", "## Refused", set(REASONS)),
        ("cli.md", "# Command line", set(VERBS)),
        ("expression.md", "## Parameters", set(LIKELIHOODS)),
        ("metrics.md", "# Metrics", {n for n in ov.metrics.__all__ if inspect.isfunction(getattr(ov.metrics, n))}),
    ],
)
def test_tables_name_what_exists_and_all_of_it(page, heading, expected):
    assert names(table(page, heading)) == expected


def test_the_choices_of_the_network_are_those_of_the_tables_and_its_defaults_are_the_defaults():
    rows = {row[0].strip("`"): row[1:] for row in table("networks.md", "## Network")}
    assert {name.strip('"') for name in re.findall(r'"\w+"', rows["activation"][1])} == set(ACTIVATIONS)
    assert {name.strip('"') for name in re.findall(r'"\w+"', rows["normalization"][1])} == set(NORMALIZATIONS)
    parameters = inspect.signature(ov.CVAE).parameters
    for name, (default, *_) in rows.items():
        assert ast.literal_eval(default.strip("`")) == parameters[name].default, name


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_every_likelihood_has_a_section_and_its_dispersions(name):
    assert f"\n## {name}\n" in (DOCS / "likelihoods.md").read_text()
    (row,) = (row for row in table("likelihoods.md", "# Likelihoods") if row[0] == f'`"{name}"`')
    assert re.findall(r'"([\w-]+)"', row[3]) == list(LIKELIHOODS[name].dispersions)
    assert names([row], 2) == set(LIKELIHOODS[name](3).heads)


def test_offered_methods_exist_and_are_not_refused():
    offered = {name for name in names(table("methods.md", "## Offered")) if name.isidentifier()}
    assert len(offered) > 10
    assert {name for name in offered if not hasattr(ov.CVAE, name)} == set()
    assert offered & set(REASONS) == set()


def test_budgets_in_the_docs_are_the_defaults():
    rows = table("training.md", "## Length and learning rate")
    for n_train, steps, epochs in rows:
        budget = make_budget(int(n_train), 128)
        assert budget.max_epochs == int(epochs)
        assert budget.total_steps == pytest.approx(int(steps), abs=budget.steps_per_epoch)
    assert f"(default {DEFAULT_PEAK_RATE:g})" in (DOCS / "training.md").read_text()
    defaults = {row[0]: row[1] for row in table("training.md", "## What is minimised")}
    assert float(defaults["`warmup`"]) == ov.Objective.DEFAULT_WARMUP
