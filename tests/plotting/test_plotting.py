import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from omicvae._core import DataError
from omicvae.plotting import (
    adversary_curve,
    elbo_curve,
    embedding,
    kl_per_dimension,
    kl_weight_curve,
    loss_curves,
    probe_scores,
)

EPOCHS = 30


@pytest.fixture
def history():
    epochs = np.arange(EPOCHS)
    columns = {"kl_weight": np.minimum(1, epochs / 10)}
    for number, name in enumerate(("loss", "recon", "kl")):
        for shift, split in enumerate(("train", "validation")):
            columns[f"{name}_{split}"] = 100 * number + shift + 50 * np.exp(-epochs / 2)
    return pd.DataFrame(columns)


def test_loss_curves_draw_every_column(history):
    axes = loss_curves(history)
    assert [ax.get_title() for ax in axes] == ["Total loss", "Reconstruction", "KL"]
    for ax, name in zip(axes, ("loss", "recon", "kl"), strict=True):
        lines = {line.get_label(): line.get_ydata() for line in ax.lines}
        assert set(lines) == {"train", "validation"}
        for split, y in lines.items():
            np.testing.assert_array_equal(y, history[f"{name}_{split}"])
    assert axes[0].get_ylabel() == "nats per cell"


def test_loss_curves_range_shows_what_follows_the_first_tenth(history):
    for ax, name in zip(loss_curves(history), ("loss", "recon", "kl"), strict=True):
        low, high = ax.get_ylim()
        late = history.loc[3:, [f"{name}_train", f"{name}_validation"]].to_numpy()
        assert low <= late.min()
        assert high >= late.max()
        assert high < history[f"{name}_train"].iloc[0]


def test_kl_weight_stands_behind_the_kl(history):
    panel = loss_curves(history)[2]
    (behind,) = [ax for ax in panel.figure.axes if ax.get_ylabel() == "KL weight"]
    area = behind.collections[0].get_paths()[0].vertices
    assert area[:, 1].max() == pytest.approx(1.0)
    assert panel.get_zorder() > behind.get_zorder()


def test_loss_curves_without_validation_or_weight(history):
    train_only = history[["loss_train", "recon_train", "kl_train"]].assign(epoch=np.arange(1, EPOCHS + 1))
    axes = loss_curves(train_only)
    assert [line.get_label() for line in axes[0].lines] == ["train"]
    assert axes[0].lines[0].get_xdata()[0] == 1
    assert len(axes[0].figure.axes) == 3


def test_loss_curves_with_one_epoch_and_with_non_finite_values(history):
    single = loss_curves(history.iloc[:1])[0]
    assert single.lines[0].get_marker() == "o"
    history.loc[5, "loss_train"] = np.inf
    low, high = loss_curves(history)[0].get_ylim()
    assert np.isfinite([low, high]).all()


def test_loss_curves_use_the_axes_they_are_given(history):
    given = Figure().subplots(1, 3)
    assert loss_curves(history, axes=given) == list(given)
    with pytest.raises(DataError, match="draws on 3 axes, got 2"):
        loss_curves(history, axes=given[:2])


def test_loss_curves_refuse_a_table_without_curves(history):
    with pytest.raises(DataError, match=r"columns \['kl_weight'\]"):
        loss_curves(history[["kl_weight"]])
    with pytest.raises(DataError, match="0 epochs"):
        loss_curves(history.iloc[:0])


def test_kl_bars_are_sorted_and_coloured_by_activity():
    ax = kl_per_dimension([0.5, 2.0, 0.003, 0.0])
    tops = [bar.get_y() + bar.get_height() for bar in ax.patches]
    np.testing.assert_allclose(tops, [2.0, 0.5, 0.003, 1e-4])
    colours = [bar.get_facecolor() for bar in ax.patches]
    assert colours[0] == colours[1] != colours[2] == colours[3]
    assert ax.lines[0].get_ydata()[0] == 0.01
    assert "2 of 4 dimensions" in ax.get_title()


