"""An evidence file gives back what was written, number for number, and refuses what it cannot understand."""

import json
from contextlib import suppress
from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file

from omicvae._core.errors import DataError, SavingError
from omicvae.diagnostics import DiagnosisInputs, Structure, diagnose, read_evidence, write_evidence
from omicvae.diagnostics.evidence_file import LEVELS, NUMBERS, PLAIN


@pytest.fixture
def full(sim):
    """Every field of the inputs filled."""
    inputs = sim.healthy()
    n, k, w = *inputs.mean_NK.shape, len(inputs.kl_WK)
    rng = np.random.default_rng(3)
    return replace(
        inputs,
        mean_NK=inputs.mean_NK.astype(np.float32),
        train_elbo_T=rng.normal(size=20),
        train_null_nll_T=rng.normal(size=20),
        covariates={"batch/day": np.array(["é", "b"], dtype=object)[np.arange(n) % 2]},
        fallback_groups_N=np.arange(n) % 3,
        prior_mean_NK=np.zeros((n, k)),
        prior_sd_NK=np.ones((n, k)),
        gaussian_prior=False,
        tempered_SW={1 / 256: rng.normal(size=w), 2.0: rng.normal(size=w)},
        structure=Structure(3, 0.1, 0.01, 0.001, 5, n, 12),
        schedule_settled_epoch=12.5,
        earlier_epochs=2,
        judged_W=np.arange(w),
        cell_names_N=np.array([f"cell {i}" for i in range(n)], dtype=object),
        origin="scvi-tools SCVI",
        base_measure="counts of 765 features",
        seed=7,
        labels_N=np.where(np.arange(n) % 5 == 0, None, inputs.labels_N),
    )


def same(first, second):
    if isinstance(first, pd.DataFrame):
        pd.testing.assert_frame_equal(first, second, check_dtype=False)
    elif isinstance(first, dict):
        assert first.keys() == second.keys()
        for key, value in first.items():
            same(value, second[key])
    elif isinstance(first, np.ndarray):
        assert first.dtype == second.dtype or first.dtype == np.int64
        np.testing.assert_array_equal(first, second)
    else:
        assert first == second


def test_every_field_comes_back(full, tmp_path):
    assert all(getattr(full, field.name) is not None for field in fields(full))
    back = read_evidence(write_evidence(full, tmp_path / "run.safetensors"))
    for field in fields(DiagnosisInputs):
        same(getattr(full, field.name), getattr(back, field.name))


def test_no_field_is_forgotten():
    known = {*NUMBERS, *LEVELS, *PLAIN, "covariates", "tempered_SW", "structure", "history"}
    assert {field.name for field in fields(DiagnosisInputs)} == known


def test_the_verdict_is_the_same(full, tmp_path):
    back = read_evidence(write_evidence(full, tmp_path / "run.safetensors"))
    first, second = diagnose(full, umap=False), diagnose(back, umap=False)
    pd.testing.assert_frame_equal(first.evidence, second.evidence)
    assert str(first) == str(second)


def test_the_least_that_a_file_may_hold(sim, tmp_path):
    inputs = sim.healthy()
    least = DiagnosisInputs(inputs.mean_NK, inputs.sd_NK, inputs.draw_NK, inputs.kl_WK)
    assert diagnose(read_evidence(write_evidence(least, tmp_path / "least")), umap=False).verdict == "undecided"


