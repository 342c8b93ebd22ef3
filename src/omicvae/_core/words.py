"""Words of other programs for settings, and omicvae's for them; and the error for a setting that does not exist."""

import difflib
from collections.abc import Iterable

from omicvae._core.errors import SettingError

#: another program's word → whose setting it is here, and what to write instead
FOREIGN = {
    "lr": ("train()", "learning_rate"),
    "epochs": ("train()", "max_epochs"),
    "n_epochs": ("train()", "max_epochs"),
    "max_steps": ("train()", "max_epochs"),
    "plan_kwargs": ("train()", "learning_rate, weight_decay and optimizer themselves, and objective= for the KL"),
    "gene_likelihood": ("CVAE()", "likelihood"),
    "n_epochs_kl_warmup": ("Objective", "warmup_epochs"),
    "n_steps_kl_warmup": ("Objective", "warmup_steps"),
    "max_kl_weight": ("Objective", "beta"),
    "kl_weight": ("Objective", "beta"),
    "validation_size": ("train()", "train_size, the share that trains"),
    "use_gpu": ("train()", "accelerator"),
    "gradient_clip_val": ("train()", "gradient_clip_norm"),
    "use_batch_norm": ("CVAE()", "normalization"),
    "use_layer_norm": ("CVAE()", "normalization"),
    "latent_distribution": ("CVAE()", "prior"),
}
#: arguments of the set-up, which are easily taken for those of the model
SETUP_KEYS = (
    "layer batch_key labels_key categorical_covariate_keys continuous_covariate_keys size_factor_key round_counts"
)
FOREIGN |= {name: ("CVAE.setup_anndata()", name) for name in SETUP_KEYS.split()}


def unknown_settings(owner: str, names: Iterable[str], known: Iterable[str]) -> SettingError:
    """Make the error for settings that ``owner`` does not have, with the right word where one is near."""
    words, known, hints = list(names), list(known), []
    for name in words:
        near = _translated(name, owner, known) or " or ".join(difflib.get_close_matches(name, known, n=2, cutoff=0.6))
        if near:
            hints.append(f" For {name} write {near}.")
    return SettingError(f"Unknown setting(s) {words} of {owner}.{''.join(hints)} Known: {', '.join(known)}.")


def _translated(name: str, owner: str, known: list[str]) -> str:
    """Return our word for a foreign one, with whose it is where it is not the owner's; empty where there is none."""
    whose, word = FOREIGN.get(name, (owner, ""))
    if whose == owner or word in known:
        return word
    if whose == "Objective":
        whose, word = "train()", f'objective={{"{word}": ...}}'
    return word if whose == owner else f"{word}, an argument of {whose}"
