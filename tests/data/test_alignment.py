import logging

import pytest

from omicvae._core import DataError, SettingError
from omicvae.data import align_genes

GENES = [f"g{i}" for i in range(10)]


def test_order_is_that_of_the_model(caplog):
    caplog.set_level(logging.INFO, "omicvae")
    assert align_genes(GENES, GENES).tolist() == list(range(10))
    assert align_genes(GENES, GENES[::-1]).tolist() == list(range(10))[::-1]
    assert not caplog.records


def test_extra_genes_are_ignored_with_a_line(caplog):
    with caplog.at_level(logging.INFO, "omicvae"):
        assert align_genes(["b", "a"], ["x", "a", "y", "b"]).tolist() == [3, 1]
        assert align_genes(["b", "a"], ["a", "x", "b"]).tolist() == [2, 0]
    assert [record.getMessage() for record in caplog.records] == [
        "2 genes are not among the model's 2 genes and are ignored.",
        "1 genes are not among the model's 2 genes and are ignored.",
    ]


def test_missing_genes_are_listed_and_counted():
    with pytest.raises(DataError, match=r"2 of the model's 10 genes are missing.*'g8', 'g9'.*missing_genes='zero'"):
        align_genes(GENES, GENES[:8])


def test_the_share_is_that_of_the_model(caplog):
    limits = r"allowed up to 20%, here 10\.0%"
    with pytest.raises(DataError, match=limits):
        align_genes(GENES, [*GENES[1:], "x", "y", "z"])
    with caplog.at_level(logging.INFO, "omicvae"):
        align_genes(GENES, GENES[2:], missing="zero")
    assert [record.getMessage() for record in caplog.records] == ["2 missing genes are filled with zeros."]
    assert align_genes(GENES, GENES).tolist() == list(range(10))


def test_long_lists_are_cut():
    with pytest.raises(DataError, match=r"9 of the model's 10 .*'g1', 'g2', 'g3', 'g4', 'g5', …"):
        align_genes(GENES, GENES[:1], missing="zero")


def test_filling_has_a_limit():
    assert align_genes(GENES, GENES[2:], missing="zero").tolist() == [-1, -1, 0, 1, 2, 3, 4, 5, 6, 7]
    with pytest.raises(DataError, match=r"3 of the model's 10 genes.*30%, more than the limit of 20%"):
        align_genes(GENES, GENES[3:], missing="zero")


def test_another_kind_of_name_is_recognised():
    with pytest.raises(DataError, match=r"None was found: var_names look like 'ENSG1', 'ENSG2'.*same kind"):
        align_genes(GENES, ["ENSG1", "ENSG2"], missing="zero")
    with pytest.raises(DataError, match=r"look like 'ENSG0', 'ENSG1', 'ENSG2', …\. Use"):
        align_genes(GENES, [f"ENSG{i}" for i in range(4)])


def test_repeated_genes_matter_only_if_needed():
    with pytest.raises(DataError, match=r"1 genes of the model occur more than once .*'g3'.*var_names_make_unique"):
        align_genes(GENES, [*GENES, "g3"])
    assert align_genes(GENES, ["x", *GENES, "x"]).tolist() == list(range(1, 11))


def test_settings():
    with pytest.raises(SettingError, match=r"missing_genes='mean' is not known\. Choose one of: 'error', 'zero'"):
        align_genes(GENES, GENES, missing="mean")
