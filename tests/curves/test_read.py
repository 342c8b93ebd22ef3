"""Reading curves: every form, and numbers as programs print them."""

import io
import json
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omicvae._core.errors import DataError, NotSupportedError
from omicvae.curves import read_log
from omicvae.curves.names import ALIASES, log_name
from omicvae.curves.read import TABLE_FORMS
from omicvae.curves.text import TEXT_FORMS, parse_values, plain_lines, read_text
from omicvae.training.history import epoch_line, history_frame

INF = float("inf")


def columns(table):
    return {name: list(table[name]) for name in table}


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("loss", "loss_train"),
        ("train_loss_epoch", "loss_train"),
        ("trainLoss", "loss_train"),
        ("Average loss", "loss_train"),
        ("validation_loss", "loss_validation"),
        ("val/rec_loss", "recon_validation"),
        ("val_vae_r_loss", "recon_validation"),
        ("Test set loss", "loss_validation"),
        ("BCE", "recon_train"),
        ("BCELoss", "recon_train"),
        ("reconstruction_loss_train", "recon_train"),
        ("KLD", "kl_train"),
        ("KL Div", "kl_train"),
        ("KLloss", "kl_train"),
        ("kl_local_validation", "kl_validation"),
        ("elbo_train", "elbo_train"),
        ("β", "kl_weight"),
        ("kl_weight", "kl_weight"),
        ("lr-Adam/pg1", "lr"),
        ("disc_loss", "discriminator_loss_train"),
        ("discriminator_loss_train", "discriminator_loss_train"),
        ("global_step", "step"),
        ("Epoch", "epoch"),
    ],
)
def test_names_of_other_programs(name, column):
    assert log_name(name).column == column


@pytest.mark.parametrize("name", ["accuracy", "time", "kl_global_train", "v_num", "", "123", "klm"])
def test_other_names_mean_nothing(name):
    assert log_name(name) is None


def test_no_alias_means_two_things():
    aliases = [alias for names in ALIASES.values() for alias in names]
    assert len(aliases) == len(set(aliases))


# text


def test_lines_with_an_epoch():
    table = read_log(
        "epoch 001 | train loss=0.8684 recon=0.8440 kl=0.0488 | val loss=0.7531\n"
        "saved to run.pt\n"
        "epoch 005 | train loss=0.5926 recon=0.4825 kl=0.2203 | val loss=0.5779\n"
    )
    assert list(table.index) == [1, 5]
    assert table.index.name == "epoch"
    assert columns(table) == {
        "loss_train": [0.8684, 0.5926],
        "recon_train": [0.8440, 0.4825],
        "kl_train": [0.0488, 0.2203],
        "loss_validation": [0.7531, 0.5779],
    }


def test_our_own_line_comes_back():
    rows = [
        {"loss_train": 512.25, "recon_train": 500.0, "kl_train": 12.25, "kl_weight": 1.0, "recon_validation": 510.5},
        {"loss_train": 500.25, "recon_train": 490.0, "kl_train": 10.25, "kl_weight": 0.5, "recon_validation": 500.5},
    ]
    text = "\n".join(f"INFO:omicvae:{epoch_line(n, row, ['lr=1.0e-3'])}" for n, row in enumerate(rows, 1))
    table = read_log(text)
    for name in rows[0]:
        assert list(table[name]) == [row[name] for row in rows]
    # the losses of validation cells were printed as nan
    assert list(table["kl_validation"]) == [INF, INF]


KERAS = """Epoch 1/2
 1/32 [..............................] - ETA: 1s - loss: 0.99 - kl_loss: 0.50\b\b\r
32/32 [==============================] - 1s 3ms/step - loss: 0.61 - kl_loss: 0.02 - val_loss: 0.58 - lr: 1e-3
Epoch 2/2
32/32 ━━━━━━━━━━━━━━━━━━━━ 0s 2ms/step - loss: 0.51 - kl_loss: nan - val_loss: 5.7e-1 - lr: 1e-3
"""