def test_kl_bars_from_a_diagnosis():
    class Diagnosis:
        kl_per_dimension = np.array([1.0, 0.001])

    assert "1 of 2 dimensions" in kl_per_dimension(Diagnosis()).get_title()


def test_kl_bars_of_a_diagnosis_are_blue_where_its_headline_counts_them():
    class Diagnosis:
        # a dimension may be active at a KL of 0.006 (its means vary by 0.012), and idle at one of 2 (all means at 2)
        kl_per_dimension = np.array([0.006, 2.0, 0.5])
        active_dimensions = np.array([True, False, True])

    ax = kl_per_dimension(Diagnosis())
    colours = [bar.get_facecolor() for bar in ax.patches]
    assert colours[0] != colours[1] == colours[2]
    assert "2 of 3 dimensions active" in ax.get_title()
    assert not ax.lines


@pytest.mark.parametrize("values", [[], [[1.0]], [np.nan, 1.0]])
def test_kl_bars_refuse_what_is_no_list_of_kls(values):
    with pytest.raises(DataError, match="one finite KL for each dimension"):
        kl_per_dimension(values)


@pytest.fixture
def xy():
    return np.random.default_rng(0).normal(size=(40, 2))


def test_embedding_of_categories_has_a_legend_and_all_cells(xy):
    labels = pd.Series(pd.Categorical(["b", "a", "b", None] * 10, categories=["b", "a", "unused"]), name="type")
    ax = embedding(xy, labels)
    assert ax.get_title() == "type"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["b", "a", "unused"]
    drawn = {points.get_label(): len(points.get_offsets()) for points in ax.collections}
    assert drawn["b"] == 20
    assert drawn["a"] == 10
    assert sum(drawn.values()) == 40
    b_points = next(points for points in ax.collections if points.get_label() == "b")
    np.testing.assert_array_equal(b_points.get_offsets(), xy[(labels == "b").to_numpy()])


def test_embedding_tells_more_levels_than_colours_apart(xy):
    ax = embedding(xy, [f"level {i:02d}" for i in range(40)])
    looks = {
        (tuple(points.get_facecolor()[0]), points.get_paths()[0].vertices.tobytes())
        for points in ax.collections
        if len(points.get_offsets())
    }
    assert len(looks) == 40


def test_embedding_of_numbers_has_a_colour_bar_and_draws_high_values_last(xy):
    values = np.arange(40.0)[::-1].copy()
    values[3] = np.nan
    ax = embedding(xy, values, title="score")
    assert ax.get_legend() is None
    assert len(ax.figure.axes) == 2
    drawn = ax.collections[-1].get_array()
    np.testing.assert_array_equal(drawn, np.sort(values[np.isfinite(values)]))
    assert sum(len(points.get_offsets()) for points in ax.collections) == 40
    assert ax.get_title() == "score"


def test_embedding_of_booleans_and_of_nothing(xy):
    assert embedding(xy, xy[:, 0] > 0).get_legend() is not None
    assert len(embedding(xy).collections[0].get_offsets()) == 40


def test_embedding_refuses_other_shapes(xy):
    with pytest.raises(DataError, match=r"shape \(cells, 2\), got \(40, 1\)"):
        embedding(xy[:, :1])
    with pytest.raises(DataError, match="40 cells and 3 values"):
        embedding(xy, [1, 2, 3])


def test_figures_are_saved_without_a_display(xy, history, tmp_path):
    for number, ax in enumerate((embedding(xy), kl_per_dimension([1.0]), loss_curves(history)[0])):
        ax.figure.savefig(tmp_path / f"{number}.png")
        assert (tmp_path / f"{number}.png").read_bytes().startswith(b"\x89PNG")


