import json
import logging
from dataclasses import asdict

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from omicvae._core import DataError
from omicvae.data import CategoricalLevels, ContinuousScaling, obs_column
from omicvae.data.covariates import R_INTEGER_NA, numeric_column, size_factor_column


def series(values, **kwargs):
    return pd.Series(values, index=[f"cell{i}" for i in range(len(values))], **kwargs)


def levels(values, **kwargs):
    return CategoricalLevels.register("site", series(values, **kwargs))


@pytest.mark.parametrize(
    ("values", "expected", "kind"),
    [
        (["b", "a", "b"], ("a", "b"), "str"),
        ([10, 9, 10], (9, 10), "int"),
        (np.array([2, 1], dtype=np.int8), (1, 2), "int"),
        ([2.5, 1.0], (1.0, 2.5), "float"),
        ([True, False], (False, True), "bool"),
        (pd.Categorical([10, 9], categories=[11, 10, 9]), (9, 10), "int"),
        (pd.array([2, 1], dtype="Int64"), (1, 2), "int"),
        (pd.array(["x", "a"], dtype="string"), ("a", "x"), "str"),
        (pd.Series(["x", 1], dtype=object), ("1", "x"), "str"),
        (pd.Series([True, 2], dtype=object), ("2", "True"), "str"),
        (pd.Series([1, 2.5], dtype=object), (1.0, 2.5), "float"),
        (pd.to_datetime(["2024-01-02", "2024-01-01"]), ("2024-01-01 00:00:00", "2024-01-02 00:00:00"), "str"),
    ],
    ids=str,
)
def test_levels_are_sorted_and_keep_their_type(values, expected, kind):
    found = levels(np.asarray(values, dtype=object) if isinstance(values, pd.Series) else values)
    assert (found.levels, found.kind) == (expected, kind)
    assert [type(level) for level in found.levels] == [type(level) for level in expected]
    assert CategoricalLevels(**json.loads(json.dumps(asdict(found)))) == found


def test_order_of_categories_has_no_effect():
    values = ["b", "a", "c", "a"]
    one = series(pd.Categorical(values, categories=["a", "b", "c"]))
    other = series(pd.Categorical(values, categories=["c", "unused", "b", "a"], ordered=True))
    registered = CategoricalLevels.register("site", one)
    assert registered == CategoricalLevels.register("site", other)
    assert registered.encode(one).tolist() == registered.encode(other).tolist() == [1, 0, 2, 0]


@pytest.mark.parametrize("gap", [None, np.nan, pd.NA], ids=str)
@pytest.mark.parametrize("categorical", [False, True])
def test_missing_levels(gap, categorical):
    column = series(pd.Series(["a", gap, "b", gap], dtype="category" if categorical else object).to_numpy(dtype=object))
    column = column.astype("category") if categorical else column
    message = r"obs\['site'\] is missing in 2 of 4 cells \('cell1', 'cell3'\).*fillna\('missing'\)"
    with pytest.raises(DataError, match=message):
        CategoricalLevels.register("site", column)
    registered = CategoricalLevels.register("site", column, allow_missing=True)
    assert registered.levels == ("a", "b")
    assert registered.encode(column, allow_missing=True).tolist() == [0, -1, 1, -1]
    with pytest.raises(DataError, match=message):
        registered.encode(column)


def test_the_fix_for_missing_levels_works():
    column = series(pd.Categorical(["a", None])).astype(object).fillna("missing")
    assert CategoricalLevels.register("site", column).levels == ("a", "missing")


def test_labels_may_be_missing_altogether():
    found = CategoricalLevels.register("label", series([None, None]), allow_missing=True)
    assert found.levels == ()
    assert found.encode(series([None]), allow_missing=True).tolist() == [-1]


@pytest.mark.parametrize(
    ("known", "given"),
    [
        ([1, 2], ["1", "2"]),
        (["1", "2"], [1, 2]),
        ([1, 2], [1.0, 2.0]),
        ([1.0, 2.0], [1, 2]),
        ([1.0, 2.0], ["1", "2.0"]),
        (["1.0", "2.0"], [1, 2]),
        ([0.5, 1.5], ["0.50", "1.5"]),
        ([True, False], ["TRUE", "FALSE"]),
        (["True", "False"], [True, False]),
        (["TRUE", "FALSE"], [True, False]),
    ],
    ids=str,
)
def test_levels_match_across_types(known, given):
    registered = levels(known)
    assert registered.encode(series(given)).tolist() == registered.encode(series(known)).tolist()
    assert registered.code(given[0]) == registered.levels.index(known[0])


@pytest.mark.parametrize(
    ("known", "given"),
    [
        (["1.1", "2"], "1.10"),
        (["1"], "1.0"),
        (["T cell"], "t cell"),
        ([12], "1_2"),
        ([1], "01"),
        ([1], True),
        (["1", "1.0"], 1.00001),
        ([1.5], "x"),
    ],
    ids=str,
)
def test_what_only_resembles_a_level_does_not_match(known, given):
    with pytest.raises(DataError, match="1 unknown level"):
        levels(known).encode(series([given]))


