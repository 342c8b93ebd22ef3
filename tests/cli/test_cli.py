import json
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from omicvae.cli import VERBS, build_parser, main
from omicvae.cli.remedies import print_diagnosis
from omicvae.cli.train import setting
from omicvae.diagnostics import Remedy


def run_fresh(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "omicvae.cli", *arguments], capture_output=True, text=True, check=False
    )


def test_help_lists_the_verbs():
    result = run_fresh("--help")
    assert result.returncode == 0
    for verb in VERBS:
        assert verb in result.stdout


def test_help_loads_nothing_heavy():
    program = (
        "import sys\nfrom omicvae.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'scanpy', 'anndata', 'numpy', 'scvi', 'lightning', 'matplotlib', 'rich'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb, capsys):
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    assert stop.value.code == 0
    assert f"omicvae {verb}" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["train", "bench"])
def test_help_lists_the_likelihoods_of_the_table(verb, capsys):
    from omicvae.likelihoods import LIKELIHOODS

    with pytest.raises(SystemExit):
        main([verb, "--help"])
    printed = " ".join(capsys.readouterr().out.split())
    (listed,) = re.findall(r"--likelihood NAME .*? of ([a-z_, ]+?) --", printed)
    assert sorted(listed.split(", ")) == sorted(LIKELIHOODS)


@pytest.mark.parametrize("arguments", [["trian"], [], ["train"], ["datasets", "pbmc3k"]])
def test_what_cannot_be_read_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: omicvae" in capsys.readouterr().err


@pytest.fixture
def bad_h5ad(tmp_path):
    path = tmp_path / "bad.h5ad"
    path.write_text("these are no cells")
    return path


def test_a_damaged_file_is_one_clear_message(bad_h5ad, tmp_path):
    result = run_fresh("train", str(bad_h5ad), "--out", str(tmp_path / "o.h5ad"), "--model", str(tmp_path / "m"))
    assert result.returncode == 2
    assert "cannot be read as an h5ad file" in result.stderr
    assert str(bad_h5ad) in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "o.h5ad").exists()


def test_a_missing_file_is_named(tmp_path, capsys):
    missing = tmp_path / "missing.h5ad"
    assert main(["embed", str(tmp_path / "model"), str(missing), "--out", str(tmp_path / "o.h5ad")]) == 2
    assert capsys.readouterr().err == f"omicvae: error: There is no file {str(missing)!r}.\n"


def test_errors_that_are_not_ours_are_not_hidden(monkeypatch):
    def fail(_):
        raise ZeroDivisionError

    monkeypatch.setattr(VERBS["datasets"], "run", fail)
    with pytest.raises(ZeroDivisionError):
        main(["datasets"])


