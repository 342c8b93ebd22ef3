"""Logs of other programs: what was misread without a word, and what broke the readers."""

import codecs
import contextlib
import json
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omicvae._core.errors import DataError, OmicVAEError, SettingError
from omicvae.curves import diagnose_history, read_log
from omicvae.curves.numbers import as_number, has_decimal_commas, plain_numbers
from omicvae.curves.text import parse_values

E = np.arange(1, 13)
RECON = 500 + 200 * 0.7**E
KL = 2 + 0.1 * E


def log(recon=RECON, kl=KL, weight=1.0, extra=""):
    rows = zip(E, recon + weight * kl, recon, kl, strict=True)
    return "".join(f"epoch {e}: loss={loss:.4f} recon={r:.4f} kl={k:.4f}{extra}\n" for e, loss, r, k in rows)


CSV = pd.DataFrame({"epoch": E, "loss": RECON + KL, "recon": RECON, "kl": KL}).to_csv(index=False)


# numbers


@pytest.mark.parametrize(
    ("printed", "number"),
    [
        *[("1,152.9", 1152.9), ("1,152", 1152), ("12,345,678", 12345678), ("0,5", 0.5), ("1152,9", 1152.9)],
        *[("1.152,9", 1152.9), ("-1,5e-3", -0.0015), ("1e-3", 1e-3), (" 2 ", 2), ("9" * 400, np.inf), (1e101, np.inf)],
        *[("1.#QNAN", np.inf), ("-1.#IND", np.inf), ("1.#INF00", np.inf), ("-nan(ind)", np.inf), ("1e999", np.inf)],
        *[("1,2,3", None), ("", None), ("a", None), (True, None), (None, None), ([1], None), (10**400, np.inf)],
    ],
)
def test_numbers_as_they_are_printed_elsewhere(printed, number):
    assert as_number(printed) == number


def test_a_comma_before_three_digits_is_what_it_is_elsewhere_in_the_text():
    assert plain_numbers("1,152", decimal_commas=True) == "1.152"
    assert list(read_log("epoch 1: loss=1,152 kl=2\nepoch 2: loss=1,052 kl=2")["loss_train"]) == [1152, 1052]
    assert list(read_log("epoch 1: loss=1,152 kl=0,2\nepoch 2: loss=1,052 kl=0,2")["loss_train"]) == [1.152, 1.052]
    assert list(read_log('epoch,loss,kl\n1,"1,152.5",2\n2,900,2\n')["loss_train"]) == [1152.5, 900]
    assert plain_numbers("10:00:00,123 loss=1") == "10:00:00,123 loss=1"


def test_a_last_row_of_microsofts_nan_is_divergence():
    assert diagnose_history(log() + "epoch 13: loss=1.#QNAN recon=1.#QNAN kl=2\n").verdict == "diverged"
    assert diagnose_history(CSV + "13,1.#QNAN,1.#IND,2\n").verdict == "diverged"


# which value belongs to which epoch, cells and run


@pytest.mark.parametrize("head", ["", "Epoch {e}/12\n", "Epoch {e}: "])
def test_lines_below_a_bar_hold_the_epoch_and_the_bar_its_last_minibatch(head):
    text = "".join(
        head.format(e=e) + f"100%|███| 79/79 [00:01<00:00, loss={7 * e}, BCE=3, kl=99]\n"
        f"Train BCE: {r:.2f}, KLD: {k:.2f}\nTest BCE: {r + 5:.2f}, KLD: {k:.2f}\n"
        for e, r, k in zip(E, RECON, KL, strict=True)
    )
    table = read_log(text)
    assert list(table.index) == list(E)
    assert set(table) == {"recon_train", "kl_train", "recon_validation", "kl_validation"}
    np.testing.assert_allclose(table["recon_train"], RECON, atol=0.01)
    np.testing.assert_allclose(table["recon_validation"], RECON + 5, atol=0.01)


def test_lines_below_minibatches_hold_the_epoch():
    line = "Train Epoch: {e} [640/60000 (1%)]\tLoss: 3.5 beta=2\n  Train loss: {e}.0\n"
    table = read_log("".join(line.format(e=e) for e in E))
    assert list(table["loss_train"]) == list(E)
    assert list(table["kl_weight"]) == [2] * 12