def test_unseen_levels_are_explained():
    registered = levels([1, 2])
    message = (
        r"(?s)obs\['site'\] has 2 unknown levels: 'x', 'y' "
        r"\(known levels are of type int, these of type str\)\. Known levels: 1, 2.*unseen="
    )
    with pytest.raises(DataError, match=message):
        registered.encode(series(["1", "x", "y", "x"]))


def test_unseen_levels_may_take_a_known_one():
    registered = levels(["a", "b"])
    assert registered.encode(series(["b", "new", "a"]), unseen="b").tolist() == [1, 1, 0]
    assert registered.encode(series(["b", "a"]), unseen="nonsense").tolist() == [1, 0]
    with pytest.raises(DataError, match="unseen='c' is not one of them"):
        registered.encode(series(["new"]), unseen="c")
    assert levels([1, 2]).encode(series([3]), unseen="2").tolist() == [1]


@pytest.mark.parametrize("kind", [np.int32, np.float64])
def test_missing_integers_of_r_are_refused(kind):
    column = series(np.array([1, R_INTEGER_NA, 2], dtype=kind))
    for register in (CategoricalLevels.register, numeric_column):
        with pytest.raises(DataError, match=r"'site'.*-2147483648, which is R's missing integer"):
            register("site", column)


def test_the_text_na_is_pointed_out(caplog):
    with caplog.at_level(logging.WARNING, "omicvae"):
        levels(["NA", "a"])
    assert "R's missing value" in caplog.text


def test_five_names_are_shown_and_an_ellipsis_for_the_rest():
    for n, shown in ((5, r"'cell3', 'cell4'\)"), (6, r"'cell3', 'cell4', …\)")):
        with pytest.raises(DataError, match=rf"missing in {n} of {n} cells \('cell0', 'cell1', 'cell2', {shown}"):
            levels([None] * n)
    message = r"has 1 unknown level: 'x' \(.*\)\. Known levels: 0, 1, .*, 18, 19, …\. Rename"
    with pytest.raises(DataError, match=message):
        levels(list(range(21))).encode(series(["x"]))
    with pytest.raises(DataError, match=r"Known levels: 0, .*, 19\. Rename"):
        levels(list(range(20))).encode(series([99]))
    with pytest.raises(DataError, match=r"values such as 'a', 'b', 'c', …\)\. Use pandas"):
        numeric_column("age", series(["a", "b", "c", "d"]))


def test_levels_of_the_same_type_need_no_remark_on_types():
    with pytest.raises(DataError, match=r"unknown level: 'c'\. Known levels: 'a', 'b'\."):
        levels(["a", "b"]).encode(series(["c"]))


def test_a_form_that_two_levels_share_matches_neither():
    registered = levels(["1", "1.0", "2"])
    assert [registered.code(value) for value in ("1", "1.0", 2, 2.0, 1, 1.0)] == [0, 1, 2, 2, 0, 1]
    assert levels(["1.0", "1.00"]).code(1) is None
    assert levels([2**53, 2**53 + 1]).code(str(2**53 + 1)) == 1
    assert levels([1.5, 2.0]).code("2") == 1
    assert levels([0.5]).code("5e-1") == levels([100.0]).code("1e2") == levels([-3]).code("-3.") == 0


def test_types_that_share_a_name_are_refused():
    with pytest.raises(DataError, match="mixes types"):
        levels(np.array([1, "1"], dtype=object))


@pytest.mark.parametrize(
    "values",
    [[1, 2], [1.0, 2.0], [True, False], pd.array([1, 2], dtype="Int64"), np.array([1, 2.0], dtype=object)],
    ids=repr,
)
def test_numeric_columns(values):
    found = numeric_column("age", series(values))
    assert found.dtype == np.float64
    assert found.tolist() == [float(value) for value in values]


@pytest.mark.parametrize("values", [["a", "b"], ["1", "2"], pd.Categorical([1, 2]), [1j, 2j]], ids=repr)
def test_text_is_no_continuous_covariate(values):
    with pytest.raises(DataError, match=r"obs\['age'\] is not numeric .*pandas.to_numeric.*categorical covariate"):
        numeric_column("age", series(values))


@pytest.mark.parametrize("values", [[1.0, np.nan, np.inf], pd.array([1, None, None], dtype="Int64")], ids=repr)
def test_gaps_in_continuous_covariates_name_the_rows(values):
    with pytest.raises(DataError, match=r"obs\['age'\] is missing or infinite in 2 of 3 cells \('cell1', 'cell2'\)"):
        numeric_column("age", series(values))


def test_size_factors_are_positive():
    assert size_factor_column("s", series([0.5, 2])).tolist() == [0.5, 2]
    with pytest.raises(DataError, match="but are -1 or the like in 1 of 2"):
        size_factor_column("s", series([1.0, -1.0]))
    with pytest.raises(DataError, match=r"must be positive, but are 0 or the like in 2 of 3 cells \('cell1'"):
        size_factor_column("s", series([1.0, 0.0, -1.0]))
    with pytest.raises(DataError, match="missing or infinite in 1 of 2"):
        size_factor_column("s", series([1.0, np.nan]))


