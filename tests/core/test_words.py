"""Other programs' words get ours, and whose setting it is."""

import pytest

import omicvae as ov
from omicvae._core import SettingError
from omicvae.objective import Objective

HINTS = [
    ("lr", "train()", "For lr write learning_rate."),
    ("lr", "CVAE()", r"For lr write learning_rate, an argument of train\(\)."),
    ("lr", "objective", r"For lr write learning_rate, an argument of train\(\)."),
    ("lr", "discriminator", "For lr write learning_rate."),
    ("kl_weight", "objective", "For kl_weight write beta."),
    ("kl_weight", "train()", r'For kl_weight write objective=\{"beta": ...\}.'),
    ("kl_weight", "CVAE()", r'For kl_weight write objective=\{"beta": ...\}, an argument of train\(\).'),
    ("gene_likelihood", "train()", r"For gene_likelihood write likelihood, an argument of CVAE\(\)."),
    ("n_epochs_kl_warmup", "objective", "For n_epochs_kl_warmup write warmup_epochs."),
]


@pytest.mark.parametrize(("word", "place", "hint"), HINTS)
def test_a_hint_names_a_setting_of_its_owner(word, place, hint, counts):
    calls = {
        "CVAE()": lambda: ov.CVAE(counts, **{word: 1}),
        "train()": lambda: ov.CVAE(counts, "nb").train(**{word: 1}),
        "objective": lambda: Objective.parse({word: 1}),
        "discriminator": lambda: Objective.parse({"discriminator": {word: 1}}),
    }
    with pytest.raises(SettingError, match=f"{hint} Known"):
        calls[place]()
