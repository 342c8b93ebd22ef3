"""Where each rule of a fit begins, by measurements written down by hand; the engine that goes through the rules."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicvae.diagnostics import RULES, Measurements, Remedy, Rule, Structure, judge, ranked_remedies
from omicvae.diagnostics.decoder_use import DecoderUse
from omicvae.diagnostics.diagnosis import remarks_on
from omicvae.diagnostics.estimate import Estimate
from omicvae.diagnostics.excess_kl import ExcessKL
from omicvae.diagnostics.null_model import GainOverNull
from omicvae.diagnostics.prior_mismatch import PriorMismatch
from omicvae.diagnostics.probing import DRAW, MEANS, PCA, Leakage, Probes
from omicvae.diagnostics.usage import LatentUsage

RULE = {rule.name: rule for rule in RULES}
NAN = float("nan")
HALF = 1.9623  # half width of the 95 % interval of 1000 cells in standard errors


def estimate(mean, margin=1e-6):
    return Estimate(mean, margin / HALF, 1000)


def score(balanced_accuracy, **changes):
    known = {"balanced_accuracy": balanced_accuracy, "chance": 0.1, "macro_f1": 0.6, "accuracy": 0.7}
    return SimpleNamespace(**{**known, "majority_rate": 0.3, "left_out": (), **changes})


def probes(draw=0.75, reference=0.8, *, lost=None, permuted=0.15, fallback=False, given=False, gain=40.0, narrow=False):
    lost = (reference - draw, 0.01) if lost is None else lost
    scores = {title: (score(value), score(value)) for title, value in ((DRAW, draw), (MEANS, 0.9), (PCA, reference))}
    interval = SimpleNamespace(low=0.05, high=permuted)
    return Probes("type", scores, interval, estimate(*lost), gain, narrow, fallback, given)


def curves(**changes):
    finished = {
        **{"n_epochs": 40, "n_settled": 29, "settled": True, "n_non_finite": 0, "annealed": True},
        **{"reconstruction_end": 500.0, "reconstruction_best": 499.0, "still_improving": False},
        **{"improvement": (0.0, 0.1), "setback": NAN, "peak_rate": 0.01, "change": 200.0, "reconstruction_worst": NAN},
        "has_validation": True,
    }
    return SimpleNamespace(**{**finished, **changes})


def at(
    *,
    rate=12.0,
    n_active=5,
    cost=(300.0, 5.0),
    gain=(40.0, 5.0),
    gap=(NAN, NAN),
    distance=0.0,
    change=None,
    **changes,
):
    """Measurements of a healthy fit in ten dimensions with some changed."""
    mismatch = PriorMismatch(np.array([distance]), np.array([distance]))
    others = {
        **{"non_finite": {}, "curves": curves(), "null_nll": 550.0, "null_sd": 100.0, "n_cells": 1000},
        **{"planned_epochs": 40, "structure": None, "information": None, "probes": None, "umap": None},
        "leakage": Leakage({}),
    }
    return Measurements(
        usage=LatentUsage(estimate(rate), np.full(10, rate / 10), np.where(np.arange(10) < n_active, 0.5, 1e-4)),
        use=DecoderUse(estimate(*cost)),
        gain=GainOverNull(estimate(*gain), *gap),
        excess=ExcessKL(rate, gain[0], mismatch, {s: estimate(*e) for s, e in (change or {}).items()}),
        **{**others, **changes},
    )


EMPTY, FULL = Structure(1, 0.012, 0.011, 1e-5, 5, 700, 500), Structure(1, 0.05, 0.011, 1e-5, 5, 700, 500)
DEAD = {"rate": 0.6, "n_active": 0, "cost": (100.0, 5.0), "gain": (-1.0, 3.0)}
FAINT = {"rate": 0.6, "n_active": 3, "gain": (4.0, 5.0)}
BLOWN = {"reconstruction_end": 851.0, "reconstruction_best": 500.0}
BACK, SLOW = curves(setback=101.0), {"reconstruction_end": 600.0, "reconstruction_worst": 700.0}
RISES = {"still_improving": True, "improvement": (10.1, 0.1)}


@pytest.mark.parametrize(
    ("rule", "holds", "not_quite"),
    [
        ("diverged", {"non_finite": {"mean_NK": 1}}, {}),
        ("diverged", {"gain": (0.0, 5.0), "curves": curves(n_non_finite=1)}, {"gain": (0.0, 5.0)}),
        ("diverged", {"gain": (0.0, 5.0), "curves": curves(n_non_finite=1)}, {"curves": curves(n_non_finite=1)}),
        # ended three SDs above the z-free decoder and above its own best
        (
            "diverged",
            {"gain": (-1.0, 5.0), "curves": curves(**BLOWN)},
            {"gain": (-1.0, 5.0), "curves": curves(**{**BLOWN, "reconstruction_end": 849.0})},
        ),
        (
            "diverged",
            {"gain": (-1.0, 5.0), "curves": curves(**BLOWN)},
            {"gain": (-1.0, 5.0), "curves": curves(**{**BLOWN, "reconstruction_best": 552.0})},
        ),
        # explains nothing: new cells three SDs worse than without a latent, and training cells no better
        (
            "diverged",
            {"gain": (-313.0, 5.0), "curves": curves(reconstruction_end=551.0)},
            {"gain": (-311.0, 5.0), "curves": curves(reconstruction_end=551.0)},
        ),
        (
            "diverged",
            {"gain": (-313.0, 5.0), "curves": curves(reconstruction_end=550.0)},
            {"gain": (-313.0, 5.0), "curves": curves(reconstruction_end=549.0)},
        ),
        (
            "diverged",
            {"gain": (-313.0, 5.0), "curves": curves(reconstruction_end=551.0, n_epochs=5)},
            {"gain": (-313.0, 5.0), "curves": curves(reconstruction_end=551.0, n_epochs=4)},
        ),
        ("diverged", {"gain": (-313.0, 5.0), "curves": curves(reconstruction_end=NAN, n_epochs=0)}, {}),
        # where cells hold no structure, a blow-up also loses a part of all that training won: 2 % of 20,000 nats
        (
            "diverged",
            {"gain": (-1.0, 5.0), "structure": EMPTY, "curves": curves(**BLOWN, change=15_000)},
            {"gain": (-1.0, 5.0), "structure": EMPTY, "curves": curves(**BLOWN, change=20_000)},
        ),
        # what equal cells differ by is nothing, and so is what is worth less than one fact
        (
            "diverged",
            {"gain": (-12.7, 5.0), "null_sd": 0.0, "curves": curves(reconstruction_end=551.0)},
            {
                "gain": (-12.6, 5.0),
                "null_sd": 0.0,
                "curves": curves(reconstruction_end=551.0, reconstruction_best=551.0),
            },
        ),
        # a smooth curve that ends where the kept weights stand has not ended; weights that are worse are another matter
        (
            "diverged",
            {"gain": (-400.0, 5.0), "curves": curves(**SLOW, setback=101.0)},
            {"gain": (-400.0, 5.0), "curves": curves(**SLOW, setback=99.0)},
        ),
        (
            "diverged",
            {"gain": (-463.0, 5.0), "curves": curves(**SLOW, setback=0.0)},
            {"gain": (-461.0, 5.0), "curves": curves(**SLOW, setback=0.0)},
        ),
        # thrown back by more than cells differ, and ill
        ("unstable", {"curves": BACK, "gain": (-1.0, 5.0)}, {"curves": BACK}),
        ("unstable", {"curves": BACK, "gain": (-1.0, 5.0)}, {"curves": curves(setback=99.0), "gain": (-1.0, 5.0)}),
        ("unstable", {"curves": curves(peak_rate=0.05), "gain": (-1.0, 5.0)}, {"curves": curves(peak_rate=0.05)}),
        ("unstable", {"curves": curves(peak_rate=0.05), **DEAD}, {"curves": curves(peak_rate=0.049), **DEAD}),
        ("unstable", {"curves": BACK, "distance": 7.0}, {"curves": BACK, "distance": 5.0}),
        ("unstable", {"curves": BACK, "probes": probes(draw=0.5)}, {"curves": BACK, "probes": probes()}),
        ("no_signal", {"structure": EMPTY, "gain": (4.0, 5.0)}, {"structure": FULL, "gain": (4.0, 5.0)}),
        ("no_signal", {"structure": EMPTY, "gain": (4.0, 5.0)}, {"structure": None, "gain": (4.0, 5.0)}),
        ("no_signal", {"structure": EMPTY, "gain": (4.0, 5.0)}, {"structure": EMPTY}),
        ("no_signal", {"structure": EMPTY, "cost": (0.0, 1.0)}, {"structure": EMPTY}),
        (
            "no_signal",
            {"structure": EMPTY, "gain": (4.0, 5.0), "probes": probes(reference=0.1)},
            {"structure": EMPTY, "gain": (4.0, 5.0), "probes": probes()},
        ),
        (
            "no_signal",
            {"structure": EMPTY, "gain": (4.0, 5.0), "probes": probes(fallback=True)},
            {"structure": EMPTY, "gain": (4.0, 5.0), "probes": probes(given=True)},
        ),
        ("undertrained", {"curves": curves(settled=False)}, {"curves": curves(settled=None)}),
        ("undertrained", {"curves": curves(settled=False)}, {"curves": curves(settled=False, n_epochs=0)}),
        ("undertrained", {"curves": curves(settled=False)}, {"curves": curves(settled=False), "non_finite": {"x": 1}}),
        (
            "undertrained",
            {"gain": (4.0, 5.0), "curves": curves(n_settled=4)},
            {"gain": (4.0, 5.0), "curves": curves(n_settled=5)},
        ),
        ("undertrained", {"gain": (4.0, 5.0), "curves": curves(n_settled=4)}, {"curves": curves(n_settled=4)}),
        # a quarter of the gain under an annealed rate, a tenth at a constant one, and never less than one fact
        ("undertrained", {"curves": curves(**RISES)}, {"curves": curves(**{**RISES, "improvement": (9.9, 0.1)})}),
        ("undertrained", {"curves": curves(**RISES)}, {"curves": curves(**{**RISES, "still_improving": False})}),
        (
            "undertrained",
            {"curves": curves(**{**RISES, "improvement": (4.1, 0.1), "annealed": False})},
            {"curves": curves(**{**RISES, "improvement": (3.9, 0.1), "annealed": False})},
        ),
        (
            "undertrained",
            {"gain": (1.0, 0.1), "curves": curves(**{**RISES, "improvement": (0.70, 0.1)})},
            {"gain": (1.0, 0.1), "curves": curves(**{**RISES, "improvement": (0.69, 0.1)})},
        ),
        (
            "undertrained",
            {"gain": (-40.0, 5.0), "gap": (20.0, 1.0), "n_active": 0, "curves": curves(**RISES)},
            {"gain": (-40.0, 5.0), "gap": (20.0, 1.0), "n_active": 0},
        ),
        # a silent encoder whose weight has settled polishes its means alone
        (
            "undertrained",
            {"rate": 0.04, "n_active": 0, "curves": curves(**RISES, n_settled=4)},
            {"rate": 0.04, "n_active": 0, "curves": curves(**RISES, n_settled=5)},
        ),
        # lags behind the null model: a shortfall of 18 beyond the error, less than half of it memorised
        ("undertrained", {"gain": (-30.0, 17.0)}, {"gain": (-30.0, 19.0)}),
        ("undertrained", {"gain": (-30.0, 5.0), "gap": (8.9, 1.0)}, {"gain": (-30.0, 5.0), "gap": (9.1, 1.0)}),
        ("undertrained", {"gain": (-30.0, 5.0), "n_active": 1}, {"gain": (-30.0, 5.0), "n_active": 0}),
        ("collapsed", {"rate": 0.04, "n_active": 0}, {"rate": 0.04, "n_active": 1}),
        ("collapsed", {"rate": 0.04, "n_active": 0}, {"rate": 0.06, "n_active": 0}),
        ("collapsed", {"cost": (0.3, 1.0)}, {"cost": (0.4, 1.0)}),  # below two facts, 1.386 nats
        ("collapsed", {"rate": 20.0, "cost": (0.3, 1.0)}, {"rate": 21.0, "cost": (0.3, 1.0)}),  # names a billion cells
        ("collapsed", DEAD, {**DEAD, "n_active": 1}),
        ("collapsed", DEAD, {**DEAD, "rate": 0.7}),
        ("collapsed", DEAD, {**DEAD, "gain": (3.1, 3.0)}),
        (
            "collapsed",
            {**DEAD, "gain": (3.1, 3.0), "cost": (1.3, 1.0)},
            {**DEAD, "gain": (3.1, 3.0), "cost": (1.4, 1.0)},
        ),
        ("collapsed", {**FAINT, "probes": probes(draw=0.15)}, {**FAINT, "probes": probes(draw=0.16)}),
        ("collapsed", {**FAINT, "probes": probes(draw=0.15)}, {**FAINT, "probes": probes(draw=0.15, given=True)}),
        ("collapsed", {**FAINT, "probes": probes(draw=0.15)}, {**FAINT, "rate": 0.7, "probes": probes(draw=0.15)}),
        ("collapsed", {**FAINT, "probes": probes(draw=0.15)}, FAINT),
        (
            "collapsed",
            {**FAINT, "probes": probes(draw=0.15)},
            {**FAINT, "gain": (6.0, 5.0), "probes": probes(draw=0.15)},
        ),
        # 70 % of what PCA has above chance, 0.1 + 0.49, and a loss above 0.1
        ("partial_collapse", {"probes": probes(draw=0.58)}, {"probes": probes(draw=0.60)}),
        ("partial_collapse", {"probes": probes(draw=0.58)}, {"probes": probes(draw=0.58, lost=(0.22, 0.23))}),
        ("partial_collapse", {"probes": probes(0.2, 0.31)}, {"probes": probes(0.2, 0.31, lost=(0.099, 0.01))}),
        ("partial_collapse", {"probes": probes(draw=0.58)}, {"probes": probes(draw=0.58, narrow=True)}),
        ("partial_collapse", {"probes": probes(draw=0.58)}, {"probes": probes(draw=0.58, given=True)}),
        ("partial_collapse", {"probes": probes(0.44, fallback=True)}, {"probes": probes(0.46, fallback=True)}),
        (
            "partial_collapse",
            {"probes": probes(0.44, fallback=True, gain=0.1)},
            {"probes": probes(0.44, fallback=True, gain=0.0)},
        ),
        (
            "partial_collapse",
            {"probes": probes(draw=0.58), "gain": (-1.0, 5.0), "gap": (3.0, 1.0)},
            {"probes": probes(draw=0.58), "gain": (-1.0, 5.0), "gap": (3.2, 1.0)},
        ),
        (
            "partial_collapse",
            {"probes": probes(draw=0.58), "gain": (1.0, 0.1), "gap": (3.2, 1.0)},
            {"probes": probes(draw=0.58), "gain": (0.0, 0.1), "gap": (3.2, 1.0)},
        ),
        # narrower posteriors would surely win more than the rate
        ("partial_collapse", {"change": {4.0: (14.0, 1.9)}}, {"change": {4.0: (14.0, 2.1)}}),
        ("partial_collapse", {"change": {4.0: (14.0, 1.9)}}, {"change": {0.25: (14.0, 1.9)}}),
        (
            "partial_collapse",
            {"change": {4.0: (14.0, 1.9)}, "gain": (-13.9, 1.0)},
            {"change": {4.0: (14.0, 1.9)}, "gain": (-14.1, 1.0)},
        ),
        ("partial_collapse", FAINT, {**FAINT, "rate": 0.7}),
        ("partial_collapse", FAINT, {**FAINT, "gain": (5.1, 5.0)}),
        ("overfit", {"gain": (0.0, 5.0)}, {"gain": (0.1, 5.0)}),
        ("overfit", {"gap": (122.0, 1.0)}, {"gap": (120.0, 1.0)}),
        ("overfit", {"gain": (0.1, 5.0), "gap": (3.1, 1.0)}, {"gain": (0.1, 5.0), "gap": (3.0, 1.0)}),
        # as ill off on the cells that were learnt from: no memory
        ("overfit", {"gain": (-30.0, 5.0), "gap": (15.1, 1.0)}, {"gain": (-30.0, 5.0), "gap": (14.9, 1.0)}),
        ("overfit", {"gain": (-1.0, 5.0)}, {"gain": (-1.0, 5.0), "cost": (0.3, 1.0)}),
        # codes that lie far from the prior and carry over are dear and no memory: there the rate counts as well
        ("overfit", {"gain": (-1.0, 5.0)}, {"gain": (-1.0, 5.0), "distance": 7.0}),
        ("overfit", {"gain": (-7.1, 5.0), "distance": 7.0}, {"gain": (-6.9, 5.0), "distance": 7.0}),
        (
            "overfit",
            {"gain": (-1.0, 5.0), "distance": 7.0, "gap": (34.1, 1.0)},
            {"gain": (-1.0, 5.0), "distance": 7.0, "gap": (33.9, 1.0)},
        ),
        # a fifth of the rate that eats a fifth of what the latent would earn, or half of the rate
        ("under_regularised", {"gain": (9.0, 1.0), "distance": 2.41}, {"gain": (9.0, 1.0), "distance": 2.39}),
        ("under_regularised", {"gain": (12.0, 1.0), "distance": 3.01}, {"gain": (12.0, 1.0), "distance": 2.99}),
        ("under_regularised", {"distance": 6.01}, {"distance": 5.99}),
        ("under_regularised", {"rate": 1.0, "distance": 0.70}, {"rate": 1.0, "distance": 0.69}),
        (
            "under_regularised",
            {"distance": 3.0, "change": {0.25: (3.01, 3.0)}},
            {"distance": 3.0, "change": {0.25: (3.01, 3.02)}},
        ),
        ("under_regularised", {"change": {0.5: (1.0, 0.1), 0.25: (6.1, 0.1)}}, {"change": {4.0: (6.1, 0.1)}}),
        # a KL that does not pay, and nothing else to say why
        ("under_regularised", {"gain": (-1.0, 5.0), "gap": (0.0, 1.0)}, {"gain": (-1.0, 5.0), "gap": (0.6, 1.0)}),
        ("under_regularised", {"rate": 21.0, "cost": (0.3, 1.0)}, {"rate": 20.0, "cost": (0.3, 1.0)}),
    ],
)
def test_where_each_rule_begins(rule, holds, not_quite):
    assert RULE[rule].condition(at(**holds))
    assert not RULE[rule].condition(at(**not_quite))


def test_a_healthy_fit_meets_no_other_rule():
    assert [rule.name for rule in RULES if rule.condition(at())] == ["healthy"]
    assert [rule.name for rule in RULES if rule.condition(at(probes=probes()))] == ["healthy"]


def test_with_nothing_known_but_that_it_is_not_finite_no_other_rule_holds():
    nothing = at(
        **{"rate": NAN, "n_active": 0, "cost": (NAN, NAN), "gain": (NAN, NAN), "distance": NAN},
        non_finite={"mean_NK": 2, "nll_W": 3},
        curves=curves(settled=False),
    )
    assert [rule.name for rule in RULES if rule.condition(nothing)] == ["diverged", "healthy"]
    assert RULE["diverged"].headline(nothing).endswith("not finite (2 entries of mean_NK, 3 entries of nll_W).")
    assert [row.check for row in nothing.rows()][:2] == ["non-finite entries", "epochs after warm-up"]
    rows = {row.check: row for row in nothing.rows()}
    assert (rows["non-finite entries"].value, rows["non-finite entries"].passed) == (5, False)
    assert (rows["still improving"].threshold, rows["still improving"].passed) == ("", None)


@pytest.mark.parametrize(
    ("rule", "changes", "said"),
    [
        ("diverged", {"curves": curves(n_non_finite=3), "gain": (-2.0, 1.0)}, "3 epochs were not finite.*gain -2 nats"),
        ("diverged", {"gain": (-2.0, 1.0)}, "reconstruction blew up"),
        ("unstable", {"curves": curves(setback=228.4), "gain": (-43.0, 5.0)}, "rose 228 nats .*KL 12, gain .* -43\\)"),
        ("unstable", {"curves": curves(peak_rate=3.0), **DEAD}, "at a learning rate of 3 a step"),
        ("no_signal", {"structure": EMPTY, "rate": 0.02}, "\\(it is 0.02 nats\\)"),
        ("collapsed", {"cost": (0.3, 1.0)}, "the decoder ignores it: KL 12 nats"),
        ("collapsed", DEAD, "carries next to nothing: KL 0.6 nats"),
        ("under_regularised", {"gain": (-1.0, 5.0)}, "12 nats of KL do not pay .* -1, a permuted z costs 3e\\+02\\)"),
        ("under_regularised", {"distance": 900.0}, "of 12 nats of KL, 12 buy nothing \\(12 for lying far .*, 0 for"),
        ("no_signal", {"structure": EMPTY}, "700 cells: .* explain 1.20% .* 1.10%.*it is 12 nats"),
        ("undertrained", {"curves": curves(settled=False)}, "after 40 epochs the KL weight had not reached"),
        ("undertrained", {"curves": curves(**RISES)}, "about 10.1 nats per cell, and the latent has won \\+40 so far"),
        ("undertrained", {"gain": (-30.0, 5.0)}, "worse than a decoder without one \\(gain -30 nats"),
        ("undertrained", {}, "40 epochs are too few"),
        ("collapsed", {"n_active": 2}, "KL 12 nats per cell, 2 of 10 .* costs 3e\\+02 nats, .* \\+40\\.$"),
        ("collapsed", {"probes": probes(draw=0.1)}, "predicts type no better than chance"),
        ("partial_collapse", {"probes": probes(draw=0.5)}, "balanced accuracy 0.50, PCA .* 0.80"),
        ("partial_collapse", {"change": {4.0: (14.0, 1.0)}}, "holds 12 nats .* raise the bound by 14"),
        ("partial_collapse", {}, "nearly collapsed.*gain \\+40 nats"),
        ("overfit", {"gap": (90.0, 1.0)}, "\\+40 nats, train–validation gap 90 nats per cell"),
        ("overfit", {}, "gap unknown"),
        (
            "under_regularised",
            {"distance": 3.0, "change": {0.25: (4.0, 1.0)}},
            "of 12 nats of KL, 7 buy nothing \\(3 for lying far .*, 4 for posteriors .* \\+40\\)",
        ),
        ("healthy", {}, "KL 12 nats per cell in 5 of 10 dimensions, .* \\+40 nats\\.$"),
        ("healthy", {"probes": probes()}, "predicts type with balanced accuracy 0.75 \\(PCA 0.80\\)"),
    ],
)
def test_headlines_hold_the_numbers(rule, changes, said):
    assert re.search(said, RULE[rule].headline(at(**changes)))


FRESH = {"fresh": True}
NARROW = {"n_hidden": 32, "n_hidden_decoder": None, "dropout_rate": 0.5}
ELBO = {"beta": 1.0, "schedule": "linear", "reduction": "sum"}
RAMP, SLOWER = (ELBO, FRESH, {}), (ELBO, {**FRESH, "learning_rate": 1e-3, "gradient_clip_norm": 10.0}, {})
LONGER, DEARER = (ELBO, {**FRESH, "max_epochs": 80}, {}), ({**ELBO, "beta": 2.0}, FRESH, {})
FREE_BITS, LOWER = ({**ELBO, "free_bits": 0.5}, FRESH, {}), ({**ELBO, "beta": 0.3}, FRESH, {})
HALF_AS_WIDE, SMALLEST = (ELBO, {}, {"n_latent": 5, **NARROW}), (ELBO, {}, {"n_latent": 2, **NARROW})


@pytest.mark.parametrize(
    ("rule", "changes", "offered"),
    [
        ("diverged", {}, [SLOWER, RAMP]),
        ("unstable", {}, [SLOWER, RAMP]),
        ("undertrained", {}, [RAMP, LONGER, SLOWER]),
        ("collapsed", {}, [RAMP, FREE_BITS, LOWER, ({"beta": 1.0, "target_rate": 5.0}, FRESH, {})]),
        ("partial_collapse", {}, [RAMP, LOWER, LONGER, FREE_BITS]),
        ("partial_collapse", {"n_cells": 199}, [RAMP, HALF_AS_WIDE, SMALLEST, LOWER, LONGER, FREE_BITS]),
        ("overfit", {"n_cells": 200}, [RAMP, HALF_AS_WIDE, DEARER]),
        ("overfit", {"n_cells": 199}, [RAMP, HALF_AS_WIDE, SMALLEST, DEARER]),
        ("under_regularised", {"planned_epochs": 30}, [RAMP, LONGER, DEARER]),
        ("under_regularised", {"curves": curves(n_epochs=3)}, [RAMP, LONGER, DEARER]),
        (
            "under_regularised",
            {"curves": curves(n_epochs=3), "planned_epochs": None},
            [RAMP, (ELBO, {**FRESH, "max_epochs": 20}, {}), DEARER],
        ),
        ("healthy", {}, []),
        ("no_signal", {}, []),
        ("healthy", {"leakage": Leakage({"donor": score(0.54)})}, []),
        (
            "healthy",
            {"leakage": Leakage({"donor": score(0.56), "batch": score(0.2)})},
            [({**ELBO, "adversary": {"covariates": ["donor"]}}, FRESH, {})],
        ),
    ],
)
def test_remedies_of_each_rule(rule, changes, offered):
    given = RULE[rule].remedies(at(**changes))
    assert [(dict(r.settings), dict(r.arguments), dict(r.model)) for r in given] == offered


def test_the_evidence_of_a_fit_by_hand():
    measured = at(
        **{"gap": (30.0, 2.0), "distance": 1.5, "change": {0.25: (-1.0, 0.5), 4.0: (-2.0, 0.5)}},
        **{"structure": FULL, "probes": probes(), "leakage": Leakage({"donor": score(0.3)})},
    )
    rows = [(row.check, float(f"{row.value:.3g}"), row.threshold, row.passed) for row in measured.rows()]
    assert rows == [
        ("non-finite entries", 0, "= 0", True),
        ("structure of the data", 0.05, "> 0.0132", True),
        ("rate (KL)", 12, "≥ 0.69", True),
        ("active units", 5, "≥ 1", True),
        ("decoder use", 300, "≥ 1.39", True),
        ("gain over null", 40, "> 5.00", True),
        ("train–validation gap", 30, "≤ 122.00", True),
        ("rate that buys nothing", 1.5, "≤ 6.00", True),
        ("prior mismatch", 1.5, "", None),
        ("posterior too narrow", -1, "", None),
        ("posterior too wide", -2, "≤ 12.00", True),
        ("probe of type, draw", 0.75, "> 0.15", True),
        ("probe of type, share of PCA kept", 0.929, "≥ 0.70", True),
        ("probe of type, standardised means", 0.9, "", None),
        ("probe of type, PCA", 0.8, "", None),
        ("leakage of donor", 0.3, "", None),
        ("epochs after warm-up", 29, "≥ 1", True),
        ("still improving", 0, "≤ 10.00", True),
        ("epochs not finite", 0, "= 0", True),
    ]
    assert "epochs after warm-up" not in [row.check for row in at(curves=curves(n_epochs=0)).rows()]


@pytest.mark.parametrize(
    ("check", "passes", "fails"),
    [
        ("rate (KL)", {"rate": 0.70}, {"rate": 0.69}),
        ("active units", {"n_active": 1}, {"n_active": 0}),
        ("decoder use", {"cost": (1.39, 1.38)}, {"cost": (1.38, 0.1)}),
        ("decoder use", {"cost": (1.39, 1.38)}, {"cost": (1.39, 1.40)}),
        ("gain over null", {"gain": (5.1, 5.0)}, {"gain": (4.9, 5.0)}),
        ("gain over null", {"gain": (0.70, 0.1)}, {"gain": (0.69, 0.1)}),
        ("train–validation gap", {"gap": (122.0, 2.0)}, {"gap": (122.1, 2.0)}),
        ("train–validation gap", {"gain": (0.0, 1.0), "gap": (4.0, 2.0)}, {"gain": (0.0, 1.0), "gap": (4.1, 2.0)}),
        ("rate that buys nothing", {"distance": 5.9}, {"distance": 6.1}),
        ("posterior too wide", {"change": {2.0: (14.0, 2.1)}}, {"change": {2.0: (14.0, 1.9)}}),
        ("structure of the data", {"structure": FULL}, {"structure": EMPTY}),
        ("still improving", {}, {"curves": curves(**RISES)}),
        ("epochs not finite", {}, {"curves": curves(n_non_finite=1)}),
        ("epochs after warm-up", {}, {"curves": curves(settled=False)}),
        ("probe of type, draw", {"probes": probes(draw=0.151)}, {"probes": probes(draw=0.15)}),
        ("probe of type, share of PCA kept", {"probes": probes()}, {"probes": probes(draw=0.5)}),
    ],
)
def test_where_each_row_of_the_evidence_fails(check, passes, fails):
    for changes, passed in ((passes, True), (fails, False)):
        (row,) = (row for row in at(**changes).rows() if row.check == check)
        assert row.passed is passed


def test_labels_that_the_model_was_given_are_shown_and_not_judged():
    rows = {row.check: row for row in at(probes=probes(given=True)).rows()}
    assert [rows[f"probe of type, {name}"].passed for name in ("draw", "share of PCA kept")] == [None, None]
    assert probes(reference=0.1).retained == 1.0


def test_which_verdicts_are_sound_and_how_grave_they_are():
    sound = {rule.name: rule.tone for rule in RULES if rule.sound}
    assert sound == {"no_signal": "warning", "healthy": "good"}
    grave = {rule.name for rule in RULES if rule.tone == "bad"}
    assert grave == {"diverged", "unstable", "collapsed", "partial_collapse", "overfit", "under_regularised"}
    assert [rule.name for rule in RULES if rule.alone] == ["undecided", "healthy"]


# headlines and their numbers

sizes = st.floats(-3, 4).map(lambda power: 10.0**power)
signed = st.one_of(st.just(0.0), sizes, sizes.map(lambda size: -size))
pairs = st.tuples(signed, sizes)
some_curves = st.builds(
    curves,
    n_epochs=st.sampled_from([0, 1, 40]),
    n_settled=st.integers(0, 40),
    settled=st.sampled_from([None, True, False]),
    n_non_finite=st.sampled_from([0, 0, 0, 2]),
    reconstruction_best=st.just(500.0),
    reconstruction_end=sizes.map(lambda rise: 500 + rise),
    still_improving=st.booleans(),
    improvement=pairs,
    setback=st.one_of(st.just(NAN), st.just(0.0), sizes),
    peak_rate=st.one_of(st.just(NAN), st.just(0.01), sizes),
    change=sizes,
)
some_probes = st.builds(probes, st.floats(0, 1), st.floats(0, 1), gain=signed, narrow=st.booleans())
some_measurements = st.builds(
    at,
    rate=sizes,
    n_active=st.integers(0, 10),
    cost=pairs,
    gain=pairs,
    gap=st.one_of(st.just((NAN, NAN)), pairs),
    distance=sizes,
    change=st.one_of(st.none(), st.fixed_dictionaries({0.25: pairs, 4.0: pairs})),
    curves=some_curves,
    null_sd=st.one_of(st.just(0.0), sizes),
    structure=st.sampled_from([None, EMPTY, FULL]),
    probes=st.one_of(st.none(), some_probes),
)


@given(some_measurements)
def test_no_remark_contradicts_the_numbers(m):
    said = " ".join(remarks_on(m))
    if "it is no collapse" in said:
        assert m.gain.gain.mean > 0
        assert m.use.cost.low > 0
        assert not m.probes.at_chance


def test_labels_read_below_pca_are_remarked_on_where_the_latent_is_used():
    below = probes(draw=0.5, narrow=True)
    assert any("it is no collapse" in remark for remark in remarks_on(at(probes=below)))
    for ill in ({"gain": (-448.0, 2.0)}, {"cost": (0.0, 0.1)}):
        assert not any("it is no collapse" in remark for remark in remarks_on(at(probes=below, **ill)))


@given(some_measurements)
def test_no_headline_contradicts_its_own_numbers(m):
    judged = judge(RULES, m)
    said = {rule.name: rule.headline(m) for rule in judged}
    rate, gain, gap, curves = m.usage.rate.mean, m.gain.gain.mean, m.gain.gap, m.curves
    assert not any("nan" in headline for headline in said.values())
    if {"diverged", "unstable"} & set(said):  # what they leave behind is no finding of its own
        assert set(said) <= {judged[0].name, "no_signal"}
    if "diverged" in said:
        assert gain <= 0
        far = [curves.reconstruction_end - max(m.null_nll, curves.reconstruction_best), -gain - rate]
        assert curves.n_non_finite > 0 or max(far) > max(3 * m.null_sd, np.log(2))
    if "unstable" in said:
        least = max(m.null_sd, np.log(2), 0.02 * curves.change if m.structure is EMPTY else 0.0)
        assert curves.setback > m.null_sd or curves.peak_rate >= 0.05
        assert ("rose" in said["unstable"]) == (curves.setback > least or curves.peak_rate < 0.05)
    if "no_signal" in said:
        assert "KL near 0 is right" in said["no_signal"]
        assert ("buy nothing" in said["no_signal"]) == (rate >= np.log(2))
    if "undertrained" in said:
        assert curves.n_epochs > 0
    if "collapsed" in said:
        assert rate < 21
        assert m.usage.n_active == 0 or rate < np.log(2) or m.use.ignored
        assert ("ignores it" in said["collapsed"]) == (m.use.ignored and rate >= np.log(2))
    if "partial_collapse" in said and "predicts" in said["partial_collapse"]:
        assert m.probes.draw.balanced_accuracy < m.probes.reference.balanced_accuracy
    if "overfit" in said:
        assert not gap <= 0
        assert ("most of" in said["overfit"]) == (gain > 0)
    if "buy nothing" in said.get("under_regularised", ""):
        kl, *bought = map(float, re.findall(r"[\d.]+(?:e[+-]\d+)?", said["under_regularised"])[:4])
        assert max(bought) <= 1.01 * kl
        assert bought[0] == pytest.approx(bought[1] + bought[2], rel=0.02)
    if "healthy" in said:
        assert set(said) == {"healthy"}
        assert gain > 0
        assert rate >= np.log(2) or not m.gain.negligible
        assert " in 0 of" not in said["healthy"]


# the engine


def rules(*holding):
    names = {"bad": {"implies": ("worse",)}, "worse": {}, "other": {}, "healthy": {"alone": True}}
    return [
        Rule(name, lambda _, name=name: name in (*holding, "healthy"), str, **changes)
        for name, changes in names.items()
    ]


@pytest.mark.parametrize(
    ("holding", "judged"),
    [
        ((), ["healthy"]),
        (("bad", "worse", "other"), ["bad", "other"]),
        (("worse", "other"), ["worse", "other"]),
        (("other",), ["other"]),
    ],
)
def test_the_first_rule_that_holds_is_the_verdict_and_others_are_findings_unless_implied(holding, judged):
    assert [rule.name for rule in judge(rules(*holding), None)] == judged


def test_remedies_are_those_of_the_verdict_then_of_findings_each_once():
    one, two, three = (Remedy({"beta": beta}, "why") for beta in (1.0, 2.0, 3.0))
    first = Rule("first", bool, str, lambda _: (two, one))
    second = Rule("second", bool, str, lambda _: (three, two))
    assert ranked_remedies([first, second], None) == (two, one, three)
    assert ranked_remedies([Rule("sound", bool, str), second], None) == ()
    # a run that asked for another KL gets another remedy
    stays = Remedy({"beta": 2.0}, "why", kl_stays=True)
    assert ranked_remedies([first, Rule("third", bool, str, lambda _: (stays,))], None) == (two, one, stays)