def test_drawing_leaves_pyplot_alone(xy):
    import subprocess

    program = (
        "import sys, numpy, omicvae.plotting as pl; pl.embedding(numpy.zeros((3, 2)), [1, 2, 3]); "
        "pl.kl_per_dimension([1.0]); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_weight_of_the_kl_is_drawn_as_it_is(history):
    ax = kl_weight_curve(history)
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), history["kl_weight"])
    assert len(ax.figure.axes) == 1
    with pytest.raises(DataError, match="kl_weight_curve draws kl_weight"):
        kl_weight_curve(history.drop(columns="kl_weight"))


@pytest.mark.parametrize(("name", "label"), [("target_rate", "target rate"), ("capacity", "capacity")])
def test_what_steers_the_kl_stands_beside_its_weight(history, name, label):
    ax = kl_weight_curve(history.assign(**{name: 5.0}))
    (beside,) = [other for other in ax.figure.axes if other is not ax]
    lines = {line.get_label(): line.get_ydata() for line in beside.lines}
    np.testing.assert_array_equal(lines["KL"], history["kl_train"])
    assert set(lines) == {"KL", label}


def test_the_bound_is_drawn_higher_is_better(history):
    ax = elbo_curve(history.assign(elbo_validation=np.arange(EPOCHS)))
    lines = {line.get_label(): line.get_ydata() for line in ax.lines}
    np.testing.assert_allclose(lines["train"], -(history["recon_train"] + history["kl_train"]))
    np.testing.assert_array_equal(lines["validation"], np.arange(EPOCHS))
    assert [line.get_label() for line in elbo_curve(history).lines] == ["train"]
    with pytest.raises(DataError, match="elbo_curve draws recon_train with kl_train"):
        elbo_curve(history[["kl_train"]])


def test_an_adversary_is_drawn_from_its_start_on(history):
    on = np.arange(EPOCHS) >= 10
    table = history.assign(adversary_loss_train=np.where(on, 0.7, 0.0), adversary_weight=np.where(on, 5.0, 0.0))
    ax = adversary_curve(table, "adversary")
    loss, start = ax.lines
    np.testing.assert_array_equal(np.isfinite(loss.get_ydata()), on)
    assert start.get_xdata()[0] == 10
    (behind,) = [other for other in ax.figure.axes if other is not ax]
    assert behind.get_ylabel() == "weight"
    never = adversary_curve(history.assign(adversary_loss_train=0.0), "adversary")
    assert not np.isfinite(never.lines[0].get_ydata()).any()
    with pytest.raises(DataError, match="adversary_curve draws discriminator_loss_train"):
        adversary_curve(table, "discriminator")


def test_probe_scores_are_dots_beside_chance():
    table = pd.DataFrame(
        {
            "representation": ["posterior draw", "posterior draw", "PCA", "PCA"],
            "classifier": ["logistic", "knn"] * 2,
            "balanced_accuracy": [0.1, 0.2, 0.8, 0.7],
            "chance": 0.1,
            "permuted_low": 0.05,
            "permuted_high": 0.15,
        }
    )
    ax = probe_scores(table)
    lines = {line.get_label(): line for line in ax.lines}
    np.testing.assert_array_equal(lines["logistic"].get_xdata(), [0.1, 0.8])
    np.testing.assert_array_equal(lines["knn"].get_xdata(), [0.2, 0.7])
    np.testing.assert_array_equal(lines["logistic"].get_ydata(), [1, 0])
    assert lines["guessing"].get_xdata()[0] == 0.1
    assert [label.get_text() for label in ax.get_yticklabels()] == ["posterior\ndraw", "PCA"]

    class Diagnosis:
        probes = table.iloc[:0]

    with pytest.raises(DataError, match="0 rows"):
        probe_scores(Diagnosis())


def test_dollars_in_names_are_no_formulas(xy, tmp_path):
    ax = embedding(xy, pd.Series(["$\\nonsense{$", "a $ b"] * 20, name="$x$ \\frac"))
    ax.figure.savefig(tmp_path / "figure.png")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["\\$\\nonsense{\\$", "a \\$ b"]