@pytest.mark.parametrize("indent", ["  ", "\t", ""])
def test_a_block_below_a_heading_is_of_its_cells(indent):
    block = "{cells} metrics for epoch {e}:\n{i}Reconstruction loss: {r}\n{i}KL loss: {k}\n"
    text = "".join(
        block.format(cells=cells, e=e, i=indent, r=100 - e + more, k=e)
        for e in E
        for cells, more in (("Training", 0), ("Validation", 7))
    )
    table = read_log(text)
    assert list(table["recon_train"]) == list(100 - E)
    assert list(table["recon_validation"]) == list(107 - E)
    assert list(table["kl_validation"]) == list(E)


def test_values_one_below_the_other_are_one_epoch():
    assert list(read_log("loss: 3\nkl: 1\nloss: 2\nkl: 1\n")["loss_train"]) == [3, 2]


@pytest.mark.parametrize("form", ["text", "csv"])
def test_of_several_runs_the_last_is_judged_and_that_is_said(form):
    first, second = log(), log(RECON + 100, KL + 5)
    if form == "csv":
        first = CSV
        second = "\n".join(CSV.replace(",5", ",6").splitlines()[1:])
    diagnosis = diagnose_history(first + second)
    pd.testing.assert_frame_equal(
        diagnosis.history, read_log(second if form == "text" else f"epoch,loss,recon,kl\n{second}")
    )
    assert any("epochs start again at 1" in text for text in diagnosis.remarks)
    assert not any("start again" in text for text in diagnose_history(first).remarks)
    # said twice, nothing is another run
    assert not any("start again" in text for text in diagnose_history(log() + log()).remarks)


def test_a_resumed_run_keeps_what_came_before():
    lines = log().splitlines()
    resumed = "\n".join([*lines[:8], "epoch 6: loss=600 recon=597 kl=3", *lines[6:]])
    table = diagnose_history(resumed).history
    assert list(table.index) == list(E)
    assert table.loc[6, "loss_train"] == 600


@pytest.mark.parametrize(
    "source",
    [
        "beta,train_loss,recon,kl\n0.1,500,490,30\n1,510,495,12\n4,530,500,3\n",
        "seed,loss,kl\n1,500,30\n2,510,12\n3,530,3\n",
        [{"run": "a", "loss": 5, "kl": 1}, {"run": "b", "loss": 4, "kl": 1}],
        [{}, {"beta": 1e100}, {"beta": 1e100}],
    ],
)
def test_rows_that_are_runs_are_no_epochs(source):
    with pytest.raises(DataError, match="may be runs, not epochs"):
        diagnose_history(source)


# the weight and the total


def test_a_weight_in_a_heading_is_found_and_said_once():
    for heading in ("β = 4.0\n", "epochs: 100, lr: 1e-3, beta: 4\n"):
        diagnosis = diagnose_history(heading + log(weight=4).replace("recon", "other"))
        assert list(diagnosis.history.index) == list(E)
        assert diagnosis.history["kl_weight"].dropna().tolist() == [4]
        text = " ".join(diagnosis.notes)
        assert "only 4 was logged, once" in text
        assert "weight was not logged" not in text


def test_a_weight_that_contradicts_the_log_is_refused():
    with pytest.raises(SettingError, match=r"kl_weight=3 contradicts the log.*ends at 0.5"):
        diagnose_history(log(weight=0.5), kl_weight=3)
    assert diagnose_history(log(weight=0.5), kl_weight=0.5).verdict == "healthy"


def test_a_total_that_is_not_the_sum_is_remarked_on():
    odd = log(weight=1).replace("loss=", "loss=1").replace("\n", " beta=1\n")
    assert any("is not reconstruction + 1 · KL: 1e+03" in text for text in diagnose_history(odd).remarks)
    for whole in (log(), log(extra=" beta=1"), log(weight=0.2, extra=" beta=0.2")):
        assert not any("is not reconstruction" in text for text in diagnose_history(whole).remarks)


def test_validation_losses_of_exactly_0_are_no_measurement():
    diagnosis = diagnose_history(log(extra=" val_loss=0.0"))
    assert any("12 values of loss_validation are exactly 0" in text for text in diagnosis.remarks)
    assert any("whether the model overfits" in text for text in diagnosis.cannot_tell)


