"""What other programs call their curves, and the names that omicvae gives them."""

import re
from dataclasses import dataclass
from functools import cache

EPOCH, STEP = "epoch", "step"

#: quantity → names that it goes by, best first: of two in one log the earlier is read. Compared in lower case,
#: words joined by "_", without the words in NOISE and those that name the cells (TRAIN, VALIDATION).
ALIASES: dict[str, tuple[str, ...]] = {
    "loss": ("loss", "total_loss", "loss_total", "objective", "cost", "aeloss"),
    # a sum over features ("nll") before an average of the same ("rec"), which latent diffusion logs beside it
    "recon": (
        *("recon", "nll", "nll_loss", "neg_log_likelihood", "negative_log_likelihood"),
        *("recon_loss", "reconstruction_loss", "reconstruction", "reconst_loss", "reconstruct_loss", "recons_loss"),
        *("rec_loss", "rec", "recons", "reconst", "r_loss", "reconstruction_error", "recon_error", "distortion"),
        *("bce", "bce_loss", "mse", "mse_loss", "loss_recon", "loss_rec", "loss_reconstruction", "likelihood_loss"),
    ),
    "kl": (
        *("kl", "kl_local", "kl_loss", "kld", "kld_loss", "kl_div", "kl_divergence", "kl_divergence_loss", "dkl"),
        *("d_kl", "kl_z", "kl_divergence_z", "kl_divergence_local", "loss_kl", "loss_kld", "kl_term", "latent_loss"),
        *("rate",),
    ),
    "elbo": ("elbo", "elbo_loss"),
    "minus_elbo": ("minus_elbo", "neg_elbo", "negative_elbo", "nelbo", "elbo_negative", "elbo_neg"),
    "kl_weight": (
        *("kl_weight", "weight_kl", "beta", "kl_beta", "beta_kl", "kl_coeff", "kl_coef", "kl_lambda", "lambda_kl"),
        *("kld_weight", "kl_annealing", "kl_anneal", "kl_scale", "kl_loss_weight", "annealing_factor"),
    ),
    "lr": ("lr", "learning_rate"),
    "discriminator_loss": ("discriminator_loss", "disc_loss", "d_loss", "discloss", "loss_d", "loss_disc"),
    "generator_loss": ("generator_loss", "gen_loss", "g_loss", "genloss", "loss_g", "loss_gen"),
    "adversary_loss": ("adversary_loss", "adversarial_loss", "adv_loss"),
}
#: Settings of the run: they belong to no set of cells.
WITHOUT_CELLS = ("kl_weight", "lr")

TRAIN = frozenset({"train", "training", "tr", "trn"})
#: Word → rank: where a log has validation and test cells, the former are read.
VALIDATION = {"validation": 0, "val": 0, "valid": 0, "dev": 0, "eval": 1, "evaluation": 1, "heldout": 1, "test": 2}
MEANS = frozenset({"avg", "average", "mean", "running"})
NOISE = MEANS | {"vae", "model", "metric", "metrics", "set", "batch", "per"}
CLOCKS = {
    **dict.fromkeys(("epoch", "epochs", "ep"), EPOCH),
    **dict.fromkeys(("step", "steps", "global_step", "iteration", "iterations", "iter"), STEP),
}

_QUANTITIES = {alias: (name, rank) for name, aliases in ALIASES.items() for rank, alias in enumerate(aliases)}


@dataclass(frozen=True, slots=True)
class LogName:
    """What a name in a log stands for.

    Attributes
    ----------
    column
        ``"loss_train"``, ``"kl_weight"``, ``"epoch"`` and so on.
    rank
        Of two names for one column the one with the lower rank is read.
    cells
        ``"train"`` or ``"validation"`` if the name says so, else None (training cells are then meant).
    """

    column: str
    rank: tuple[int, int, int]
    cells: str | None = None


@cache
def log_name(name: str) -> LogName | None:
    """Read one name; None where it is not known."""
    words = _words(name)
    whole = "_".join(words)
    if whole in CLOCKS:
        return LogName(CLOCKS[whole], (0, 0, 0))
    if words[:1] == ["lr"]:
        # Lightning's LearningRateMonitor appends the optimiser: "lr-Adam/pg1"
        return LogName("lr", (0, 0, len(words)))
    held_out = [VALIDATION[word] for word in words if word in VALIDATION]
    cells = "validation" if held_out else "train" if TRAIN & set(words) else None
    kept = [word for word in words if word not in TRAIN and word not in VALIDATION and word not in NOISE]
    bare = [word for word in kept if word not in (EPOCH, STEP)]
    if "_".join(bare) not in _QUANTITIES:
        return None
    quantity, alias = _QUANTITIES["_".join(bare)]
    # "loss_epoch" and "average loss" are means over an epoch, "loss_step" is of one batch
    granularity = 2 if STEP in kept else 0 if EPOCH in kept or MEANS & set(words) else 1
    column = quantity if quantity in WITHOUT_CELLS else f"{quantity}_{cells or 'train'}"
    return LogName(column, (min(held_out, default=0), alias, granularity), cells)


def column_of(name: object) -> str:
    """Column that a name stands for; empty where it is not known."""
    known = log_name(str(name))
    return "" if known is None else known.column


def _words(name: str) -> list[str]:
    text = name.replace("β", "beta").replace("λ", "lambda")
    return [word.lower() for word in re.findall(r"KLD?|BCE|MSE|ELBO|[A-Z]+(?![a-z])|[A-Z]?[a-z]+", text)]
