"""What was not given is not judged, and the verdict says so."""

from dataclasses import replace

import numpy as np
import pytest

from omicvae.diagnostics import DiagnosisInputs, diagnose

WITHOUT_USE = {"nll_permuted_W": None}
WITHOUT_NULL = {"null_nll_W": None, "train_null_nll_T": None, "train_elbo_T": None}
WITHOUT_NLL = {"nll_W": None, "nll_permuted_W": None, "tempered_SW": {}, **WITHOUT_NULL}


def rows(diagnosis):
    return diagnosis.evidence.set_index("check")


def test_without_a_null_model_use_still_tells_alive_from_dead(sim):
    alive = diagnose(replace(sim.healthy(), **WITHOUT_NULL), umap=False)
    assert alive.verdict == "healthy"
    assert "Not judged: what z buys over a decoder without it." in alive.headline
    row = rows(alive).loc["gain over null"]
    assert row["passed"] is None
    assert np.isnan(row["value"])
    assert row["meaning"].startswith("not measured")
    dead = diagnose(replace(sim.collapsed(), **WITHOUT_NULL), umap=False)
    assert dead.verdict == "collapsed"
    assert "nan" not in dead.headline


def test_without_use_the_gain_tells(sim):
    alive = diagnose(replace(sim.healthy(), **WITHOUT_USE), umap=False)
    assert alive.verdict == "healthy"
    assert "whether the decoder uses z" in alive.headline
    assert rows(alive).loc["decoder use", "passed"] is None
    assert diagnose(replace(sim.collapsed(), **WITHOUT_USE), umap=False).verdict == "collapsed"


def test_a_rate_alone_acquits_nobody_and_convicts_the_silent(sim):
    alive = diagnose(replace(sim.healthy(), **WITHOUT_NLL), umap=False)
    assert alive.verdict == "undecided"
    assert not alive.sound
    assert alive.tone == "warning"
    assert "whether the decoder uses z and what z buys" in alive.headline
    dead = diagnose(replace(sim.collapsed(), **WITHOUT_NLL), umap=False)
    assert dead.verdict == "collapsed"
    assert "nan" not in dead.headline
    assert "permuted" not in dead.headline


@pytest.mark.parametrize("name", ["healthy", "partial", "faint", "collapsed", "noise", "far_from_the_prior"])
@pytest.mark.parametrize(
    "without", [WITHOUT_USE, WITHOUT_NULL, WITHOUT_NLL, {"reference_NK": None}, {"labels_N": None}]
)
def test_nothing_prints_nan_and_less_evidence_never_acquits(sim, name, without):
    whole, part = getattr(sim, name)(), replace(getattr(sim, name)(), **without)
    diagnosis = diagnose(part, umap=False)
    assert "nan" not in str(diagnosis)  # "NaN" is a word of the text
    if diagnose(whole, umap=False).verdict == "collapsed":
        assert diagnosis.verdict in ("collapsed", "partial_collapse", "undecided")


def test_without_pca_probes_are_shown_and_not_judged(sim):
    diagnosis = diagnose(replace(sim.healthy(), reference_NK=None))
    table = rows(diagnosis)
    assert table.loc["probe of cell_type, draw", "passed"] is None
    assert table.loc["probe of cell_type, share of PCA kept", "meaning"] == "not measured: no PCA of the data"
    assert not [name for name in table.index if "PCA" in name and "kept" not in name]
    assert "without a PCA of the data to compare with" in str(diagnosis)


def test_the_least_inputs(sim):
    inputs = sim.healthy()
    least = DiagnosisInputs(inputs.mean_NK, inputs.sd_NK, inputs.draw_NK, inputs.kl_WK)
    diagnosis = diagnose(least)
    assert diagnosis.verdict == "undecided"
    assert "there is no training history" in str(diagnosis)


def test_a_bound_that_still_rises_is_seen_without_a_null_model(sim):
    """Then by what training has won: 16 nats in the next quarter are a good part of 110."""
    curves = sim.history(end=500, start=700, pace=0.02, epochs=40).assign(lr=1e-2)
    rising = diagnose(replace(sim.healthy(), history=curves, **WITHOUT_NULL), umap=False)
    assert rising.verdict == "undertrained"
    assert rows(rising).loc["still improving", "passed"] is False
    assert rows(diagnose(replace(sim.healthy(), **WITHOUT_NULL), umap=False)).loc["still improving", "passed"]