def test_steps_are_no_epochs():
    diagnosis = diagnose_history(log(500 - 10.0 * E).replace("epoch ", "step 1000"))
    assert diagnosis.verdict == "undertrained"
    assert not any("epoch" in text for text in (diagnosis.headline, *diagnosis.evidence["meaning"]))
    assert "max_epochs" not in diagnosis.remedies[0].arguments


def test_an_autoencoder_that_was_meant_is_told_how_to_tell():
    diagnosis = diagnose_history({"epoch": E, "recon": RECON, "kl": 1e4 + 0 * E, "kl_weight": 1e-6 + 0 * E})
    assert diagnosis.verdict == "under_regularised"
    assert "right only if it was meant" in diagnosis.headline
    assert any("latent diffusion" in text and "unit variance" in text for text in diagnosis.remarks)
    assert [remedy["beta"] for remedy in diagnosis.remedies] == [1.0, 0.3]
    assert all(remedy.why.startswith("If z is to be sampled from its prior") for remedy in diagnosis.remedies)


# what broke


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_files_in_any_encoding(tmp_path, encoding):
    path = tmp_path / "a.log"
    path.write_bytes(f"Läufe\n{log()}".encode(encoding))
    pd.testing.assert_frame_equal(read_log(path), read_log(log()))
    pd.testing.assert_frame_equal(read_log(path.read_bytes()), read_log(log()))


def test_long_cells_and_lines():
    long = "x" * 200_000
    for quote in ("", '"'):
        table = read_log(f"epoch,loss,kl,note\n1,3,1,{quote}{long}{quote}\n2,2,1,a\n")
        assert list(table["loss_train"]) == [3, 2]
    assert len(read_log(f"{log()}{long}\n")) == 12


@pytest.mark.parametrize("text", ["[" * 100_000, '{"loss":' * 100_000, '{"history":' * 5000 + "1" + "}" * 5000])
def test_deep_json_is_no_log(text):
    with pytest.raises(DataError):
        read_log(text)


def test_long_integers():
    assert list(read_log(f'{{"loss": [{"9" * 5000}, 1]}}')["loss_train"]) == [np.inf, 1]


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e30, 1e300])
def test_losses_of_any_size(scale):
    diagnosis = diagnose_history({"epoch": E, "loss": (RECON + KL) * scale, "recon": RECON * scale, "kl": KL * scale})
    assert diagnosis.verdict == ("diverged" if scale == 1e300 else "healthy")


@pytest.mark.parametrize("separator", [";", "\t"])
def test_decimal_commas(separator):
    frame = pd.DataFrame({"epoch": E, "loss": RECON, "kl": KL})
    table = read_log(frame.to_csv(index=False, sep=separator, decimal=","))
    np.testing.assert_allclose(table["loss_train"], RECON)
    np.testing.assert_allclose(read_log(log().replace(".", ","))["recon_train"], RECON, atol=1e-3)


def test_folders_for_files(tmp_path):
    with pytest.raises(DataError, match="any other log"):
        read_log(tmp_path)
    (tmp_path / "version_0").mkdir()
    (tmp_path / "version_0" / "metrics.csv").write_text(CSV)
    assert len(read_log(tmp_path)) == 12
    (tmp_path / "version_1").mkdir()
    (tmp_path / "version_1" / "metrics.csv").write_text(CSV)
    with pytest.raises(DataError, match=r"holds 2 logs; name one of them: 'version_0"):
        read_log(tmp_path)
    with pytest.raises(DataError, match="There is no file 'xxx"):
        read_log("x" * 5000)


def test_columns_that_cannot_be_told_apart():
    with pytest.raises(DataError, match="several columns of the name 'loss'"):
        read_log(pd.DataFrame([[1, 2]], columns=["loss", "loss"]))
    assert read_log({"epoch": [1, np.inf, 3], "loss": [3, 2, 1]}).index.isin([1, 3]).all()


values = st.one_of(st.floats(), st.integers(), st.none(), st.text(max_size=5), st.sampled_from(["1,5", "1.#QNAN", ""]))
names = st.sampled_from(
    ["epoch", "step", "loss", "recon", "kl", "val_loss", "val_kl", "beta", "lr", "elbo", "seed", "x"]
)
rows = st.lists(st.dictionaries(names, values, max_size=6), max_size=8)
pieces = st.sampled_from(
    [
        *["epoch 1", "epoch 2: ", "loss=", "kl: ", "val ", "Test:", "\n", "\r", "100%|█| 3/3 [", "|", "1,5", "1,152.9"],
        *["nan", "-3e400", ",", ";", "\t", '"', "{", "[", "}", "]", "0", "β=", "step ", "  ", "9" * 30, "\0", "\ud800"],
    ]
)