def test_a_file_by_hand_needs_arrays_and_levels_alone(sim, tmp_path):
    """What a program in another language writes after the table of docs/evidence.md."""
    inputs, path = sim.healthy(), tmp_path / "hand.safetensors"
    arrays = {name: getattr(inputs, name) for name in (*NUMBERS, "labels_N") if getattr(inputs, name) is not None}
    codes_N, names = pd.factorize(arrays["labels_N"])
    arrays["labels_N"] = codes_N.astype(np.uint8)
    arrays |= {"history/recon_train": np.linspace(9.0, 5.0, 20), "history/kl_train": np.linspace(0.0, 3.0, 20)}
    metadata = {"format": "omicvae-evidence", "schema_version": "1"}

    def written(document, **changes):
        changed = {name: values for name, values in (arrays | changes).items() if values is not None}
        save_file(changed, path, metadata | {"evidence": json.dumps(document)})
        return path

    levels = {"levels": {"labels_N": names.tolist()}}
    read = read_evidence(written(levels))
    assert (read.history.index.tolist(), read.origin) == (list(range(1, 21)), "omicvae")
    assert list(read.history.columns) == ["kl_train", "recon_train"]
    assert diagnose(read, umap=False).verdict == "healthy"
    with pytest.raises(DataError, match="labels_N needs both codes among the arrays and their levels"):
        read_evidence(written({}))
    with pytest.raises(DataError, match="there is no kl_WK, without which nothing can be judged"):
        read_evidence(written(levels, kl_WK=None))
    with pytest.raises(DataError, match=r"labels_N needs one whole number a cell, from -1 to 0 for 1 levels"):
        read_evidence(written({"levels": {"labels_N": ["a"]}}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tempered_SW": {0.5: np.zeros(5)}}, r"tempered_SW\[0.5\] must have shape \(\d+,\), got \(5,\)"),
        ({"train_null_nll_T": np.zeros(19)}, r"train_null_nll_T must have shape \(20,\), got \(19,\)"),
        ({"judged_W": "floats"}, r"judged_W must be row numbers below \d+, got float64"),
        ({"judged_W": "beyond"}, r"judged_W must be row numbers below \d+, got int64 up to"),
        ({"sd_NK": "negative"}, "sd_NK must not be negative.*no log variance"),
        ({"prior_sd_NK": "negative"}, "prior_sd_NK must not be negative"),
    ],
)
def test_arrays_that_do_not_fit_each_other_are_refused(full, changes, message):
    strange = {"floats": full.judged_W * 1.0, "beyond": full.judged_W + len(full.mean_NK), "negative": -full.sd_NK}
    with pytest.raises(DataError, match=message):
        replace(full, **{name: strange[v] if isinstance(v, str) else v for name, v in changes.items()})


def test_strange_levels_are_refused_when_writing(full, tmp_path):
    odd = replace(full, labels_N=np.array([("a", 1)] * len(full.mean_NK) + [None], dtype=object)[:-1])
    with pytest.raises(SavingError, match=r"labels_N has the level \('a', 1\)"):
        write_evidence(odd, tmp_path / "odd")


def rewritten(path, **changes):
    """Change the JSON document of a file."""
    with safe_open(path, "numpy") as file:
        metadata, arrays = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    document = json.loads(metadata["evidence"]) | changes
    save_file(arrays, path, metadata | {"evidence": json.dumps(document)})


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": "seven"},
        {"labels_conditioned": None},
        {"levels": {"labels_N": ["a"]}},
        {"levels": {"nowhere": ["a"]}},
        {"levels": 3},
        {"structure": {"share": 1.0}},
        {"structure": {**dict.fromkeys(Structure.__dataclass_fields__, "x")}},
        {"history": {"columns": ["nowhere"], "index": [1]}},
        {"history": {"columns": ["kl_train"], "index": [1]}},
    ],
)
def test_a_document_that_does_not_fit_is_explained(full, tmp_path, changes):
    path = write_evidence(full, tmp_path / "run.safetensors")
    rewritten(path, **changes)
    with pytest.raises(DataError, match="does not fit together"):
        read_evidence(path)


def test_other_files_are_told_apart(full, tmp_path):
    with pytest.raises(DataError, match="no file"):
        read_evidence(tmp_path / "missing")
    plain = tmp_path / "plain.safetensors"
    save_file({"a": np.zeros(2)}, plain)
    with pytest.raises(DataError, match="do not say format"):
        read_evidence(plain)
    path = write_evidence(full, tmp_path / "run.safetensors")
    with safe_open(path, "numpy") as file:
        metadata = file.metadata()
    save_file({"a": np.zeros(2)}, path, metadata | {"schema_version": "2"})
    with pytest.raises(DataError, match="schema_version '2'; this omicvae reads 1"):
        read_evidence(path)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255), cut=st.booleans())
def test_damaged_files_raise_our_error_alone(sim, tmp_path, position, byte, cut):
    inputs = sim.healthy()
    small = DiagnosisInputs(
        inputs.mean_NK[:30], inputs.sd_NK[:30], inputs.draw_NK[:30], inputs.kl_WK[:5], labels_N=inputs.labels_N[:30]
    )
    path = write_evidence(small, tmp_path / "run.safetensors")
    content = bytearray(path.read_bytes())
    at = int(position * len(content))
    if cut:
        del content[at:]
    else:
        content[at] = byte
    path.write_bytes(content)
    with suppress(DataError):  # no other error may come out
        assert isinstance(read_evidence(path), DiagnosisInputs)
