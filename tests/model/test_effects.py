import anndata as ad
import numpy as np
import pandas as pd
import pytest

import omicvae as ov
from omicvae._core import DataError, NotSupportedError, SettingError

from .conftest import FAST

LIKELIHOODS = ("nb", "zinb", "poisson", "gaussian", "student_t", "bernoulli")
N, G, AFFECTED = 640, 40, 8


def cells(likelihood, seed=0, *, size=1.0):
    """Eight donors, four a group, and two treatments within each; the group moves eight genes, the treatment others."""
    rng = np.random.default_rng(seed)
    donor, treated = np.arange(N) % 8, rng.integers(0, 2, N)
    kind = rng.integers(0, 2, N)
    mean = rng.normal(0.5, 0.5, G) + rng.normal(0, 0.1, (8, G))[donor] + np.outer(kind, rng.normal(0, 1, G))
    mean[:, :AFFECTED] += size * np.where(donor >= 4, 1.0, 0.0)[:, None] * np.array([1, -1] * (AFFECTED // 2))
    mean[:, AFFECTED : 2 * AFFECTED] += size * treated[:, None] * np.array([1, -1] * (AFFECTED // 2))
    if likelihood in ("nb", "zinb", "poisson"):
        x = rng.poisson(3 * np.exp(mean))
    elif likelihood == "bernoulli":
        x = rng.random(mean.shape) < 1 / (1 + np.exp(-2 * mean))
    else:
        x = mean + rng.normal(0, 0.7, mean.shape)
    obs = pd.DataFrame(
        {
            "donor": pd.Categorical([f"d{d}" for d in donor]),
            "group": pd.Categorical(np.where(donor >= 4, "sick", "well")),
            "treatment": pd.Categorical(np.where(treated, "drug", "none")),
            "kind": pd.Categorical(np.where(kind, "T", "B")),
            "dose": treated * 2.0,
            "size": np.exp(rng.normal(0, 0.1, N)),
        },
        index=[f"cell{i}" for i in range(N)],
    )
    return ad.AnnData(x.astype(np.float32), obs=obs, var=pd.DataFrame(index=[f"g{g}" for g in range(G)]))


def fit(adata, likelihood="nb", *, epochs=8, settings=None, **setup):
    ov.CVAE.setup_anndata(adata, **setup)
    model = ov.CVAE(adata, likelihood, 3, n_hidden=16, **(settings or {}))
    model.train(**{**FAST, "max_epochs": epochs, "batch_size": 64})
    return model


@pytest.fixture(scope="module")
def model():
    return fit(cells("nb"), batch_key="treatment")


TRUE = {f"g{g}" for g in range(AFFECTED)}
TREATED = {f"g{g}" for g in range(AFFECTED, 2 * AFFECTED)}


def hits(result):
    frame = result.to_frame()
    return set(frame.index[frame["q"] <= 0.05])


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_a_group_that_the_model_does_not_know_is_found_between_donors(likelihood):
    result = fit(cells(likelihood), likelihood).effects("group", "donor", groups=["sick", "well"], n_permutations=5)
    assert len(hits(result) & TRUE) >= 6
    assert len(hits(result) - TRUE) <= 2
    assert result.test.n_replicates == (4, 4)
    assert not result.test.paired
    effect = result.to_frame()["effect"].reindex([f"g{g}" for g in range(AFFECTED)]).to_numpy()
    assert (np.sign(effect) == [1, -1] * (AFFECTED // 2)).all()
    if likelihood in ("gaussian", "student_t"):
        np.testing.assert_allclose(np.abs(effect), 1, atol=0.4)
    assert result.unit == {"gaussian": "data units", "student_t": "data units"}.get(
        likelihood, "difference of logits" if likelihood == "bernoulli" else "natural log fold change"
    )


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_a_covariate_of_the_model_is_compared_within_donors_beside_its_counterfactual(likelihood):
    trained = fit(cells(likelihood), likelihood, epochs=30, categorical_covariate_keys=["treatment"])
    result = trained.effects("treatment", "donor", groups=["drug", "none"], n_samples=3)
    assert result.test.paired
    assert len(hits(result) & TREATED) >= 7
    assert len(hits(result) - TREATED) <= 3
    frame = result.to_frame().loc[sorted(TREATED)]
    assert (np.sign(frame["model_effect"]) == np.sign(frame["effect"])).mean() >= 0.75
    assert len(result.null_hits) == 100


@pytest.mark.parametrize("settings", [{"prior": "vamp"}, {"prior": "conditional", "covariate_encoding": "embedding"}])
def test_priors_and_embeddings(settings):
    trained = fit(cells("nb"), settings=settings, batch_key="donor", continuous_covariate_keys=["dose"])
    assert len(hits(trained.effects("treatment", "donor", states="equal")) & TREATED) >= 7


def test_size_factors_are_the_exposure():
    adata = cells("poisson")
    adata.X = np.random.default_rng(0).poisson(adata.obs["size"].to_numpy()[:, None] * (adata.X + 1)).astype("float32")
    result = fit(adata, "poisson", size_factor_key="size").effects("group", "donor", groups=["sick", "well"])
    sizes = adata.obs["size"].groupby(adata.obs["donor"], observed=True).sum()
    sums = pd.DataFrame(adata.X, index=adata.obs["donor"]).groupby(level=0, observed=True).sum()
    rate = np.log(sums.div(sizes, axis=0)).to_numpy()
    expected = rate[4:].mean(0) - rate[:4].mean(0)
    np.testing.assert_allclose(result.effect_G, expected, atol=0.02)


def test_the_same_numbers_twice_and_for_any_minibatch(model):
    for replicate_key in ("donor", None):
        first, again, small = (
            model.effects("treatment", replicate_key, n_samples=2, seed=3.0, batch_size=size)
            for size in (None, None, 50)
        )
        pd.testing.assert_frame_equal(first.to_frame(), again.to_frame())
        pd.testing.assert_frame_equal(
            first.to_frame().loc[list(first.genes)], small.to_frame().loc[list(first.genes)], rtol=1e-3, atol=1e-5
        )


def test_without_replicates_there_is_no_claim(model):
    result = model.effects("group", n_samples=3)
    assert result.test is result.n_hits is result.null_hits is None
    assert not {"p", "q"} & set(result.to_frame().columns)
    assert "pseudo-replication" in str(result)
    frame = result.to_frame()
    assert (frame["lower"] <= frame["effect"]).all()
    sums = np.stack([model.adata.X[(model.adata.obs["group"] == g).to_numpy()].sum(0) for g in ("well", "sick")])
    shares = np.log(sums / sums.sum(1, keepdims=True))
    np.testing.assert_allclose(result.observed_effect_G, shares[0] - shares[1], atol=0.01)


def test_a_counterfactual_is_the_difference_of_two_decodings(model):
    result = model.effects("treatment", groups=("drug", "none"), n_samples=2, seed=5)
    logs = [
        np.log(
            model.get_normalized_expression(transform_batch=level, n_samples=1, return_numpy=True).astype(np.float64)
        ).mean(0)
        for level in ("drug", "none")
    ]
    np.testing.assert_allclose(result.effect_G, logs[0] - logs[1], atol=0.1)
    reverse = model.effects("treatment", groups=("none", "drug"), n_samples=2, seed=5)
    np.testing.assert_allclose(reverse.effect_G, -result.effect_G, atol=1e-6)


def test_a_numeric_covariate_is_decoded_at_two_values():
    trained = fit(cells("gaussian"), "gaussian", epochs=30, continuous_covariate_keys=["dose"])
    result = trained.effects("dose", groups=(2, 0.0), n_samples=2)
    assert set(result.to_frame().index[:6]) <= TREATED | TRUE
    assert result.compared.n_cells == N
    with pytest.raises(SettingError, match="two values"):
        trained.effects("dose")
    with pytest.raises(SettingError, match="cut it into two"):
        trained.effects("dose", "donor", groups=(2, 0))


def test_within_takes_part_of_the_cells_and_other_cells_may_be_given(model):
    some = model.effects("group", "donor", within={"kind": "T", "treatment": ["drug", "none"]}, n_permutations=0)
    assert some.compared.n_cells == (model.adata.obs["kind"] == "T").sum()
    other = cells("nb", seed=9)[:, ::-1].copy()
    result = model.effects("group", "donor", groups=["sick", "well"], adata=other, n_permutations=0)
    assert result.genes == model.schema.gene_names
    sums = pd.DataFrame(other.X, index=other.obs["donor"], columns=other.var_names).groupby(level=0, observed=True)
    np.testing.assert_allclose(result.mean_G, sums.mean().mean().reindex(result.genes), rtol=1e-5)


def test_text_says_hits_null_run_and_states(model):
    text = str(model.effects("group", "donor"))
    assert "4 against 4 replicates (donor)" in text
    assert "under permuted labels median" in text
    assert "34 runs" in text
    assert "of the hits hold in both ways" in text
    found, equal = (str(model.effects("treatment", "donor", n_samples=2, states=s)) for s in ("as_found", "equal"))
    assert "the model takes no part" in found
    assert "at equal latent states" in equal
    lonely = model.effects("group", "donor", within={"donor": ["d0", "d1", "d4", "d5"]}, n_permutations=0)
    assert "no labels were permuted, so there is nothing to hold them against" in str(lonely)
    assert "permuted labels" not in str(lonely)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"groupby": "gruop"}, DataError, "Did you mean 'group'"),
        ({"groupby": "donor"}, SettingError, "has 8 levels here; pass groups="),
        ({"groups": ("sick", "ill")}, SettingError, "no level 'ill'. Its levels: 'sick', 'well'"),
        ({"groups": ("sick", "sick")}, SettingError, "twice"),
        ({"groups": "sick"}, SettingError, "two levels"),
        ({"within": "kind"}, SettingError, "within must be a mapping"),
        ({"within": {"kind": "NK"}}, SettingError, "no level 'NK'"),
        ({"within": {"donor": ["d0", "d1"]}}, SettingError, "has 1 levels here"),
        ({"within": {"donor": ["d0"]}, "groups": ("sick", "well")}, DataError, "No cell of 'sick'"),
        ({"replicate_key": "patient"}, DataError, "no column 'patient'"),
        ({"replicate_key": None, "states": "equal"}, SettingError, "name a replicate_key"),
        ({"states": "both"}, SettingError, "'equal', 'as_found'"),
        ({"fdr": 2}, SettingError, "fdr must be from 0 to 1"),
        ({"n_samples": 1}, SettingError, "at least 2"),
    ],
)
def test_what_cannot_be_done_is_said(model, arguments, error, message):
    with pytest.raises(error, match=message):
        model.effects(**{"groupby": "group", "replicate_key": "donor", **arguments})


def test_a_single_replicate_in_both_groups_is_said_how_to_leave_out(model):
    adata = model.adata.copy()
    adata.obs["group"] = np.where(np.arange(N) == 0, "sick", adata.obs["group"])  # a cell of d0, which is well
    with pytest.raises(DataError, match=r"1 of them with cells in both groups.*leave it out by within="):
        model.effects("group", "donor", adata=adata)
    rest = [f"d{d}" for d in range(1, 8)]
    assert model.effects("group", "donor", adata=adata, within={"donor": rest}).test.n_replicates == (3, 4)


def test_a_single_gene():
    adata = cells("poisson")[:, :1].copy()
    adata.X += 1
    result = fit(adata, "poisson").effects("group", "donor", n_permutations=3)  # each cell's library is this gene
    assert result.n_hits == 0
    np.testing.assert_allclose(result.effect_G, 0, atol=1e-6)


def test_it_needs_training():
    with pytest.raises(NotSupportedError, match="needs a trained model"):
        ov.CVAE(cells("nb"), "nb", 2).effects("group")


def test_figures(model):
    tested, said = model.effects("group", "donor"), model.effects("group", n_samples=2)
    ax = ov.pl.effects(tested)
    assert ax.get_ylabel() == "−log₁₀ p"
    assert ax.get_legend().get_texts()[0].get_text() == f"{tested.n_hits} hits; permuted labels: 0"
    assert len(ax.texts) == 8
    assert ov.pl.effects(tested, against="mean", n_names=0).get_xlabel() == "mean of a cell"
    assert ov.pl.effects(said).get_ylabel() == "natural log fold change"
    with pytest.raises(SettingError, match="against="):
        ov.pl.effects(said, against="p")


def test_differential_expression_of_other_cells(model, tmp_path):
    other = cells("nb", seed=9)
    settings = {"groupby": "group", "group1": "sick", "silent": True, "mode": "change"}
    table, shuffled = (model.differential_expression(a, **settings) for a in (other, other[:, ::-1].copy()))
    pd.testing.assert_frame_equal(table, shuffled)
    assert list(table.columns) == list(model.differential_expression(**settings).columns)
    fresh = {"raw_mean1": other.X[(other.obs["group"] == "sick").to_numpy()].mean(0)}
    np.testing.assert_allclose(table["raw_mean1"].reindex(other.var_names), fresh["raw_mean1"], rtol=1e-5)
    other.write_h5ad(tmp_path / "other.h5ad")
    on_disk = ad.read_h5ad(tmp_path / "other.h5ad", backed="r")
    pd.testing.assert_frame_equal(table, model.differential_expression(on_disk, **settings))
    with pytest.raises(DataError, match="gene"):
        model.differential_expression(other[:, :20].copy(), **settings)
    other.write_h5ad(tmp_path / "other.h5ad")
    backed = ad.read_h5ad(tmp_path / "other.h5ad", backed="r")
    pd.testing.assert_frame_equal(table, model.differential_expression(backed, **settings))