@settings(max_examples=60, deadline=None)
@given(st.one_of(rows, rows.map(json.dumps), st.lists(pieces, max_size=25).map("".join), st.binary(max_size=80)))
def test_only_errors_of_the_package_come_out(source):
    with contextlib.suppress(OmicVAEError):
        diagnosis = diagnose_history(source)
        assert str(diagnosis)
        json.dumps(diagnosis.to_dict(), allow_nan=False)


@settings(max_examples=20, deadline=None)
@given(st.binary(min_size=1, max_size=6), st.integers(0, len(CSV)))
def test_only_errors_of_the_package_come_out_of_damaged_files(tmp_path_factory, damage, place):
    path = tmp_path_factory.mktemp("damaged") / "a.csv"
    path.write_bytes(CSV.encode()[:place] + damage + CSV.encode()[place:])
    with contextlib.suppress(OmicVAEError):
        diagnose_history(path)


def test_codecs_that_are_known():
    assert read_log(codecs.BOM_UTF16_BE + log().encode("utf-16-be")).shape == (12, 3)


def test_ratios_of_tiny_numbers_may_be_infinite():
    curves = {"epoch": [0, 2e-311, -1.0, 0], "loss": [1.0, 0, 0, 0], "val_loss": [0.0, 1e99, 1, 0], "kl": [5e-324] * 4}
    assert diagnose_history(curves).verdict


OVERFIT = [
    f"Epoch {e}: train_loss={100 - 2 * e:.1f} kl={4 + 0.2 * e:.1f} val_loss={90 - e + 2.5 * max(0, e - 12):.1f}"
    for e in range(1, 31)
]


@pytest.mark.parametrize(
    "lines",
    [
        [*OVERFIT, "Best model: epoch 12, val_loss 78.0001"],
        [*OVERFIT, "Restored weights of epoch 7", "val_loss: 83.0001"],
        [*OVERFIT[:20], "best so far: epoch 12, val_loss 78.0001", *OVERFIT[20:]],
        [*OVERFIT[:13], *(f"{line} (no improvement, patience {i}/30)" for i, line in enumerate(OVERFIT[13:], 1))],
        ["Total epoch: 30", *OVERFIT],
    ],
)
def test_a_remark_on_one_epoch_takes_no_epochs_away(lines):
    alone, found = diagnose_history("\n".join(OVERFIT)), diagnose_history("\n".join(lines))
    assert found.verdict == alone.verdict
    assert len(found.history.dropna()) == len(alone.history)


def test_a_checkpoint_that_is_named_gives_bars_no_epoch():
    bars = [f"100%|####| 79/79 [00:01<00:00, Loss={90 - e:.1f}, KLD={3 + 0.1 * e:.2f}]" for e in range(30)]
    found = diagnose_history("\n".join(["Resuming from checkpoint epoch=12.ckpt", *bars]))
    assert len(found.history) == 30


def test_a_sum_over_the_epoch_leaves_the_minibatch_what_it_does_not_hold():
    lines = [
        f"Train Epoch: {e} [59520/60000 (99%)] Loss: {99 - e}.0 KLD: {3 + 0.1 * e:.2f} BCE: {95 - e}.0\n"
        f"====> Epoch: {e} Average loss: {98 - e}.0"
        for e in range(1, 13)
    ]
    history = diagnose_history("\n".join(lines)).history
    assert history["loss_train"].tolist() == [98 - e for e in range(1, 13)]
    assert history["kl_train"].notna().all()


def test_a_final_loss_is_no_epoch_of_a_list():
    lines = [f"[{e}/30] loss: {99 - e}.0 kl: {3 + 0.1 * e:.2f}" for e in range(1, 31)]
    assert len(diagnose_history("\n".join([*lines, "Final train loss: 69.0"])).history) >= 30