def test_keras_progress_lines():
    table = read_log(KERAS)
    assert table.attrs["form"] == "log of Keras progress lines"
    assert columns(table) == {
        "loss_train": [0.61, 0.51],
        "kl_train": [0.02, INF],
        "loss_validation": [0.58, 0.57],
        "lr": [1e-3, 1e-3],
    }


def bar(count, postfix, description=""):
    return f"{description}{100 * count // 79:3d}%|██▏  | {count}/79 [00:01<00:00, 41.25it/s, {postfix}]"


def test_tqdm_bars_that_name_their_epoch():
    drawn = "\r".join(bar(n, f"Loss={n}, BCE=60.6, KLD=53.6", "Epoch 0: ") for n in (20, 40, 79, 79))
    last = bar(79, "Loss=6.6e+1, BCE=6e1, KLD=inf", "Epoch 1: ")
    assert columns(read_log(f"{drawn}\n{last}")) == {
        "loss_train": [79, 66],
        "recon_train": [60.6, 60],
        "kl_train": [53.6, INF],
    }


def test_a_tqdm_bar_per_epoch_without_its_number():
    text = "\n".join(f"{bar(40, 'Loss=99')}\r{bar(79, f'Loss={loss}')}\r{bar(79, f'Loss={loss}')}" for loss in (66, 60))
    table = read_log(text)
    assert (list(table.index), list(table["loss_train"])) == ([1, 2], [66, 60])


def test_one_tqdm_bar_over_all_epochs():
    table = read_log("\r".join(bar(n, f"loss={100 - n}, kl=2") for n in (1, 2, 3)))
    assert (list(table.index), list(table["loss_train"])) == ([1, 2, 3], [99, 98, 97])


def drawn(count, total, postfix):
    return f"{100 * count // total:3d}%|###  | {count}/{total} [00:01<00:00, 41.25it/s, {postfix}]"


def test_a_bar_of_another_total_belongs_to_the_epoch_of_the_first():
    pairs = "\n".join(f"{drawn(79, 79, f'loss={9 - e}')}\n{drawn(10, 10, f'val_loss={8 - e}')}" for e in range(4))
    assert columns(read_log(pairs)) == {"loss_train": [9, 8, 7, 6], "loss_validation": [8, 7, 6, 5]}
    # a bar over the epochs around one over the minibatches of each
    inner = [f"{drawn(79, 79, f'loss={9 - e}')}\n{drawn(e + 1, 4, f'kl={e}')}" for e in range(4)]
    nested = "\n".join([drawn(0, 4, "kl=9"), *inner])
    table = read_log(nested)
    assert (list(table.index), list(table["loss_train"])) == ([1, 2, 3, 4], [9, 8, 7, 6])
    # as many minibatches as happened to come
    streamed = "\n".join(drawn(n, n, f"loss={n}") for n in (79, 80, 82))
    assert columns(read_log(streamed)) == {"loss_train": [79, 80, 82]}


def test_scvi_tools_bar():
    text = "\r".join(
        f"Epoch {n}/400:  2%|▏         | {n}/400 [00:05<03:14,  2.0it/s, v_num=1, train_loss_step=1.2e+3, "
        f"train_loss_epoch={1300 - n}]"
        for n in (1, 2, 3)
    )
    assert list(read_log(text)["loss_train"]) == [1299, 1298, 1297]


def test_epoch_means_win_over_batches():
    table = read_log(
        "Train Epoch: 1 [0/60000 (0%)]\tLoss: 550.1\nTrain Epoch: 1 [640/60000 (1%)]\tLoss: 350.1\n"
        "====> Epoch: 1 Average loss: 164.2345\n====> Test set loss: 127.5\n"
    )
    assert columns(table) == {"loss_train": [164.2345], "loss_validation": [127.5]}


