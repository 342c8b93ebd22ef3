"""Files of cells in the forms of other programs, tables either way round, and what the shell makes of them."""

import gzip
import io
import json
import re

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse as sp

from omicvae.cli import build_parser, main
from omicvae.cli.files import read_data
from omicvae.model.export import write_zarr

N, G = 12, 5
rng = np.random.default_rng(3)
COUNTS = pd.DataFrame(
    rng.poisson(4, (N, G)), index=[f"{i:04}" for i in range(101, 101 + N)], columns=["TP53", "ACTB", "é", "b 1", "MYC"]
)
SHEET = pd.DataFrame({"plate": ["a", "b"] * (N // 2), "age": np.arange(N) / 2}, index=COUNTS.index)


def read(*words) -> ad.AnnData:
    return read_data(build_parser().parse_args(["train", *map(str, words), "--out", "o.h5ad", "--model", "m"]))


def same(adata: ad.AnnData, prefix: str = "") -> None:
    assert adata.obs_names.tolist() == (prefix + COUNTS.index).tolist()
    assert adata.var_names.tolist() == COUNTS.columns.tolist()
    values = adata.X.toarray() if sp.issparse(adata.X) else adata.X
    np.testing.assert_array_equal(values, COUNTS.to_numpy())


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".txt", ".csv.gz", ".TSV"])
@pytest.mark.parametrize("side", ["columns", "rows"])
def test_tables_are_read_either_way_round(tmp_path, suffix, side):
    path, table = tmp_path / f"m{suffix}", COUNTS if side == "columns" else COUNTS.T
    separator = "," if "csv" in suffix else "\t"
    text = table.to_csv(sep=separator)
    if suffix == ".txt":  # as R's write.table has it: no name above the names
        text = text.removeprefix(separator)
    path.write_bytes(gzip.compress(text.encode()) if suffix.endswith("gz") else text.encode())
    same(read(path, "--genes-in", side))


@pytest.mark.parametrize("side", ["columns", "rows"])
def test_a_sheet_tells_where_the_samples_are_and_is_joined_by_name(tmp_path, side, capsys):
    (COUNTS if side == "columns" else COUNTS.T).to_csv(tmp_path / "m.csv")
    more = pd.concat([SHEET.iloc[::-1], pd.DataFrame({"plate": ["c"], "age": [9.0]}, index=["999"])])
    more.to_csv(tmp_path / "s.tsv", sep="\t")
    adata = read(tmp_path / "m.csv", "--samples", tmp_path / "s.tsv")
    same(adata)
    pd.testing.assert_frame_equal(adata.obs, SHEET, check_names=False)
    assert "1 of 13 rows of" in capsys.readouterr().err


def test_containers_of_other_programs(tmp_path):
    adata = ad.AnnData(COUNTS.astype(np.float32))
    write_zarr(tmp_path / "c.zarr", adata)
    same(read(tmp_path / "c.zarr"))
    folder = tmp_path / "filtered"
    folder.mkdir()
    parts = {
        "matrix.mtx.gz": (text := io.BytesIO(), scipy.io.mmwrite(text, sp.coo_matrix(COUNTS.T)))[0].getvalue(),
        "barcodes.tsv.gz": "\n".join("AC" + COUNTS.index).encode(),
        "features.tsv.gz": "\n".join(f"ENSG{g}\t{name}\tGene Expression" for g, name in enumerate(COUNTS)).encode(),
    }
    for name, content in parts.items():
        (folder / name).write_bytes(gzip.compress(content))
    same(read(folder), "AC")


@pytest.mark.parametrize(
    ("content", "words", "says"),
    [
        ("a,s1,s2\ng1,1,2\n", [], "Where are the genes of .*m.csv.*rows are 'g1', its columns 's1', 's2'.*--genes-in"),
        ("a,Chr,s1\ng1,chr1,2\n", ["--genes-in", "rows"], "columns without numbers .'Chr'"),
        ("a,s1,s1\ng1,1,2\n", ["--genes-in", "columns", "--samples", "s.csv"], "several genes named 's1'"),
        ("a,s1,s2\ng1,1,2\n", ["--genes-in", "columns", "--samples", "s.csv"], "no row for 1 of 1 .* such as 'g1'"),
        ("a,s1\ng1,1\ng1,2\n", ["--genes-in", "rows"], "several genes named 'g1'"),
        ("", ["--genes-in", "rows"], "holds no table"),
        ("a,s1,s1\ng1,1,2\n", ["--genes-in", "rows"], "several samples named 's1'"),
        ('a,s1\n"g1,1\n', ["--genes-in", "rows"], "cannot be read as a table"),
    ],
)
def test_tables_that_do_not_say_enough(tmp_path, monkeypatch, capsys, content, words, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.csv").write_text(content)
    SHEET.to_csv(tmp_path / "s.csv")
    assert main(["train", "m.csv", *words, "--out", "o.h5ad", "--model", "m"]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert re.search(says, error), error


def test_other_files_and_names(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    COUNTS.to_csv("m.csv")
    ad.AnnData(COUNTS.astype(np.float32), obs=SHEET.rename(columns={"age": "x"})).write_h5ad("m.h5ad")
    pd.concat([SHEET, SHEET]).to_csv("twice.csv")
    SHEET.to_csv("s.csv")
    (tmp_path / "m.pdf").write_text("")
    (tmp_path / "bad.loom").write_text("")
    usual = ["--out", "o.h5ad", "--model", "m"]
    for words, says in [
        (["m.pdf", *usual], "none of what is read: h5ad, zarr"),
        (["bad.loom", *usual], "loom"),
        (["nowhere.csv", *usual], "There is no file"),
        (["m.h5ad", "--genes-in", "rows", *usual], "--genes-in is for tables"),
        (["m.h5ad", "--samples", "s.csv", *usual], "both have a column 'plate'"),
        (["m.csv", "--samples", "twice.csv", *usual], "several rows for '0101'"),
        (["m.csv", "--genes-in", "columns", "--out", "z.npy", "--model", "m"], "--out takes a file ending in .h5ad"),
    ]:
        assert main(["train", *words]) == 2
        assert says in capsys.readouterr().err


def test_from_a_table_and_a_sheet_to_latents_and_a_verdict(tmp_path, monkeypatch, capsys):
    from omicvae import datasets

    monkeypatch.chdir(tmp_path)
    cells = datasets.simulate_counts(60, 20, seed=1)
    pd.DataFrame(cells.X.toarray().T, index=cells.var_names, columns=cells.obs_names).to_csv("counts.tsv", sep="\t")
    cells.obs.to_csv("sheet.csv")
    data = ["counts.tsv", "--samples", "sheet.csv"]
    train = ["train", *data, "--batch-key", "batch", "--labels-key", "cell_type", "--max-epochs", "2"]
    files = ["--out", "z.csv", "--model", "m", "--report", "r.html", "--json", "d.json"]
    assert main([*train, *files, "--fail-on", "collapsed,unsound"]) == 3
    shown = capsys.readouterr()
    verdict = json.loads((tmp_path / "d.json").read_text())["verdict"]
    assert f"the verdict is {verdict}, which --fail-on collapsed,unsound refuses" in shown.err
    assert "omicvae train counts.tsv --samples sheet.csv --out z.csv" in shown.out.replace(" \\\n       ", "")
    assert verdict in (tmp_path / "r.html").read_text()
    z = pd.read_csv("z.csv", index_col=0)
    assert z.shape == (60, 10)
    assert z.index.tolist() == cells.obs_names.tolist()
    for out in ("z.tsv", "z.zarr", "z.zarr", "z.h5ad"):  # the second time over the first
        assert main(["embed", "m", *data, "--out", out]) == 0
    np.testing.assert_allclose(pd.read_csv("z.tsv", sep="\t", index_col=0), z, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ad.read_zarr("z.zarr").obsm["X_omicvae"], z, rtol=1e-4, atol=1e-5)
    assert main(["diagnose", "m", *data, "--fail-on", "healthy"]) == (3 if verdict == "healthy" else 0)
    (tmp_path / "other").mkdir()
    (tmp_path / "other.zarr").mkdir()
    assert main(["embed", "m", *data, "--out", "other.zarr"]) == 2
    assert "is no zarr folder; it is left as it is" in capsys.readouterr().err


def test_names_of_verdicts_and_the_version(capsys):
    for words, says in [(["diagnose", "log.csv", "--fail-on", "dead"], "'dead' is no verdict; there are diverged,")]:
        with pytest.raises(SystemExit):
            main(words)
        assert says in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith("omicvae 0.")


@pytest.mark.parametrize(("suffix", "separator", "named"), [(".csv", ";", "semicolons"), (".tsv", ",", "commas")])
def test_a_table_with_another_separator_is_told_so(tmp_path, monkeypatch, capsys, suffix, separator, named):
    monkeypatch.chdir(tmp_path)
    COUNTS.to_csv(f"m{suffix}", sep=separator)
    assert main(["train", f"m{suffix}", "--genes-in", "columns", "--out", "o.csv", "--model", "m"]) == 2
    message = capsys.readouterr().err
    assert f"separated by {named}, and those of {suffix}" in message
    assert len(message) < 300
    sheet = SHEET[["plate"]]  # one column: R writes a single field above two
    sheet.to_csv("s.csv", index_label=False)
    COUNTS.to_csv("good.csv")
    assert read("good.csv", "--samples", "s.csv").obs["plate"].tolist() == sheet["plate"].tolist()


def test_evidence_is_diagnosed_and_reported_without_model_and_cells(tmp_path, monkeypatch, capsys):
    import omicvae as ov

    monkeypatch.chdir(tmp_path)
    adata = ov.datasets.simulate_counts(120, 30, seed=1)
    model = ov.CVAE(adata, n_hidden=16)
    model.train(3, progress_bar=False)
    ov.write_evidence(model, "run.safetensors", "cell_type")
    expected = model.diagnose("cell_type")
    assert main(["diagnose", "run.safetensors", "--json", "d.json", "--fail-on", "undertrained"]) == 3
    assert expected.headline in capsys.readouterr().out.replace("\n", " ")
    written, known = json.loads((tmp_path / "d.json").read_text()), json.loads(json.dumps(expected.to_dict()))
    assert [written[part] for part in ("verdict", "evidence")] == [known[part] for part in ("verdict", "evidence")]
    assert main(["report", "run.safetensors", "--no-umap"]) == 0
    assert "Verdict" in capsys.readouterr().out
    assert "undertrained" in (tmp_path / "report.html").read_text()
    for words, says in (
        (["diagnose", "run.safetensors", "--kl-weight", "1"], "--kl-weight is for a LOG"),
        (["diagnose", "run.safetensors", "--labels-key", "batch"], "evidence has its own"),
        (["report", "run.safetensors", "--labels-key", "batch"], "the labels 'cell_type', and no 'batch'"),
        (["report", "."], "name the file of the model's cells"),
    ):
        assert main(words) == 2
        assert says in capsys.readouterr().err