def test_a_ramp_without_epochs_is_no_sweep():
    n = np.arange(1.0, 13)
    table = pd.DataFrame({"loss": 100 - n, "kl": 3 + 0.1 * n, "beta": n / 12})
    assert len(diagnose_history(table).history) == 12
    with pytest.raises(DataError, match="may be runs"):
        diagnose_history(table.iloc[:4].assign(beta=[0.1, 0.5, 1.0, 4.0]))


def test_shuffled_rows_are_one_run():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"epoch": np.repeat(range(12), 3), "loss": 90 - np.arange(36), "kl": 3 + 0.1 * np.arange(36)})
    shuffled = diagnose_history(table.iloc[rng.permutation(36)])
    assert len(shuffled.history) == 12


def test_what_a_comma_is_the_values_of_losses_say_together():
    thousands = "gpus 0,1\n" + "\n".join(f"epoch {e} loss=1,{152 - e}, kl={e}" for e in range(1, 5))
    assert list(read_log(thousands)["loss_train"]) == [1151, 1150, 1149, 1148]
    points = "\n".join(f"epoch {e} gpus 0,1 loss=0.{95 - e} kl=1,152" for e in range(1, 5))
    table = read_log(points)
    assert list(table["kl_train"]) == [1152] * 4
    assert list(table["loss_train"]) == [0.94, 0.93, 0.92, 0.91]
    commas = "\n".join(f"epoch {e} loss=1,{152 - e} kl=0,{e}" for e in range(1, 5))
    assert list(read_log(commas)["loss_train"]) == [1.151, 1.150, 1.149, 1.148]


@pytest.mark.parametrize("form", ["epoch {} loss=-1152,{}", "epoch {} loss=5,2{}e-02", "epoch {} loss=5,2{}E02"])
def test_a_sign_or_an_exponent_hides_no_decimal_comma(form):
    """In one column "1,152" is what the others are; an exponent alone says it as well."""
    lines = "\n".join(f"{form.format(e, e)} kl=1,15{e}" for e in range(1, 5))
    table = read_log(lines)
    expected = [float(form.format(e, e).partition("=")[2].replace(",", ".")) for e in range(1, 5)]
    assert list(table["loss_train"]) == pytest.approx(expected)
    assert list(table["kl_train"]) == pytest.approx([1.151, 1.152, 1.153, 1.154])
    csv = "epoch;loss;kl\n" + "\n".join(f"{e};{form.format(e, e).partition('=')[2]};1,15{e}" for e in range(1, 5))
    assert list(read_log(csv)["kl_train"]) == pytest.approx([1.151, 1.152, 1.153, 1.154])
    assert has_decimal_commas(["1,152e+03"])
    assert not has_decimal_commas(["-1,152"])


def test_a_long_line_of_values_is_read_in_one_pass():
    line = " ".join(f"loss={value}" for value in range(60_000))
    start = time.process_time()
    parse_values(line)
    assert time.process_time() - start < 10


@pytest.mark.parametrize("form", [pd.DataFrame, dict, lambda c: pd.DataFrame(c).to_dict("records")])
def test_what_a_comma_is_the_cells_of_a_table_say_together(form):
    columns = {"loss": ["1,152", "1,099", "0,987"], "kl": ["1,500", "1,250", "1,125"], "gpus": ["0,1"] * 3}
    table = read_log(form(columns))
    assert list(table["loss_train"]) == [1.152, 1.099, 0.987]
    assert list(table["kl_train"]) == [1.5, 1.25, 1.125]
    table = read_log(form({**columns, "loss": ["1,152", "1,099", "987"]}))
    assert list(table["loss_train"]) == [1152, 1099, 987]


def test_a_ramp_of_the_weight_is_no_further_term_of_the_loss():
    epochs = np.arange(1, 41)
    recon, kl = 90 + 50 * np.exp(-epochs / 6), 5 + np.exp(-epochs / 6)
    logged = np.minimum(1, epochs / 30)  # at the end of the epoch, where the loss is a mean over it
    meant = np.minimum(1, (epochs - 0.5) / 30)
    table = pd.DataFrame({"epoch": epochs, "recon": recon, "kl": kl, "kl_weight": logged, "loss": recon + meant * kl})
    for cut in (40, 31, 30, 20):  # settled, just so, and never
        assert not any("is neither" in remark for remark in diagnose_history(table[:cut]).remarks)
    assert any("is neither" in remark for remark in diagnose_history(table.assign(loss=table["loss"] + 3)).remarks)