def test_size_factors_of_another_scale(caplog):
    with pytest.raises(DataError, match=r"must be from 1e-09 to 1e\+09, but are 1e\+300 or the like in 1 of 2 cells"):
        size_factor_column("s", series([1.0, 1e300]))
    with pytest.raises(DataError, match="but are 1e-12 or the like"):
        size_factor_column("s", series([1.0, 1e-12]))
    trained = (0.4, 3.0)
    assert size_factor_column("s", series([0.1, 20.0]), trained).tolist() == [0.1, 20.0]
    with pytest.raises(DataError, match=r"from 0.004 to 300, but are 5000 .* of training, 0.4 to 3 there"):
        size_factor_column("s", series([1.0, 5000.0]), trained)
    assert not caplog.records
    assert size_factor_column("s", series([3000.0, 9000.0])).tolist() == [3000.0, 9000.0]
    assert "median 6000 and should lie near 1: take adata.obs['s'] / adata.obs['s'].mean()" in caplog.text


def test_scaling(caplog):
    scaling = ContinuousScaling.fit("age", np.array([1.0, 3.0]))
    assert (scaling.mean, scaling.sd) == (2, 1)
    # differences that are rounding errors do not become units
    assert ContinuousScaling.fit("age", np.array([-1e6, -1e6 - 1e-9])).sd == pytest.approx(1e-6)
    assert ContinuousScaling.fit("age", np.array([0.0, 1e-9])).sd == pytest.approx(5e-10)
    assert ContinuousScaling(**json.loads(json.dumps(asdict(scaling)))) == scaling
    with caplog.at_level(logging.INFO, "omicvae"):
        constant = ContinuousScaling.fit("age", np.full(7, 0.1))
    assert (constant.mean, constant.sd) == (0.1, 1)
    assert "'age' is constant (0.1)" in caplog.text


def test_a_column_is_found_by_name_and_a_wrong_name_lists_what_there_is():
    adata = ad.AnnData(obs=pd.DataFrame({"age": [1.0, 2.0], "batch": ["a", "b"]}, index=["x", "y"]))
    assert obs_column(adata, "age").tolist() == [1.0, 2.0]
    with pytest.raises(DataError, match=r"no column 'aeg'\. Did you mean 'age'\? Columns: 'age', 'batch'\."):
        obs_column(adata, "aeg")
    with pytest.raises(DataError, match=r"no column 'donor'\. Columns: 'age', 'batch'\."):
        obs_column(adata, "donor")
    with pytest.raises(DataError, match=r"no column 'age'\. Columns: none\."):
        obs_column(ad.AnnData(np.zeros((2, 1))), "age")


@pytest.mark.parametrize("value", [0.25, 0.0, -0.02, 0.43])
def test_values_in_or_near_the_training_range_pass(value):
    ContinuousScaling.fit("mito", np.array([0.0, 0.4])).check_range(np.array([0.2, value]), series([0, 1]).index)


@pytest.mark.parametrize("value", [0.5, -0.1, 1.19, -0.79])
def test_values_outside_of_the_training_range_warn(value):
    scaling = ContinuousScaling.fit("mito", np.array([0.0, 0.4]))
    with pytest.warns(UserWarning, match=r"obs\['mito'\].*range, 0 to 0.4, in 1 of 2 cells \('cell1'\)"):
        scaling.check_range(np.array([0.2, value]), series([0, 1]).index)


@pytest.mark.parametrize("value", [25.0, 1.21, -0.81, -3600.0])
def test_values_far_outside_are_an_error_with_the_limit_and_the_fix(value):
    scaling = ContinuousScaling.fit("mito", np.array([0.0, 0.4]))
    with pytest.raises(DataError, match=r"'cell1'.*limit 2.*per cent.*clip\(0, 0.4\)"):
        scaling.check_range(np.array([0.2, value]), series([0, 1]).index)


def test_a_constant_covariate_has_no_effect_in_other_cells():
    scaling = ContinuousScaling.fit("age", np.array([3.0, 1.0, 2.0])).refit(np.array([3.0, 3.0]))
    assert scaling.constant
    assert scaling.standardise(np.array([3.0, 4.0, 1e6])).tolist() == [0, 0, 0]
    with pytest.warns(UserWarning, match="was 3 in every training cell"):
        scaling.check_range(np.array([3.0, 1e6]), series([0, 1]).index)
    again = scaling.refit(np.array([1.0, 2.0]))
    assert (again.low, again.high, again.mean) == (1, 3, 1.5)


def test_the_range_is_that_of_all_cells():
    scaling = ContinuousScaling.fit("age", np.array([0.0, 1.0, 50.0])).refit(np.array([0.0, 1.0]))
    assert (scaling.low, scaling.high, scaling.sd) == (0, 50, 0.5)
