"""Fits side by side: differences against NumPy by hand, and what keeps them from being believed."""

import json
from dataclasses import replace

import numpy as np
import pytest

import omicvae as ov
from omicvae._core import DataError, SettingError
from omicvae.cli import main
from omicvae.diagnostics import DiagnosisInputs, write_evidence

N, W, K = 160, 60, 2
MEASURE = "counts values of 30 features"


#: labels to probe, and what they are compared with; without them a diagnosis is quick
PROBED = {
    "reference_NK": np.random.default_rng(7).normal(0, 1.5, (N, K)),
    "labels_N": np.where(np.random.default_rng(7).normal(0, 1.5, (N, K))[:, 0] > 0, "a", "b").astype(object),
    "labels_key": "type",
}


@pytest.fixture(scope="module")
def depth_N():
    """Cells differ by far more than fits do."""
    return np.random.default_rng(1).normal(200, 50, N)


def evidence(depth_N, worse=0.0, *, seed=0, judged=None, **changes):
    """A fit of cells with those depths, worse by so many nats a cell."""
    rng = np.random.default_rng(seed)
    judged = np.arange(W) if judged is None else judged
    n = len(judged)
    mean_NK = np.random.default_rng(7).normal(0, 1.5, (N, K))
    sd_NK = np.full((N, K), 0.3)
    kl_WK = 0.5 * (sd_NK**2 + mean_NK**2 - 1 - np.log(sd_NK**2))[judged]
    nll_W = depth_N[judged] + worse + rng.normal(0, 1, n)
    given = {
        "mean_NK": mean_NK,
        "sd_NK": sd_NK,
        "draw_NK": mean_NK + sd_NK * np.random.default_rng(8).standard_normal((N, K)),
        "kl_WK": kl_WK,
        "nll_W": nll_W,
        "nll_permuted_W": nll_W + 40,
        "null_nll_W": depth_N[judged] + 30,
        "judged_W": judged,
        "cell_names_N": np.array([f"cell {i}" for i in range(N)], dtype=object),
        "base_measure": MEASURE,
    }
    return DiagnosisInputs(**(given | changes))


def test_differences_are_paired_over_cells(depth_N):
    good, bad = evidence(depth_N), evidence(depth_N, 5.0, seed=1)
    table = ov.compare({"bad": bad, "good": good}).table
    assert list(table.index) == ["good", "bad"]
    d_W = good.elbo_W - bad.elbo_W
    assert table.loc["bad", "behind"] == pytest.approx(d_W.mean())
    assert table.loc["bad", "behind_se"] == pytest.approx(d_W.std(ddof=1) / np.sqrt(W))
    assert table.loc["bad", "n_paired"] == W
    assert not table.loc["bad", "tied"]
    assert table.loc["good", ["behind", "behind_se"]].tolist() == [0, 0]
    assert table.loc["good", "elbo_se"] == pytest.approx(good.elbo_W.std(ddof=1) / np.sqrt(W))
    assert table.loc["bad", "behind_se"] < table.loc["bad", "elbo_se"] / 10  # depth cancels


def test_cells_are_found_by_name_whatever_their_order(depth_N):
    good, bad = evidence(depth_N), evidence(depth_N, 5.0, seed=1)
    order = np.random.default_rng(2).permutation(N)
    place = np.argsort(order)
    moved = {name: getattr(bad, name)[order] for name in ("mean_NK", "sd_NK", "draw_NK")}
    shuffled = replace(bad, judged_W=place[bad.judged_W], cell_names_N=bad.cell_names_N[order], **moved)
    here, there = (ov.compare({"good": good, "bad": other}).table.loc["bad"] for other in (bad, shuffled))
    assert there["behind"] == pytest.approx(here["behind"])
    assert there["behind_se"] == pytest.approx(here["behind_se"])


