"""Query mapping: what a model says of a reference's levels stays the same to the last bit; labels and coverage."""

import numpy as np
import pandas as pd
import pytest
import torch

from omicvae import CVAE
from omicvae._core import DataError, NotSupportedError

LIKELIHOODS = [
    ("nb", "gene"),
    ("nb", "gene-batch"),
    ("nb", "gene-cell"),
    ("zinb", "gene-batch"),
    ("poisson", None),
    ("gaussian", "gene"),
    ("gaussian", "gene-cell"),
    ("gaussian", "fixed"),
    ("bernoulli", None),
    ("student_t", None),
]


def as_support(adata, likelihood):
    """The counts in the form that a likelihood takes."""
    adata = adata.copy()
    if likelihood in ("gaussian", "student_t"):
        adata.X = adata.X.toarray() - 3.5
    elif likelihood == "bernoulli":
        adata.X = (adata.X.toarray() > 3).astype(np.float32)
    return adata


def query_of(adata, **levels):
    """Cells with other genes' order, and levels of which ``b0`` and ``a`` come before those of the reference."""
    query = adata[::2, ::-1].copy()
    query.obs = query.obs.astype({"batch": object, "donor": object})
    for key, values in levels.items():
        query.obs[key] = np.resize(values, query.n_obs)
    return query


def outputs(model, adata):
    """All that a model says of cells: posterior, bounds, likelihood's own draws, decoded expression, prior."""
    mean, variance = model.get_latent_representation(adata, return_dist=True)
    passes = model.state.passes("test", adata, None)
    prior = passes.prior_moments()
    sample = model.posterior_predictive_sample(adata, seed=1).todense()
    expression = model.get_normalized_expression(adata, return_numpy=True)
    return [mean, variance, *prior, model.get_elbo(adata, return_mean=False), expression, sample]


def check_identical(before, after):
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


def fitted(counts, setup=None, **settings):
    reference = counts.copy()
    keys = {
        "batch_key": "batch",
        "categorical_covariate_keys": ["donor"],
        "continuous_covariate_keys": ["age"],
    } | (setup or {})
    CVAE.setup_anndata(reference, **keys)
    model = CVAE(reference, **{"n_latent": 4, "n_hidden": 16, **settings})
    model.train(2, progress_bar=False)
    return model


def trained_by_surgery(model, reference, query, **training):
    """Map ``query``, hold that the reference's outputs stay, and return the mapped model."""
    before, weights = outputs(model, reference), {k: v.clone() for k, v in model.module.state_dict().items()}
    mapped = CVAE.load_query_data(query, model)
    check_identical(before, outputs(mapped, reference))
    start = mapped.get_latent_representation()
    mapped.train(2, progress_bar=False, **training)
    check_identical(before, outputs(mapped, reference))
    check_identical(before, outputs(model, reference))
    for name, value in weights.items():
        assert torch.equal(value, mapped.module.state_dict()[name]), name
        assert torch.equal(value, model.module.state_dict()[name]), name
    assert not np.array_equal(start, mapped.get_latent_representation())
    return mapped


@pytest.mark.parametrize(("likelihood", "dispersion"), LIKELIHOODS)
def test_every_likelihood(counts, likelihood, dispersion):
    adata = as_support(counts, likelihood)
    model = fitted(adata, likelihood=likelihood, dispersion=dispersion)
    trained_by_surgery(model, adata, query_of(adata, batch=["b0"], donor=["a", "y"]))


@pytest.mark.parametrize("prior", ["standard", "conditional", "vamp"])
@pytest.mark.parametrize(("encoding", "deep"), [("one_hot", True), ("embedding", False), ("embedding", True)])
def test_every_prior_and_encoding(counts, prior, encoding, deep):
    settings = {"prior": prior, "covariate_encoding": encoding, "deeply_inject_covariates": deep, "n_layers": 2}
    model = fitted(counts, **settings, n_pseudo_inputs=5)
    query = query_of(counts, batch=["b0", "b3", "b1"], donor=["a", "y", "zz", "x"])
    trained_by_surgery(model, counts, query)


@pytest.mark.parametrize("encoding", ["one_hot", "embedding"])
def test_reference_of_one_batch(counts, encoding):
    reference = counts[counts.obs["batch"] == "b1"].copy()
    model = fitted(
        reference, {"categorical_covariate_keys": None, "continuous_covariate_keys": None}, covariate_encoding=encoding
    )
    mapped = trained_by_surgery(model, reference, counts[counts.obs["batch"] == "b2"].copy())
    assert mapped.schema.categorical[0].levels == ("b1", "b2")