def test_lines_of_values_and_of_steps():
    assert list(read_log("Loss=66, BCE=60.6, KLD=53.6\nLoss=60, BCE=55, KLD=50")["recon_train"]) == [60.6, 55]
    steps = read_log("step 100: loss=5, kl=1\nstep 200: loss=4, kl=1\nstep 200: val loss=6\nstep 300: loss=3, kl=1\n")
    assert steps.index.name == "step"
    # without epochs a validation ends one, and what follows the last one counts towards it
    assert columns(steps)["loss_validation"] == [6]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("loss=0.5", {"loss": 0.5}),
        ("loss: .5", {"loss": 0.5}),
        ("loss 5.", {"loss": 5}),
        ("loss = -1.5E-03", {"loss": -0.0015}),
        ("loss=+2e3,kl=1", {"loss": 2000, "kl": 1}),
        ("loss=inf kl=-inf", {"loss": INF, "kl": -INF}),
        ("beta=50%", {"beta": 0.5}),
        ("\x1b[1;32mloss\x1b[0m=\x1b[31m0.5\x1b[0m", {"loss": 0.5}),
        ("val loss=0.7 kl=0.1 | kl_weight=1", {"val loss": 0.7, "val kl": 0.1, "kl_weight": 1}),
        ("loss=1 | val_loss=2, kl=3", {"loss": 1, "val_loss": 2, "kl": 3}),
        ("Validation: loss 0.5, kl 0.1", {"validation loss": 0.5, "validation kl": 0.1}),
        ("[val] loss: 0.5", {"val loss": 0.5}),
        ("3 losses, 10s, 4it/s, loss 4k, accuracy=0.9", {}),
        ("2026-01-01 10:00:00,123 INFO root:7 loss=0.5", {"loss": 0.5}),
    ],
)
def test_values_of_a_line(line, expected):
    (plain,) = plain_lines(line)
    assert parse_values(plain) == expected


LONG = ["a" * 10**6, "loss " * 10**5, "1" * 10**6, "a." * 10**5, "loss=" * 10**5]
LONG += [f"loss{' ' * 10**6}", f"KL {'1' * 10**6}"]


@pytest.mark.parametrize("line", LONG, ids=lambda line: f"{line[:5]}...")
def test_long_lines_take_no_time(line):
    """Not timed: an expression that goes back and forth would take hours."""
    assert parse_values(line) == {}
    assert read_text(line) is None
    assert parse_values(f"{line} loss=0.5")["loss"] == 0.5


def test_nan_is_read():
    assert np.isnan(parse_values("loss=nan")["loss"])
    assert columns(read_log("epoch 1: loss=NaN kl=1\nepoch 2: loss=-Infinity kl=1")) == {
        "loss_train": [INF, INF],
        "kl_train": [1, 1],
    }


numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)


@pytest.mark.parametrize("form", ["{!r}", "{:e}", "{:.17g}", "{:+.9E}"])
@pytest.mark.parametrize("separator", ["=", ": ", " = ", " "])
@settings(max_examples=20)
@given(loss=numbers, kl=numbers)
def test_any_number_is_read_as_it_was_printed(form, separator, loss, kl):
    printed = {"loss": form.format(loss), "val_kl": form.format(kl)}
    line = ", ".join(f"{name}{separator}{text}" for name, text in printed.items())
    assert parse_values(line) == {name: float(text) for name, text in printed.items()}


@given(st.text())
def test_no_text_breaks_the_parser(text):
    log = read_text(text)
    assert log is None or all(log.rows)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=20))
def test_csv_json_and_frames_agree(rows):
    frame = pd.DataFrame(rows, columns=["loss", "val_loss"]).assign(epoch=range(len(rows)))
    tables = [
        read_log(source)
        for source in (
            frame,
            frame.to_csv(index=False),
            frame.to_csv(index=False, sep="\t"),
            json.dumps(frame.to_dict("list")),
            json.dumps(frame.to_dict("records")),
            "\n".join(json.dumps(row) for row in frame.to_dict("records")),
            frame.to_dict("list"),
            frame.to_dict("records"),
            {name: frame[name].to_numpy() for name in frame},
        )
    ]
    for table in tables:
        pd.testing.assert_frame_equal(table, tables[0], check_exact=False)
    assert list(tables[0]["loss_train"]) == [loss for loss, _ in rows]


