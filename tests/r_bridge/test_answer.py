"""What a verb returns, says and fails with comes back as values."""

import logging
import os
import signal
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest

import omicvae as ov
from omicvae.r_bridge import Cells, answer
from omicvae.r_bridge import verbs as verbs_module
from omicvae.r_bridge.answer import own_interrupts

SETTINGS = {"n_latent": 3.0, "seed": 1.0, "max_epochs": 3.0, "likelihood": "auto"}


def sent(adata):
    """Return cells as R sends them."""
    cells = Cells(list(adata.var_names), list(adata.obs_names))
    cells.add_dense(bytearray(adata.X.toarray().astype(float)), "double")
    codes = adata.obs["batch"].cat.codes.to_numpy().astype(np.int32)
    cells.add_column(
        "batch", {"kind": "text", "data": bytearray(codes), "levels": list(adata.obs["batch"].cat.categories)}
    )
    return cells


def fitted(adata, **settings):
    return answer("fit", None, cells=sent(adata), setup={"batch_key": "batch"}, settings={**SETTINGS, **settings})


def is_plain(value):
    """Whether reticulate turns it into R's own: the model aside."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_plain(part) for key, part in value.items())
    if isinstance(value, list):
        return all(map(is_plain, value))
    return value is None or type(value) in (bool, int, float, str, bytearray, ov.CVAE)


def test_the_latent_is_that_of_the_same_call_in_python(counts):
    found = fitted(counts)["value"]
    ov.CVAE.setup_anndata(counts, batch_key="batch")
    model = ov.CVAE(counts, n_latent=3, seed=1)
    model.train(3, progress_bar=False)
    latent_NK = model.get_latent_representation()
    assert bytes(found["latent"]["data"]) == latent_NK.T.tobytes()
    assert found["latent"]["dim"] == [120, 3]


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("latent", {"give": "sd"}),
        ("diagnose", {"umap": False}),
        ("train_further", {"settings": {"max_epochs": 2}}),
        ("rescue", {"max_attempts": 1}),
        ("counterfactual", {"to": {"batch": "b2"}, "layers": ["lower"]}),
        ("effects", {"groupby": "batch"}),
        ("expression", {"gene_list": ["gene3"]}),
        ("generate", {"n": 3}),
        ("stability", {"seeds": 2}),
    ],
)
def test_what_comes_back_is_plain(counts, verb, arguments):
    model = fitted(counts)["value"]["model"]
    found = answer(verb, None, model=model, **arguments)
    assert set(found) == {"value", "warnings"}, found
    assert is_plain(found["value"])


def test_a_comparison_is_plain(counts):
    model = fitted(counts)["value"]["model"]
    found = answer("compare", None, runs={"a": model, "b": model})
    assert "value" in found, found
    assert is_plain(found["value"])
    assert found["value"]["table"]["row_names"] == ["a", "b"]


def test_data_come_back_plain():
    assert is_plain(answer("dataset", None, name="simulate_counts", n_cells=5.0, n_genes=4.0)["value"])


def test_going_on_leaves_the_model_that_r_holds(counts):
    model = fitted(counts)["value"]["model"]
    before = model.get_latent_representation().tobytes()
    further = answer("train_further", None, model=model, settings={"max_epochs": 2})["value"]["model"]
    assert (len(model.history), len(further.history)) == (3, 5)
    assert model.get_latent_representation().tobytes() == before
    assert further.get_latent_representation().tobytes() != before


def test_errors_come_back_in_r_s_words(counts):
    found = fitted(counts, n_latnt=3)
    assert found["kind"] == "SettingError"
    assert "For n_latnt write n_latent" in found["error"]
    assert "trace" not in found


def test_errors_that_nobody_meant_have_a_trace(monkeypatch):
    def broken():
        raise ZeroDivisionError("by zero")

    monkeypatch.setitem(verbs_module.VERBS, "broken", broken)
    found = answer("broken")
    assert (found["kind"], found["error"]) == ("Exception", "ZeroDivisionError: by zero")
    assert "in broken" in found["trace"]


def test_warnings_come_back_and_progress_is_told(monkeypatch):
    def speaks():
        logging.getLogger("omicvae").info("epoch 001")
        logging.getLogger("omicvae").warning("adata.X is odd")
        warnings.warn("of another library", DeprecationWarning, stacklevel=1)

    monkeypatch.setitem(verbs_module.VERBS, "speaks", speaks)
    told = []
    assert answer("speaks", told.append)["warnings"] == ["x is odd"]
    assert told == ["epoch 001"]
    assert answer("speaks")["warnings"] == ["x is odd"]


def test_the_logger_is_left_as_it_was():
    logger = logging.getLogger("omicvae")
    before = (logger.level, logger.propagate, list(logger.handlers))
    answer("dataset", print, name="simulate_counts", n_cells=5)
    assert (logger.level, logger.propagate, list(logger.handlers)) == before


def test_an_interrupt_is_an_answer(monkeypatch):
    monkeypatch.setitem(verbs_module.VERBS, "waits", lambda: os.kill(os.getpid(), signal.SIGINT))
    assert answer("waits")["kind"] == "KeyboardInterrupt"


def test_the_handler_of_interrupts_is_put_back():
    def own(number, frame):
        pass

    before = signal.signal(signal.SIGINT, own)
    try:
        with own_interrupts():
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert signal.getsignal(signal.SIGINT) is own
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_leave_signals_alone():
    seen = []

    def work():
        with own_interrupts():
            seen.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


@pytest.mark.skipif(not hasattr(os, "RTLD_DEEPBIND"), reason="no RTLD_DEEPBIND here")
def test_torch_is_loaded_with_its_own_symbols_and_nothing_after_it():
    program = (
        "import sys, os; flags = []; put = sys.setdlopenflags\n"
        "sys.setdlopenflags = lambda f: (flags.append(f), put(f))\n"
        "before = sys.getdlopenflags()\n"
        "from omicvae.r_bridge.libraries import load_torch; load_torch()\n"
        "print(flags == [os.RTLD_NOW | os.RTLD_DEEPBIND, before], 'torch' in sys.modules)\n"
        "print(sys.getdlopenflags() == before)"
    )
    # the module alone: the package has loaded it already
    program = program.replace("from omicvae.r_bridge.libraries import load_torch", "exec(open(sys.argv[1]).read())")
    path = os.path.join(os.path.dirname(ov.__file__), "r_bridge", "libraries.py")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, path], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True"] * 3