def test_ctrl_c_is_no_traceback(monkeypatch, capsys):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(VERBS["datasets"], "run", interrupt)
    assert main(["datasets"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_datasets_lists_all_of_them(capsys):
    from omicvae import datasets

    assert main(["datasets"]) == 0
    listed = {line.split()[0] for line in capsys.readouterr().out.splitlines()}
    assert listed == set(datasets.__all__)


def test_datasets_writes_one(tmp_path):
    import anndata

    path = tmp_path / "new" / "cells.h5ad"
    assert main(["datasets", "simulate_counts", "--out", str(path), "--seed", "3"]) == 0
    assert anndata.read_h5ad(path).uns["simulation"]["seed"] == 3
    assert [file.name for file in path.parent.iterdir()] == ["cells.h5ad"]


def test_a_failed_write_leaves_the_old_file(tmp_path, capsys, monkeypatch):
    from anndata import AnnData

    path = tmp_path / "cells.h5ad"
    path.write_text("precious")

    def full_disk(self, name):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(AnnData, "write_h5ad", full_disk)
    assert main(["datasets", "simulate_counts", "--out", str(path)]) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert path.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [path]


def test_objective_values_keep_their_types():
    fields = ["beta=2", "warmup=0.5", "reduction=mean", "free_bits=null"]
    assert dict(map(setting, fields)) == {"beta": 2, "warmup": 0.5, "reduction": "mean", "free_bits": None}
    words = ["early_stopping=False", "encode_covariates=True", "free_bits=None"]
    assert list(dict(map(setting, words)).values()) == [False, True, None]


def test_an_objective_without_value_is_explained(tmp_path, capsys):
    arguments = ["--out", str(tmp_path / "o"), "--model", str(tmp_path / "m"), "--objective", "beta"]
    with pytest.raises(SystemExit) as stop:
        main(["train", str(tmp_path / "x.h5ad"), *arguments])
    assert stop.value.code == 2
    assert "argument --objective: takes NAME=VALUE, such as beta=2, got 'beta'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["train", str(tmp_path / "x.h5ad"), *arguments[:-2], "--network", "adata=3"])
    assert "argument --network: takes settings, and adata is none" in capsys.readouterr().err


LOG = """epoch 1 | train loss=1.5 recon=0.9 kl=1.0
epoch 50 | train loss=0.75 recon=0.74 kl=0.0164
epoch 100 | train loss=0.72 recon=0.72 kl=0.0000
"""


def test_diagnose_reads_a_log(tmp_path, capsys):
    log, report = tmp_path / "run.log", tmp_path / "out" / "verdict.json"
    log.write_text(LOG)
    assert main(["diagnose", str(log), "--json", str(report)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Verdict: collapsed\n")
    assert f"Written: {report}" in printed
    record = json.loads(report.read_text())
    assert record["verdict"] == "collapsed"
    assert record["history"]["kl_train"] == [1.0, 0.0164, 0.0]
    assert record["cannot_tell"]


def test_diagnose_takes_the_weight_that_a_log_leaves_out(tmp_path, capsys):
    log = tmp_path / "run.csv"
    log.write_text("epoch,rec_loss,kl_loss\n" + "".join(f"{n},{1 / n},{n * 17e3}\n" for n in range(1, 9)))
    for arguments, verdict in (([], "undecided"), (["--kl-weight", "1e-6"], "under_regularised")):
        assert main(["diagnose", str(log), *arguments]) == 0
        assert capsys.readouterr().out.startswith(f"Verdict: {verdict}\n")


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        (None, [], "There is no file"),
        ("dear diary\n", [], "It begins:\n  dear diary\nThese forms are read:"),
        (LOG, ["--labels-key", "type"], "--labels-key is for MODEL DATA"),
        (LOG, ["cells.h5ad", "--kl-weight", "1"], "--kl-weight is for a LOG"),
        (LOG, ["--kl-weight", "-1"], "kl_weight must be at least 0"),
    ],
)
def test_logs_that_cannot_be_judged_are_explained(text, arguments, message, tmp_path, capsys):
    log = tmp_path / "run.log"
    if text is not None:
        log.write_text(text)
    assert main(["diagnose", str(log), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_model_without_its_cells_is_explained(tmp_path, capsys):
    (tmp_path / "model.json").write_text("{}")
    assert main(["diagnose", str(tmp_path)]) == 2
    assert "is a saved model: name the file of its cells as well" in capsys.readouterr().err


@pytest.mark.slow
def test_train_embed_diagnose(tmp_path, capsys):
    import anndata

    cells, latents, model = tmp_path / "cells.h5ad", tmp_path / "latents.h5ad", tmp_path / "model"
    assert main(["datasets", "simulate_counts", "--out", str(cells)]) == 0
    arguments = ["--batch-key", "batch", "--labels-key", "cell_type", "--n-latent", "4", "--max-epochs", "30"]
    assert main(["train", str(cells), "--out", str(latents), "--model", str(model), *arguments]) == 0
    assert "verdict" in capsys.readouterr().out.lower()
    trained = anndata.read_h5ad(latents)
    assert trained.obsm["X_omicvae"].shape == trained.obsm["X_omicvae_sd"].shape == (500, 4)

    again = tmp_path / "again.h5ad"
    assert main(["embed", str(model), str(cells), "--out", str(again), "--key", "X_new"]) == 0
    np.testing.assert_allclose(anndata.read_h5ad(again).obsm["X_new"], trained.obsm["X_omicvae"], rtol=1e-4, atol=1e-5)

    report = tmp_path / "diagnosis.json"
    capsys.readouterr()
    assert main(["diagnose", str(model), str(cells), "--labels-key", "cell_type", "--json", str(report)]) == 0
    record = json.loads(report.read_text())
    assert record["verdict"] in capsys.readouterr().out
    assert {"check", "value", "threshold", "passed", "meaning"} <= set(record["evidence"][0])

    page = tmp_path / "new" / "report.html"
    arguments = ["--out", str(page), "--labels-key", "cell_type", "--no-umap", "--seed", "3"]
    assert main(["report", str(model), str(cells), *arguments]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Verdict: ")
    assert printed.endswith(f"Report: {page}\n")
    assert "probe of cell_type, draw" in page.read_text(encoding="utf-8")

    # a model that is there already is not replaced by accident
    assert main(["train", str(cells), "--out", str(latents), "--model", str(model), "--max-epochs", "2"]) == 2


@pytest.mark.slow
def test_demo_tells_the_collapsed_fit_from_the_healthy_one(tmp_path):
    import anndata

    # a process of its own, as a newcomer runs it
    result = run_fresh("demo", "--quick", "--out", str(tmp_path / "demo"))
    assert result.returncode == 0, result.stderr
    summary = json.loads((tmp_path / "demo" / "summary.json").read_text())
    fits = summary["fits"]
    assert fits["pbmc_mean_mean"]["verdict"] == "collapsed"
    assert fits["pbmc_defaults"]["verdict"] == "healthy"
    assert fits["bulk_gaussian"]["correlation_with_truth"]["batch_effect"] > 0.9
    for word in ("collapsed", "healthy", "model.train(", "summary.json"):
        assert word in result.stdout

    adata = anndata.read_h5ad(tmp_path / "demo" / "pbmc.h5ad")
    assert adata.obsm["X_omicvae"].shape == adata.obsm["X_omicvae_sd"].shape == (700, 10)
    assert adata.obsm["X_omicvae_umap"].shape == (700, 2)
    assert adata.obsm["X_omicvae_collapsed"].shape == (700, 32)
    pictures = {path.name for path in (tmp_path / "demo").glob("*.png")}
    assert {f"{name}_loss.png" for name in fits} < pictures
    assert {"kl_per_dimension.png", "pbmc_umap_bulk_labels.png", "pbmc_umap_phase.png"} < pictures
    # what it says is written is there
    for line in result.stdout.splitlines():
        if line.startswith("  /"):
            assert Path(line.strip()).is_file()


def test_train_rescues(tmp_path, capsys):
    from omicvae import datasets

    path, out = tmp_path / "cells.h5ad", tmp_path / "latents.h5ad"
    datasets.simulate_counts(300, 80, seed=1).write_h5ad(path)
    keys = ["--batch-key", "batch", "--labels-key", "cell_type"]
    dear = ["--max-epochs", "10", "--objective", "beta=1000", "--rescue"]
    assert main(["train", str(path), "--out", str(out), "--model", str(tmp_path / "model"), *keys, *dear]) == 0
    assert capsys.readouterr().out.startswith("Verdict: healthy")


@pytest.mark.parametrize("arguments", [["--help"], ["diagnose", "log.csv"]])
@pytest.mark.parametrize("buffered", [True, False])
def test_a_reader_that_has_gone_is_no_error(tmp_path, arguments, buffered):
    rows = "\n".join(f"{epoch},{100 - epoch},{101 - epoch},5" for epoch in range(30))
    (tmp_path / "log.csv").write_text("epoch,train_loss,val_loss,kl\n" + rows)
    options = [] if buffered else ["-u"]
    command = [sys.executable, *options, "-m", "omicvae.cli", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        # argparse itself overlooks that its help is not read
        assert process.wait() in ((0, 141) if arguments == ["--help"] else (141,))


def test_remedies_are_commands_that_run_as_they_stand(tmp_path, capsys):
    import omicvae as ov

    adata = ov.datasets.simulate_counts(120, 30, n_types=3, n_batches=2, seed=0)
    adata.write_h5ad(tmp_path / "my data.h5ad")
    files = [str(tmp_path / "my data.h5ad"), "--out", str(tmp_path / "out.h5ad"), "--model", str(tmp_path / "model")]
    network = [
        "--batch-key",
        "batch",
        "--likelihood",
        "zinb",
        "--n-latent",
        "3",
        "--network",
        "n_hidden=16",
        "prior=vamp",
    ]
    goal = ["--objective", "beta=4", 'adversary={"covariates":["batch"]}', "--training", "batch_size=32"]
    assert main(["train", *files, *network, *goal, "--max-epochs", "2"]) == 0
    printed = capsys.readouterr().out
    assert "model.train(" not in printed
    commands = [found.replace("\\\n", "") for found in re.findall(r"omicvae (train (?:.* \\\n)*.*)", printed)]
    assert len(commands) > 2
    onward = next(command for command in commands if "--go-on" in command)
    anew = next(command for command in commands if "learning_rate" in command)
    for command, beta, epochs in ((onward, 4, 22), (anew, 4, None)):
        words = shlex.split(command)
        assert main(words if epochs else [*words, "--max-epochs", "2"]) == 0
        model = ov.CVAE.load(words[words.index("--model") + 1], adata=adata)
        assert model.config.prior == "vamp"
        assert model.config.likelihood == "zinb"
        assert model.config.architecture.n_latent == 3
        assert model.schema.keys.batch_key == "batch"
        assert model.objective["beta"] == beta
        assert model.objective["adversary"]["covariates"] == ["batch"]
        assert len(model.history) == (epochs or 2)
    new = ["--batch-key", "batch", "--n-latent", "7", "--likelihood", "nb", "--seed", "0"]
    assert main([*shlex.split(onward), *new]) == 2
    idle = "leave out batch_key, likelihood, n_latent, seed"
    assert f"--go-on trains the model as it is: {idle}" in capsys.readouterr().err


def test_the_seeds_of_a_model_and_of_its_run_and_each_its_folder(capsys):
    import omicvae as ov

    adata = ov.datasets.simulate_counts(60, 20, seed=0)
    ov.CVAE.setup_anndata(adata, batch_key="batch", round_counts=True)
    model = ov.CVAE(adata, "nb", 3, n_hidden=16, seed=1)
    model.train(2, seed=2, early_stopping=False, progress_bar=False, accelerator="cpu")
    diagnosis = model.diagnose(umap=False)
    anew = tuple(Remedy({"beta": beta}, "why", {"seed": 2}, {"likelihood": "nb", "seed": 1}) for beta in (1.0, 2.0))
    print_diagnosis(replace(diagnosis, remedies=anew), model)
    printed = capsys.readouterr().out.replace("\\\n", "")
    commands = [shlex.split(found) for found in re.findall(r"omicvae (train .*)", printed)]
    folders = [words[words.index("--model") + 1] for words in commands]
    assert folders == ["MODEL_remedy_1", "MODEL_remedy_2"]
    for words in commands:
        assert "--round-counts" in words
        options = build_parser().parse_args(words)
        assert dict(options.network) == {"likelihood": "nb", "seed": 1}
        assert dict(options.training) == {"seed": 2}


def test_remedies_for_a_log_are_commands_too(tmp_path, capsys):
    (tmp_path / "log.csv").write_text("epoch,loss,kl\n1,100,5\n2,90,4\n3,80,3\n4,70,2\n")
    assert main(["diagnose", str(tmp_path / "log.csv")]) == 0
    assert "omicvae train DATA --out OUT --model MODEL --training max_epochs=20" in capsys.readouterr().out