def test_saved_and_loaded(counts, tmp_path):
    model = fitted(counts, dispersion="gene-batch", prior="conditional")
    model.save(tmp_path / "reference")
    query = query_of(counts, batch=["b0", "b2"])
    mapped = CVAE.load_query_data(query, tmp_path / "reference")
    mapped.train(2, progress_bar=False)
    mapped.save(tmp_path / "query")
    again = CVAE.load(tmp_path / "query", adata=query)
    assert again.schema.added == {"batch": ("b0",)}
    check_identical(outputs(mapped, query), outputs(again, query))
    with pytest.raises(NotSupportedError, match="weights of the reference"):
        again.train(2, fresh=True)
    with pytest.raises(NotSupportedError, match="model of mapped cells"):
        CVAE.load_query_data(query, again)


def test_what_would_be_trained_for_nothing_is_refused(counts):
    model = fitted(counts, encode_covariates=False)
    mapped = CVAE.load_query_data(query_of(counts, batch=["b0"]), model)
    with pytest.raises(NotSupportedError, match="cannot move the latent"):
        mapped.train(2)
    with pytest.raises(NotSupportedError, match="nothing to train"):
        CVAE.load_query_data(query_of(counts), fitted(counts)).train(2)


def test_new_levels_of_another_type_are_refused(counts):
    counts.obs["batch"] = (counts.obs["batch"] == "b1").astype(int)
    model = fitted(counts)
    assert CVAE.load_query_data(query_of(counts, batch=[7]), model).schema.added == {"batch": (7,)}
    with pytest.raises(DataError, match="of type str"):
        CVAE.load_query_data(query_of(counts, batch=["new"]), model)


@pytest.fixture(scope="module")
def groups():
    """Four types in three batches, the fourth type in the last batch alone."""
    rng = np.random.default_rng(3)
    profile = rng.gamma(0.7, 3.0, (4, 60))
    batch = np.repeat(["r1", "r2", "q"], 250)
    types = np.where(batch == "q", rng.integers(0, 4, 750), rng.integers(0, 3, 750))
    effect = {name: rng.lognormal(0, 0.2, 60) for name in ("r1", "r2", "q")}
    x = rng.poisson(profile[types] * np.array([effect[b] for b in batch]))
    obs = pd.DataFrame({"batch": batch, "type": [f"t{t}" for t in types]}, index=[f"c{i}" for i in range(750)])
    import anndata as ad

    return ad.AnnData(x.astype(np.float32), obs=obs, var=pd.DataFrame(index=[f"g{g}" for g in range(60)]))


@pytest.fixture(scope="module")
def reference(groups):
    own = groups[groups.obs["batch"] != "q"].copy()
    CVAE.setup_anndata(own, batch_key="batch", labels_key="type")
    model = CVAE(own, n_latent=5, n_hidden=32)
    model.train(40, progress_bar=False)
    return model


def test_labels_and_verdict(groups, reference):
    query = groups[groups.obs["batch"] == "q"].copy()
    model = CVAE.load_query_data(query, reference)
    model.train(20, progress_bar=False)
    mapping = reference.map_query(query, query_model=model)
    table, new = mapping.to_frame(), (query.obs["type"] == "t3").to_numpy()
    assert (table["label"].astype(str) == query.obs["type"])[~new].mean() > 0.95
    assert mapping.verdict == "partly_covered"
    assert table["outside"][new].mean() > 0.9
    assert table["outside"][~new].mean() < 0.1
    assert table["confidence"][new].mean() < 0.2
    assert "in part" in str(mapping)
    known = query[~new].copy()
    covered = reference.map_query(known, query_model=model)
    assert (covered.verdict, covered.tone) == ("covered", "good")
    mapping.write(query)
    np.testing.assert_array_equal(query.obsm["X_omicvae"], mapping.mean_NK)
    assert query.obs["omicvae_label"].notna().all()
    with pytest.raises(DataError, match="other cells"):
        mapping.write(known)


def test_known_levels_need_no_training_and_missing_genes_are_counted(groups, reference):
    query = groups[groups.obs["batch"] == "r1", 6:].copy()
    with pytest.raises(DataError, match="missing in the data"):
        reference.map_query(query)
    mapping = reference.map_query(query, missing_genes="zero")
    again = reference.map_query(query, missing_genes="zero", batch_size=64)
    pd.testing.assert_frame_equal(mapping.to_frame(), again.to_frame(), rtol=1e-3, atol=1e-3)
    assert (mapping.n_missing, mapping.n_genes) == (6, 60)
    assert "loss by missing genes" in set(mapping.evidence["check"])
    assert mapping.verdict == "covered"


@pytest.mark.parametrize(("likelihood", "dispersion"), [x for x in LIKELIHOODS if x[1] in (None, "gene")])
def test_map_query_for_every_likelihood(counts, likelihood, dispersion):
    adata = as_support(counts, likelihood)
    model = fitted(adata, likelihood=likelihood, dispersion=dispersion)
    mapping = model.map_query(query_of(adata, batch=["b0"]), "label", training={"max_epochs": 2})
    table = mapping.to_frame()
    assert table[["confidence", "outside", "p_value"]].to_numpy().min() >= 0
    assert np.isfinite(mapping.coverage.distance_N).all()
    assert model.map_query(query_of(adata)).labels_N is None


