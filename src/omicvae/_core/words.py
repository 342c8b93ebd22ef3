"""Words of other programs for settings, and omicvae's for them; and the error for a setting that does not exist."""

import difflib
from collections.abc import Iterable

from omicvae._core.errors import SettingError

#: another program's word → what to write instead
FOREIGN = {
    "lr": "learning_rate",
    "epochs": "max_epochs",
    "n_epochs": "max_epochs",
    "max_steps": "max_epochs",
    "plan_kwargs": "learning_rate, weight_decay and optimizer themselves, and objective= for the KL",
    "gene_likelihood": "likelihood",
    "n_epochs_kl_warmup": 'objective={"warmup_epochs": ...}',
    "n_steps_kl_warmup": 'objective={"warmup_steps": ...}',
    "max_kl_weight": 'objective={"beta": ...}',
    "kl_weight": 'objective={"beta": ...}',
    "validation_size": "train_size, the share that trains",
    "use_gpu": "accelerator",
    "gradient_clip_val": "gradient_clip_norm",
    "use_batch_norm": "normalization",
    "use_layer_norm": "normalization",
    "latent_distribution": "prior",
    "round_counts": "it in CVAE.setup_anndata(adata, round_counts=True)",
}


def unknown_settings(owner: str, names: Iterable[str], known: Iterable[str]) -> SettingError:
    """Make the error for settings that ``owner`` does not have, with the right word where one is near."""
    words, known, hints = list(names), list(known), []
    for name in words:
        near = FOREIGN.get(name) or " or ".join(difflib.get_close_matches(name, known, n=2, cutoff=0.6))
        if near:
            hints.append(f" For {name} write {near}.")
    return SettingError(f"Unknown setting(s) {words} of {owner}.{''.join(hints)} Known: {', '.join(known)}.")
