"""The page from parts that need no fit: whatever a diagnosis holds is shown, safely, in a file of its own."""

import re
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from omicvae.diagnostics import Diagnosis, Remedy
from omicvae.objective import Objective
from omicvae.report import CellMaps, ModelFacts, render
from omicvae.report.page import number

from .pages import assert_sound, text_of

EVIL = "<b>T & B</b> $x$ \"'"


def diagnosis(**changes):
    evidence = pd.DataFrame(
        [
            ("rate (KL)", 0.001, "≥ 0.69", False, "nats"),
            ("decoder use", 1234.5, "≥ 1.39", True, f"of {EVIL}"),
            ("a check of tomorrow", np.nan, "", None, "shown, not judged"),
        ],
        columns=["check", "value", "threshold", "passed", "meaning"],
    ).astype({"passed": object})
    probes = pd.DataFrame(
        {
            "representation": ["posterior draw", "PCA"],
            "classifier": "logistic",
            "balanced_accuracy": [0.2, 0.9],
            "chance": 0.1,
            "permuted_low": 0.05,
            "permuted_high": 0.15,
            "labels": EVIL,
        }
    )
    parts = {
        "verdict": "no_signal",
        "headline": f"Nothing to find in {EVIL}.",
        "findings": ("under_regularised",),
        "remarks": ("a remark.",),
        "evidence": evidence,
        "remedies": (Remedy({"beta": 1.0}, f"Because of {EVIL}.", {"max_epochs": 50}),),
        "sound": True,
        "tone": "warning",
        "kl_per_dimension": np.array([1.0, 0.001]),
        "active_dimensions": np.array([True, False]),
        "probes": probes,
        "umap": pd.DataFrame(),
        "inputs": None,
    }
    return Diagnosis(**{**parts, **changes})


def history(n_epochs=20, **changes):
    epochs = np.arange(1, n_epochs + 1)
    columns = {
        f"{name}_{part}": 100 + 50 / epochs for name in ("loss", "recon", "kl") for part in ("train", "validation")
    }
    columns |= {"elbo_validation": -200 - 100 / epochs, "kl_weight": np.minimum(1, epochs / 5)}
    return pd.DataFrame({**columns, **changes}, index=pd.RangeIndex(1, n_epochs + 1, name="epoch"))


@pytest.fixture
def facts():
    return ModelFacts(
        n_cells=12345,
        n_genes=2000,
        n_train=11111,
        n_validation=1234,
        categorical=(("lab", 3), (EVIL, 1)),
        setup={
            "layer": "raw",
            "batch_key": "lab",
            "labels_key": EVIL,
            "continuous_covariate_keys": ["age"],
            "size_factor_key": None,
        },
        model={
            "likelihood": "nb",
            "dispersion": "gene",
            "prior": "standard",
            "seed": 7,
            "architecture": {
                "n_latent": 10,
                "n_hidden": 128,
                "n_layers": 2,
                "activation": "relu",
                "normalization": "batch",
            },
        },
        objective=Objective(beta=0.5, adversary={}).to_dict(),
        n_epochs=20,
        planned_epochs=60,
        best_epoch=18,
        ending="stopped early",
        constant_genes=tuple(f"<g{i}>{{}}" for i in range(7)),
    )


