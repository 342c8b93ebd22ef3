import numpy as np
import pytest

from omicvae._core.errors import DataError
from omicvae.analysis.stability import CKA_FLOOR, Fit, compare_fits

N, K, G = 300, 4, 40


def fits(noise, *, n=3, sound=True, probe=0.8, pca=0.7, flip=False):
    """Fits of one truth: rotated latents with some noise, effects with some noise."""
    rng = np.random.default_rng(0)
    latent_NK, effect_LG, made = rng.normal(size=(N, K)), rng.normal(size=(2, G)), []
    for seed in range(n):
        rotation = np.linalg.qr(rng.normal(size=(K, K)))[0]
        effects = effect_LG + noise * rng.normal(size=(2, G))
        made.append(
            Fit(
                seed=seed,
                verdict="healthy" if sound or seed else "collapsed",
                sound=sound or seed > 0,
                elbo=-10.0 - seed,
                latent_NK=latent_NK @ rotation * (1 + seed) + noise * (1 + seed) * rng.normal(size=(N, K)),
                effects_LG=-effects if flip and seed == 0 else effects,
                probe=probe[seed] if np.ndim(probe) else probe,
                probe_pca=pca,
            )
        )
    return made


def compared(made, labels="cell type"):
    names = [f"g{g}" for g in range(G)]
    return compare_fits(
        made, genes=names, contrasts=["a", "b"], effect="order of genes by effect of batch", labels=labels
    )


def test_fits_that_agree_are_relied_on():
    found = compared(fits(0.01))
    assert [one.reliable for one in found.agreements] == [True] * 3
    assert found.latent.lowest > 0.99
    assert found.latent.chance < 0.1
    assert found.neighbours.chance == pytest.approx(15 / (N - 1))
    said = found.headline
    assert "3 fits: 3 healthy." in said
    assert "Do not rely" not in said
    assert "cell type read from a draw (0.80 to 0.80; PCA 0.70)" in said
    assert "does not show that they are right" in said
    assert found.to_frame()["reliable"].all()


def test_fits_that_have_nothing_in_common_are_not():
    found = compared(fits(30.0))
    assert not any(one.reliable for one in found.agreements)
    assert found.latent.lowest == pytest.approx(found.latent.chance, abs=0.05)
    assert found.neighbours.lowest == pytest.approx(found.neighbours.chance, abs=0.03)
    said = found.headline
    assert "Rely on: cell type" in said
    assert said.index("Do not rely on: the latent as a whole") > said.index("Rely on: cell type")


def test_what_unsound_fits_agree_on_is_not_relied_on():
    found = compared(fits(0.01, sound=False))
    assert not found.sound
    assert "1 collapsed, 2 healthy" in found.headline
    assert "Rely on: " not in found.headline.replace("Do not rely on: ", "")
    assert "Mend the fits first" in found.headline


def test_one_fit_that_differs_is_enough():
    found = compared(fits(0.01, flip=True))
    assert found.effects.lowest < -0.9
    assert not found.effects.reliable
    assert not found.genes["one_sign"].any()
    assert compared(fits(0.01)).genes["one_sign"].mean() > 0.95


@pytest.mark.parametrize(("pca", "said"), [(0.8, "PCA 0.80, which does as well"), (0.9, "PCA 0.90, which does better")])
def test_a_simple_baseline_that_is_as_good_is_said(pca, said):
    assert said in compared(fits(0.01, pca=pca)).headline


def test_probes_that_lie_apart():
    found = compared(fits(0.01, probe=[0.8, 0.7, 0.8]))
    assert found.probe_spread == pytest.approx(0.1)
    assert "Do not rely on: cell type" in found.headline
    row = found.to_frame().set_index("check").loc["probe of cell type"]
    assert (row["lowest"], row["reliable"]) == (0.7, False)


def test_a_fit_that_is_not_finite_agrees_with_none():
    made = fits(0.01)
    made[1].latent_NK[3] = np.nan
    found = compared(made)
    assert np.isnan(found.latent.pairs_SS[0, 1])
    assert np.isfinite(found.latent.pairs_SS[0, 2])
    assert not found.latent.reliable
    assert np.isfinite(found.latent.chance)


def test_it_prints_and_needs_two():
    text = str(compared(fits(0.3), labels=""))
    assert max(map(len, text.splitlines())) <= 110
    assert "probe" not in text
    with pytest.raises(DataError, match="two fits or more, got 1"):
        compared(fits(0.1, n=1))
    assert 0 < CKA_FLOOR < 1
