"""Train a model on an h5ad file; write the model and the same file with its latents."""

import argparse
import json
import sys
from dataclasses import fields
from pathlib import Path

HELP = "train a model on an h5ad file"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.add_argument("data", type=Path, metavar="H5AD", help="cells or samples to train on")
    parser.add_argument("--out", type=Path, required=True, metavar="H5AD", help="where the data go with their latents")
    parser.add_argument("--model", type=Path, required=True, metavar="FOLDER", help="where the model goes")
    parser.add_argument("--overwrite", action="store_true", help="replace a model that is there already")
    keys = parser.add_argument_group("data", "names of layers and obs columns")
    keys.add_argument("--layer", help="layer with the values (default: X)")
    keys.add_argument("--batch-key", metavar="COLUMN")
    keys.add_argument("--labels-key", metavar="COLUMN", help="for diagnosis; never enters the network")
    keys.add_argument("--categorical-covariate-keys", nargs="+", metavar="COLUMN")
    keys.add_argument("--continuous-covariate-keys", nargs="+", metavar="COLUMN")
    keys.add_argument("--size-factor-key", metavar="COLUMN")
    settings = parser.add_argument_group("model")
    settings.add_argument("--likelihood", default="auto", help="auto, nb, zinb, poisson, gaussian or bernoulli")
    settings.add_argument("--n-latent", type=int, default=10, help="latent dimensions (default: 10)")
    settings.add_argument("--max-epochs", type=int, help="default: chosen from the size of the data")
    settings.add_argument(
        "--objective",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="fields of the objective, such as beta=2 warmup=0.3; the settings of a remedy, for example",
    )
    settings.add_argument("--seed", type=int, default=0, help="default: 0")
    settings.add_argument("--rescue", action="store_true", help="where the fit is not sound, try its remedies")
    settings.add_argument("--checkpoint-dir", type=Path, metavar="FOLDER", help="write checkpoints to go on from")
    settings.add_argument("--resume-from", type=Path, metavar="FOLDER", help="go on with an interrupted run")


def parse_objective(fields: list[str]) -> dict[str, object]:
    """Turn ``["beta=2", "reduction=mean"]`` into a mapping; values are JSON where they can be read so.

    Raises
    ------
    SettingError
        If a field has no ``=``.
    """
    from omicvae._core.errors import SettingError

    objective: dict[str, object] = {}
    for field in fields:
        name, separator, text = field.partition("=")
        if not (name and separator):
            raise SettingError(f"--objective takes NAME=VALUE, such as beta=2, got {field!r}.")
        try:
            objective[name] = json.loads(text)
        except json.JSONDecodeError:
            objective[name] = text
    return objective


def run(options: argparse.Namespace) -> None:
    """Train, save, write the latents and say whether they are alive."""
    import omicvae as ov
    from omicvae._core.errors import SavingError
    from omicvae.cli._files import read_h5ad, write_h5ad
    from omicvae.data import SetupKeys

    objective = parse_objective(options.objective)
    if (options.model / "model.json").exists() and not options.overwrite:
        # before the training, which would be lost
        raise SavingError(f"{options.model} holds a model already; pass --overwrite to replace it, or another folder.")
    adata = read_h5ad(options.data)
    ov.CVAE.setup_anndata(adata, **{role.name: getattr(options, role.name) for role in fields(SetupKeys)})
    model = ov.CVAE(adata, likelihood=options.likelihood, n_latent=options.n_latent, seed=options.seed)
    model.train(
        options.max_epochs,
        objective=objective or None,
        checkpoint_dir=options.checkpoint_dir,
        resume_from=options.resume_from,
        rescue=options.rescue,
        progress_bar=sys.stderr.isatty(),
    )
    # the model first: what took longest is safe whatever follows
    model.save(str(options.model), overwrite=options.overwrite)
    model.write_latent()
    write_h5ad(adata, options.out)
    print(model.diagnose(labels_key=options.labels_key))
    print(f"Model: {options.model}\nLatents: obsm of {options.out}")
    if model.fits[-1].step:
        print(f"Trained by the {model.fits[-1].step}")