def maps(n_cells=40, labels=None):
    rng = np.random.default_rng(0)
    return CellMaps.of(
        {name: rng.normal(size=(n_cells, 3)).astype(np.float32) for name in ("one posterior draw", "means", "PCA")},
        labels=pd.Series([EVIL, "other", None, "third"] * (n_cells // 4), name=EVIL) if labels is None else labels,
        labels_are_kmeans=False,
        covariate=pd.Series(np.arange(n_cells) % 20, name="lane"),
        seed=0,
    )


def test_everything_that_the_diagnosis_holds_is_shown(facts):
    page = render(diagnosis(), history(), facts, maps())
    assert_sound(page)
    text = text_of(page)
    for part in (
        "no signal",
        f"Nothing to find in {EVIL}.",
        "Also found: under regularised.",
        "A remark.",
        "1 of 2 judged checks passed; 1 are shown only.",
        "a check of tomorrow",
        "✗ failed",
        "✓ passed",
        "– shown",
        "1,234",
        f"Because of {EVIL}.",
        "model.train(max_epochs=50, objective={'beta': 1.0})",
        "12,345 cells × 2,000 genes, layer raw",
        f"lab (batch, 3 levels), {EVIL} (1 level), age (continuous)",
        "7 constant genes: <g0>{}, <g1>{}, <g2>{}, <g3>{}, <g4>{}, …",
        "2 hidden layers of 128, relu, normalization batch",
        "beta = 0.5, adversary (settings below)",
        "20 epochs, 60 planned, weights of epoch 18, stopped early",
        '"n_latent": 10',
        '"adversary": {',
        "All 40 cells, coloured by",
        "and 8 more",
    ):
        assert part in text, part


def test_text_of_users_is_never_markup(facts):
    page = render(diagnosis(), history(), facts, maps())
    assert EVIL not in page
    assert "<b>T" not in page
    assert "<g0>" not in page


def test_an_adversary_is_drawn_with_its_phases(facts):
    on = np.arange(1, 21) >= 8
    further = {
        "adversary_loss_train": np.where(on, 0.7, 0.0),
        "adversary_weight": np.where(on, 5.0, 0.0),
        "discriminator_loss_train": 0.0,
    }
    page = render(diagnosis(), history(**further), facts, None)
    assert_sound(page)
    assert "Off until epoch 8. Line: the adversary's own loss." in text_of(page)
    assert "Off during the whole run. Line: the discriminator's own loss." in text_of(page)


def test_what_steers_the_kl_is_explained(facts):
    assert "steered" not in render(diagnosis(), history(), facts, None)
    assert "dotted: where it is steered to" in render(diagnosis(), history(target_rate=5.0), facts, None)


def test_what_cannot_be_drawn_is_left_out(facts):
    empty = diagnosis(
        verdict="diverged",
        kl_per_dimension=np.full(3, np.nan),
        probes=pd.DataFrame(),
        remedies=(),
        findings=(),
        remarks=(),
    )
    page = render(empty, history().iloc[:0], facts, None)
    assert_sound(page)
    assert "<figure" not in page
    assert "What to try" not in page
    nothing_held_out = history(**{f"{name}_validation": np.nan for name in ("loss", "recon", "kl", "elbo")})
    page = render(empty, nothing_held_out, facts, None)
    assert_sound(page)
    assert page.count("<figure") == 5
    assert "cells held out" not in page
    assert_sound(render(empty, history(loss_train=np.inf), facts, None))


@pytest.mark.parametrize("tone", ["good", "warning", "bad"])
def test_a_verdict_is_shown_in_its_tone(facts, tone):
    assert f'class="verdict {tone}"' in render(diagnosis(tone=tone), history(), facts, None)


def test_the_same_parts_give_the_same_page_whatever_the_style_of_the_session(facts):
    first = render(diagnosis(), history(), facts, maps())
    with mpl.rc_context({"axes.facecolor": "black", "font.size": 30, "svg.fonttype": "none"}):
        assert render(diagnosis(), history(), facts, maps()) == first
        assert mpl.rcParams["font.size"] == 30


def test_maps_draw_some_of_many_cells_and_none_of_few(monkeypatch, facts):
    assert maps(8) is None
    monkeypatch.setattr("omicvae.report.maps.MAX_CELLS", 20)
    some = maps(40)
    assert {len(xy_M2) for xy_M2 in some.coordinates.values()} == {len(some.labels)} == {20}
    assert "20 of 40 cells" in text_of(render(diagnosis(), history(), facts, some))


def test_maps_of_what_is_not_finite_are_none():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("omicvae.report.maps.umap_coordinates", None)
        values = np.full((20, 2), np.nan, dtype=np.float32)
        labels = pd.Series(["a"] * 20)
        assert CellMaps.of({"draw": values}, labels=labels, labels_are_kmeans=False, covariate=None, seed=0) is None


def test_labels_keep_the_order_of_their_values():
    drawn = maps(40, pd.Series([10, 2, 2, 1] * 10, name="cluster"))
    assert list(drawn.labels.cat.categories) == ["1", "2", "10"]


def test_facts_leave_out_what_a_fit_does_not_have(facts):
    bare = replace(facts, categorical=(), setup={}, constant_genes=(), n_runs=2, objective=Objective().to_dict())
    lines = bare.lines()
    assert lines["Covariates"] == "none"
    assert lines["Objective"] == "the defaults"
    assert lines["Training"].startswith("20 epochs, 2 runs")
    assert not {"Labels", "Left out"} & set(lines)
    assert re.search(r"omicvae \d.*, torch \d.*, scvi-tools \d.*, Python 3", lines["Versions"])


@pytest.mark.parametrize(
    ("value", "text"), [(0.12345, "0.123"), (-1.5, "−1.5"), (123456.7, "123,457"), (np.nan, "–"), (None, "–"), (0, "0")]
)
def test_numbers_are_short(value, text):
    assert number(value) == text