# tables

LIGHTNING = """epoch,kl,lr-Adam,step,train_loss_epoch,train_loss_step,val_loss
,,0.01,0,,,
0,,,9,,1.0,
0,,,19,,0.8,
0,,,19,,,0.7
0,0.1,,19,0.9,,
,,0.005,20,,,
1,,,39,,,0.6
1,0.2,,39,nan,,
"""


def test_lightning_metrics_have_gaps():
    table = read_log(LIGHTNING)
    assert list(table.index) == [0, 1]
    # an empty cell is no value and "nan" is one
    assert columns(table) == {
        "lr": [0.01, 0.005],
        "loss_validation": [0.7, 0.6],
        "kl_train": [0.1, 0.2],
        "loss_train": [0.9, INF],
    }


def test_lightning_metrics_read_by_pandas():
    frame = pd.read_csv(io.StringIO(LIGHTNING.replace("nan", "0.8")))
    pd.testing.assert_frame_equal(read_log(frame), read_log(LIGHTNING.replace("nan", "0.8")))


def test_a_curve_that_stops_in_a_sparse_table_has_become_nan():
    rows = [{"epoch": epoch, **row} for epoch in range(8) for row in ({"train_loss": 1 / (1 + epoch)}, {"val_loss": 1})]
    frame = pd.DataFrame(rows)
    assert np.isfinite(read_log(frame)["loss_train"]).all()
    frame.loc[6:, "train_loss"] = np.nan
    assert read_log(frame)["loss_train"].iloc[-1] == INF


def test_our_own_history():
    history = history_frame(
        [{"loss_train": 5.0, "kl_train": 1.0, "kl_weight": 1.0}, {"loss_train": np.nan, "kl_train": 2, "kl_weight": 1}]
    )
    table = read_log(history)
    assert list(table.index) == [1, 2]
    assert list(table["loss_train"]) == [5, INF]
    # no validation cells: not a NaN of theirs
    assert not {"loss_validation", "recon_validation"} & set(table.columns)


def test_histories_of_scvi_tools():
    epochs = pd.RangeIndex(3, name="epoch")
    history = {
        "train_loss_step": pd.DataFrame({"train_loss_step": [7.0] * 5}, index=pd.RangeIndex(5, name="step")),
        "elbo_train": pd.DataFrame({"elbo_train": [9.0, 8.0, 7.0]}, index=epochs),
        "kl_local_train": pd.DataFrame({"kl_local_train": [1.0, 2.0, 3.0]}, index=epochs),
        "reconstruction_loss_train": pd.DataFrame({"reconstruction_loss_train": [8.0, 6.0, 4.0]}, index=epochs),
        "elbo_validation": pd.DataFrame({"elbo_validation": [9.5]}, index=epochs[1:2]),
    }
    for source in (history, type("Model", (), {"history": history})()):
        table = read_log(source)
        assert list(table.index) == [0, 1, 2]
        assert list(table["kl_train"]) == [1, 2, 3]
        assert list(table["recon_train"]) == [8, 6, 4]
        assert table["elbo_validation"].count() == 1


def test_keras_histories_with_rarer_validation():
    table = read_log({"loss": [4.0, 3, 2, 1, 0], "val_loss": [3.5, 2.5]})
    assert list(table["loss_validation"].fillna(0)) == [0, 3.5, 0, 2.5, 0]
    with pytest.raises(DataError, match="Column 'val_loss' has 4 values and others 10"):
        read_log({"loss": range(10), "val_loss": [1, 2, 3, 4]})


@pytest.mark.parametrize(
    "source",
    [
        '{"history": {"loss": [2, 1]}}',
        '{"log_history": [{"epoch": 1, "loss": 2}, {"epoch": 2, "loss": 1, "val_loss": null}]}',
        '{"loss": {"0": 2, "1": 1}}',
        ["epoch 1: loss=2", "epoch 2: loss=1"],
    ],
)
def test_wrapped_forms(source):
    assert columns(read_log(source)) == {"loss_train": [2, 1]}