def test_cells_that_lacked_genes_are_saved_and_loaded(counts, tmp_path):
    query = query_of(counts, batch=["b0"])[:, 2:].copy()
    mapped = CVAE.load_query_data(query, fitted(counts), missing_genes="zero")
    mapped.train(2, progress_bar=False)
    mapped.save(tmp_path / "query", save_anndata=True)
    for again in (CVAE.load(tmp_path / "query"), CVAE.load(tmp_path / "query", adata=query.copy())):
        np.testing.assert_array_equal(mapped.get_latent_representation(), again.get_latent_representation())
    query.X = query.X * 2
    with pytest.raises(DataError, match="missing in the data"):
        CVAE.load(tmp_path / "query", adata=query)


def test_two_runs_are_the_same_and_settings_reach_no_weight_of_the_reference(counts, tmp_path):
    model, query = fitted(counts), query_of(counts, batch=["b0"])
    adversary = {"adversary": {"covariates": ["batch"]}, "beta": 2.0}
    hard = {"learning_rate": 0.05, "weight_decay": 1.0, "ema_decay": 0.9, "objective": adversary}
    runs = []
    for folder in ("one", "other"):
        mapped = CVAE.load_query_data(query, model)
        mapped.train(2, progress_bar=False, checkpoint_dir=tmp_path / folder, **hard)
        runs.append({name: value.clone() for name, value in mapped.module.state_dict().items()})
        mapped.train(2, progress_bar=False, optimizer="adamw", weight_decay=1.0)
        assert all(torch.equal(value, mapped.module.state_dict()[k]) for k, value in model.module.state_dict().items())
    resumed = CVAE.load_query_data(query, model)
    resumed.train(resume_from=tmp_path / "one", progress_bar=False)
    runs.append(resumed.module.state_dict())
    for name, value in runs[0].items():
        assert torch.equal(value, runs[1][name]), name
        assert torch.equal(value, runs[2][name]), name


@pytest.mark.parametrize("settings", [{"prior": "vamp", "n_pseudo_inputs": 500}, {"prior": "conditional"}])
def test_a_loaded_model_is_frozen_as_before(counts, tmp_path, settings):
    """Loading fewer pseudo-inputs than were asked for makes new ones."""
    model, query = fitted(counts, **settings), query_of(counts, batch=["b0"])
    CVAE.load_query_data(query, model).save(tmp_path / "query")
    again = CVAE.load(tmp_path / "query", adata=query)
    again.train(2, progress_bar=False)
    now = again.module.state_dict()
    assert all(torch.equal(value, now[name]) for name, value in model.module.state_dict().items())


def test_discriminator_is_refused(counts):
    mapped = CVAE.load_query_data(query_of(counts, batch=["b0"]), fitted(counts))
    with pytest.raises(NotSupportedError, match="discriminator is weighed"):
        mapped.train(2, objective={"discriminator": {}})


def test_whole_numbers_as_floats_are_levels_of_a_reference_with_integers(counts):
    counts.obs["batch"] = (counts.obs["batch"] == "b1").astype(int)
    model = fitted(counts)
    added = CVAE.load_query_data(query_of(counts, batch=[7.0, 1.0]), model).schema.added["batch"]
    assert added == (7,)
    assert isinstance(added[0], int)
    with pytest.raises(DataError, match="of type float"):
        CVAE.load_query_data(query_of(counts, batch=[7.5]), model)


def test_mapping_in_inference_mode(counts):
    model = fitted(counts)
    with torch.inference_mode():
        mapped = CVAE.load_query_data(query_of(counts, batch=["b0"]), model)
    mapped.train(1, progress_bar=False)


def test_what_cannot_be_mapped_is_refused(counts):
    counts.obs["nothing"] = np.nan
    model, query = fitted(counts), query_of(counts, batch=["b0"])
    with pytest.raises(DataError, match=r"obs\['nothing'\] is missing everywhere"):
        model.map_query(query, "nothing")
    with pytest.raises(DataError, match="got a DataFrame"):
        model.map_query(query.to_df())
    mapped = CVAE.load_query_data(query, model)
    with pytest.raises(NotSupportedError, match="none of the mapped cells has trained"):
        mapped.diagnose()
    mapped.minify_adata()
    with pytest.raises(NotSupportedError, match="latents stand in the place"):
        CVAE.load_query_data(mapped.adata, model)


def test_backed_reference_without_some_genes(counts, tmp_path):
    import anndata as ad

    counts.write_h5ad(tmp_path / "reference.h5ad")
    on_disk = ad.read_h5ad(tmp_path / "reference.h5ad", backed="r")
    CVAE.setup_anndata(on_disk, batch_key="batch")
    model = CVAE(on_disk, n_latent=3, n_hidden=8)
    model.train(1, progress_bar=False)
    assert model.map_query(counts[:30, 2:].copy(), "label", missing_genes="zero").n_missing == 2