def test_only_cells_judged_in_both_are_compared(depth_N):
    good, bad = evidence(depth_N), evidence(depth_N, 5.0, seed=1, judged=np.arange(40, 140))
    comparison = ov.compare({"good": good, "bad": bad})
    d = good.elbo_W[40:] - bad.elbo_W[:20]
    assert comparison.table.loc["bad", "behind"] == pytest.approx(d.mean())
    assert comparison.table.loc["bad", "n_paired"] == 20
    assert "bad (20 of 100)" in " ".join(comparison.notes)


def test_easier_cells_do_not_make_a_fit_the_best(depth_N):
    order = np.argsort(depth_N)
    good, bad = evidence(depth_N, judged=order[60:]), evidence(depth_N, 5.0, seed=1, judged=order[:90])
    table = ov.compare({"bad": bad, "good": good}).table
    assert table.loc["bad", "elbo"] > table.loc["good", "elbo"]
    assert list(table.index) == ["good", "bad"]
    assert table.loc["bad", "behind"] == pytest.approx(5, abs=1)


def test_other_cells_give_the_error_of_two_means(depth_N):
    good, bad = evidence(depth_N), evidence(depth_N, 5.0, seed=1, judged=np.arange(60, 120))
    comparison = ov.compare({"good": good, "bad": bad})
    table = comparison.table
    second = table.index[1]
    assert table.loc[second, "n_paired"] == 0
    assert table.loc[second, "behind_se"] == pytest.approx(np.hypot(*table["elbo_se"]))
    assert table.loc[second, "tied"]
    assert f"tells little: {second}" in " ".join(comparison.notes)


@pytest.mark.parametrize(("worse", "tied"), [(0.0, True), (2.0, False)])
def test_a_difference_within_two_errors_is_a_tie(depth_N, worse, tied):
    comparison = ov.compare({"one": evidence(depth_N), "other": evidence(depth_N, worse, seed=5)})
    behind = comparison.table.iloc[1]
    assert bool(behind["tied"]) is tied
    assert bool(abs(behind["behind"]) <= 2 * behind["behind_se"]) is tied
    line = next(line for line in str(comparison).splitlines() if line.startswith(str(behind.name)))
    assert ("≈" in line) is tied


def test_bounds_of_different_measures_each_have_their_best(depth_N):
    runs = {
        "counts": evidence(depth_N),
        "worse": evidence(depth_N, 3.0, seed=1),
        "logs": evidence(depth_N, -150.0, base_measure="real values of 30 features"),
        "unknown": evidence(depth_N, -500.0, base_measure=""),
        "no NLL": evidence(depth_N, nll_W=None, nll_permuted_W=None),
    }
    comparison = ov.compare(runs)
    assert comparison.table["behind"].eq(0).to_dict() == {
        "counts": True, "worse": False, "logs": True, "unknown": False, "no NLL": False,
    }  # fmt: skip
    assert comparison.table.loc[["unknown", "no NLL"], ["behind", "behind_se"]].isna().all(axis=None)
    said = " ".join(comparison.notes)
    assert "real values of 30 features: logs" in said
    assert "unknown, no NLL" in said


def test_runs_without_names_pair_by_row_only_if_they_have_as_many_cells(depth_N):
    good, bad = (evidence(depth_N, w, seed=s, cell_names_N=None) for w, s in ((0.0, 0), (5.0, 1)))
    assert ov.compare({"good": good, "bad": bad}).table.loc["bad", "n_paired"] == W
    named = evidence(depth_N, 5.0, seed=1)
    assert ov.compare({"good": good, "bad": named}).table["n_paired"].tolist() == [W, 0]


def test_it_prints_within_its_width_and_becomes_json(depth_N, tmp_path):
    batch = np.where(np.arange(N) % 2, "x", "y").astype(object)
    runs = {
        "a run with a rather long name that has to be broken": evidence(depth_N, covariates={"batch": batch}, **PROBED),
        "b": evidence(depth_N, 3.0, seed=1),
    }
    comparison = ov.compare(runs)
    lines = str(comparison).splitlines()
    assert max(map(len, lines)) <= 110
    assert "leakage of batch" in lines[0]
    assert "type (PCA)" in lines[0]
    assert "best" in lines[1]
    assert json.loads(json.dumps(comparison.to_dict()))["runs"][0]["run"].startswith("a run")
    assert "<table" in comparison._repr_html_()