def test_files(tmp_path):
    for name, text in {
        "a.log": KERAS,
        "b.csv": LIGHTNING,
        "c.json": '{"loss": [2, 1]}',
        "metrics.csv": LIGHTNING,
    }.items():
        path = tmp_path / name
        path.write_text(text)
        pd.testing.assert_frame_equal(read_log(path), read_log(text))
        pd.testing.assert_frame_equal(read_log(str(path)), read_log(text))
    pd.testing.assert_frame_equal(read_log(tmp_path), read_log(LIGHTNING))


# TensorBoard


@pytest.fixture
def event_folder(tmp_path):
    event_pb2 = pytest.importorskip("tensorboard.compat.proto.event_pb2")
    summary_pb2 = pytest.importorskip("tensorboard.compat.proto.summary_pb2")
    writer = pytest.importorskip("tensorboard.summary.writer.event_file_writer").EventFileWriter(str(tmp_path))
    for step in range(1, 7):
        values = {"train/loss_step": 10.0 - step, "epoch": (step - 1) // 2}
        values |= {"val/loss": 20.0 - step, "train/kl_loss": np.nan if step == 6 else 1.0} if step % 2 == 0 else {}
        summary = summary_pb2.Summary(
            value=[summary_pb2.Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        )
        writer.add_event(event_pb2.Event(step=step, wall_time=float(step), summary=summary))
    writer.close()
    return tmp_path


def test_tensorboard_events(event_folder):
    (path,) = event_folder.glob("*tfevents*")
    for source in (event_folder, path):
        table = read_log(source)
        assert list(table.index) == [0, 1, 2]
        assert columns(table) == {
            "loss_train": [8.5, 6.5, 4.5],
            "loss_validation": [18, 16, 14],
            "kl_train": [1, 1, INF],
        }


def test_missing_tensorboard_is_one_clear_error(tmp_path, monkeypatch):
    (tmp_path / "events.out.tfevents.1.host").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "tensorboard.backend.event_processing.event_accumulator", None)
    with pytest.raises(NotSupportedError, match=r"pip install 'omicvae\[tensorboard\]'"):
        read_log(tmp_path)


# refusals


def test_unknown_text_shows_its_beginning_and_the_forms():
    with pytest.raises(DataError) as error:
        read_log("dear diary\ntoday it rained\nand then\nnothing\n")
    message = str(error.value)
    assert "  dear diary\n  today it rained\n  and then\n" in message
    assert "nothing" not in message
    for name in (*TABLE_FORMS, *(form.name for form in TEXT_FORMS)):
        assert name in message


@pytest.mark.parametrize("form", TEXT_FORMS, ids=lambda form: form.name)
def test_the_forms_that_are_listed_are_read(form):
    log = read_text(form.example.replace("⏎", "\n"))
    assert log is not None
    assert log.form == form.name


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("gone.csv", "There is no file 'gone.csv'"),
        ("", r"It begins:\n  \(nothing\)"),
        ("epoch,accuracy\n1,0.5\n", "only .'epoch', 'accuracy'.|no log that omicvae"),
        ({"accuracy": [1, 2]}, "only .'accuracy'.. Rename the columns to 'loss_train'"),
        ([1, 2], "holds one mapping per row"),
        (3, "cannot be read from a int"),
        ('{"loss": [1, 2', "no log that omicvae can read"),
    ],
)
def test_refusals(source, message):
    with pytest.raises(DataError, match=message):
        read_log(source)


def test_files_that_are_no_logs(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"\x80\x02\xff\xfe")
    with pytest.raises(DataError, match=r"model.pt' is no text"):
        read_log(tmp_path / "model.pt")
    with pytest.raises(DataError, match="neither TensorBoard event files nor"):
        read_log(tmp_path)