def test_verdicts_are_those_of_diagnose(depth_N, tmp_path):
    dead = evidence(depth_N, 30.0, nll_permuted_W=None, kl_WK=np.full((W, K), 1e-4))
    dead = replace(dead, mean_NK=dead.mean_NK * 1e-3, nll_permuted_W=dead.nll_W + 0.01)
    path = write_evidence(dead, tmp_path / "dead.safetensors")
    comparison = ov.compare({"alive": ov.diagnose(evidence(depth_N), umap=False), "dead": path})
    assert comparison.table["verdict"].to_dict() == {"alive": "healthy", "dead": "collapsed"}
    assert comparison.table["verdict"]["dead"] == ov.diagnose(path, umap=False).verdict
    assert "A high bound makes no fit sound: dead (collapsed)." in comparison.notes


@pytest.mark.parametrize("runs", [{}, {"one": None}, ["a", "b"]])
def test_it_refuses_what_it_cannot_compare(runs):
    with pytest.raises(SettingError, match=r"two runs or more|by name"):
        ov.compare(runs)


def test_the_figure_shows_each_fit_behind_the_best(depth_N):
    runs = {"good": evidence(depth_N), "bad": evidence(depth_N, 5.0, seed=1)}
    comparison = ov.compare(runs)
    ax = ov.pl.compare(comparison)
    drawn = {
        tick.get_text(): ax.containers[1 - i].lines[0].get_xdata()[0] for i, tick in enumerate(ax.get_yticklabels())
    }
    assert drawn["good"] == 0
    assert drawn["bad"] == comparison.table.loc["bad", "behind"]
    with pytest.raises(DataError, match=r"what ov.compare\(\) returned, got dict"):
        ov.pl.compare({})


def test_the_command_line_compares_files(depth_N, tmp_path, capsys):
    files = [tmp_path / "good.safetensors", tmp_path / "bad.safetensors"]
    for file, run in zip(files, (evidence(depth_N), evidence(depth_N, 5.0, seed=1)), strict=True):
        write_evidence(run, file)
    figure, table = tmp_path / "f.svg", tmp_path / "t.json"
    assert main(["compare", str(files[0]), f"other={files[1]}", "--figure", str(figure), "--json", str(table)]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[1].startswith("good")
    assert printed.splitlines()[2].startswith("other")
    assert "<svg" in figure.read_text()
    assert json.loads(table.read_text())["runs"][1]["verdict"] == "healthy"


def test_the_command_line_compares_a_saved_model_with_its_own_evidence(tmp_path, capsys):
    adata = ov.datasets.simulate_counts(120, 40, seed=3)
    adata.write_h5ad(tmp_path / "cells.h5ad")
    ov.CVAE.setup_anndata(adata)
    model = ov.CVAE(adata, n_hidden=16, n_latent=2)
    model.train(10, progress_bar=False)
    model.save(str(tmp_path / "model"))
    evidence = ov.write_evidence(model, tmp_path / "model.safetensors")
    runs = [f"saved={tmp_path / 'model'}", str(evidence)]
    assert main(["compare", *runs, "--data", str(tmp_path / "cells.h5ad")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {lines[1].split()[0], lines[2].split()[0]} == {"saved", "model"}
    assert "0 ± 0 ≈" in lines[2] or "best" in lines[2]  # the same fit, number for number


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{good}", "{folder}"], "name the file of the model's cells as --data DATA"),
        (["a={good}", "a={good}"], "Two runs are called 'a'"),
        (["{good}", "b={good}", "--figure", "f.docx"], r"ends in .png, .svg, .pdf"),
        (["{good}"], "two runs or more"),
    ],
)
def test_the_command_line_says_what_is_wrong(depth_N, tmp_path, capsys, arguments, message):
    good = write_evidence(evidence(depth_N), tmp_path / "good.safetensors")
    assert main(["compare", *(a.format(good=good, folder=tmp_path) for a in arguments)]) == 2
    assert message in capsys.readouterr().err
