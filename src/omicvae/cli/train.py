"""Train a model on a file; write the model and the same data with their latents."""

import argparse
import json
import sys
from dataclasses import fields
from pathlib import Path

from omicvae.cli.files import add_data_options, check_writable, data_words, read_data, write_data
from omicvae.cli.remedies import print_diagnosis
from omicvae.cli.shared import add, likelihood_names, status, write_json

#: What Python has other words for than JSON.
WORDS = {"True": "true", "False": "false", "None": "null"}


def setting(text: str) -> tuple[str, object]:
    """Split a setting such as ``"beta=2"`` into name and value, which is JSON or a word of Python where it can be."""
    name, separator, value = text.partition("=")
    if not (name and separator):
        raise argparse.ArgumentTypeError(f"takes NAME=VALUE, such as beta=2, got {text!r}.")
    if name in ("adata", "self"):
        raise argparse.ArgumentTypeError(f"takes settings, and {name} is none: the file with the cells comes first.")
    try:
        return name, json.loads(WORDS.get(value, value))
    except json.JSONDecodeError:
        return name, value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    add(parser, "data", help="cells or samples to train on")
    add(parser, "--out")
    parser.add_argument("--model", type=Path, required=True, metavar="FOLDER", help="where the model goes")
    parser.add_argument("--overwrite", action="store_true", help="replace a model that is there already")
    parser.add_argument("--report", type=Path, metavar="HTML", help="write the diagnosis as an HTML page as well")
    add(parser, "--json")
    add(parser, "--fail-on")
    keys = parser.add_argument_group("data", "names of layers and obs columns")
    add_data_options(keys)
    keys.add_argument("--layer", help="layer with the values (default: X)")
    keys.add_argument("--batch-key", metavar="COLUMN")
    add(keys, "--labels-key")
    keys.add_argument("--categorical-covariate-keys", nargs="+", metavar="COLUMN")
    keys.add_argument("--continuous-covariate-keys", nargs="+", metavar="COLUMN")
    keys.add_argument("--size-factor-key", metavar="COLUMN")
    keys.add_argument("--round-counts", action="store_true", help="round counts that were corrected to fractions")
    settings = parser.add_argument_group("model")
    add(settings, "--likelihood", default=None, help=f"auto (default) or one of {likelihood_names()}")
    settings.add_argument("--n-latent", type=int, help="latent dimensions (default: 10)")
    settings.add_argument("--max-epochs", type=int, help="default: chosen from the size of the data")
    groups = {
        "--objective": "fields of the objective, such as beta=2 warmup=0.3",
        "--training": "further arguments of CVAE.train, such as learning_rate=0.001 batch_size=64",
        "--network": "further arguments of CVAE, such as n_hidden=64 prior=vamp",
    }
    for name, says in groups.items():
        settings.add_argument(name, type=setting, nargs="+", default=[], metavar="NAME=VALUE", help=says)
    add(settings, "--seed", default=None)
    settings.add_argument("--rescue", action="store_true", help="where the fit is not sound, try its remedies")
    settings.add_argument("--checkpoint-dir", type=Path, metavar="FOLDER", help="write checkpoints to go on from")
    settings.add_argument("--resume-from", type=Path, metavar="FOLDER", help="go on with an interrupted run")
    further = "train the model in the folder --model further, in place of a new one"
    settings.add_argument("--go-on", action="store_true", help=further)


def run(options: argparse.Namespace) -> int:
    """Train, save, write the latents and say whether they are alive."""
    import omicvae as ov
    from omicvae._core.errors import SavingError, SettingError
    from omicvae._core.keys import LATENT
    from omicvae.data import SetupKeys

    check_writable(options.out)
    overwrite = options.overwrite or options.go_on
    if (options.model / "model.json").exists() and not overwrite:
        # before the training, which would be lost
        raise SavingError(f"{options.model} holds a model already; pass --overwrite to replace it, or another folder.")
    adata = read_data(options)
    keys = {role.name: getattr(options, role.name) for role in fields(SetupKeys)}
    given = ((name, getattr(options, name)) for name in ("likelihood", "n_latent", "seed"))
    own = {name: value for name, value in given if value is not None}
    if options.go_on:
        of_new = {**keys, "labels_key": None, "network": options.network}
        if idle := [*filter(of_new.get, of_new), *own]:
            raise SettingError(f"--go-on trains the model as it is: leave out {', '.join(idle)}.")
        model = ov.CVAE.load(str(options.model), adata=adata)
    else:
        ov.CVAE.setup_anndata(adata, **keys)
        model = ov.CVAE(adata, **{**own, **dict(options.network)})
    run = {"max_epochs": options.max_epochs, "objective": dict(options.objective) or None}
    run |= {"checkpoint_dir": options.checkpoint_dir, "resume_from": options.resume_from, "rescue": options.rescue}
    model.train(**{**run, "progress_bar": sys.stderr.isatty(), **dict(options.training)})
    # the model first: what took longest is safe whatever follows
    model.save(str(options.model), overwrite=overwrite)
    model.write_latent()
    latents = write_data(adata, options.out, LATENT)
    diagnosis = model.diagnose(labels_key=options.labels_key)
    print_diagnosis(diagnosis, model, data=data_words(options), out=options.out, folder=options.model)
    print(f"Model: {options.model}\nLatents: {latents}")
    if model.fits[-1].step:
        print(f"Trained by the {model.fits[-1].step}")
    if options.report is not None:
        print(f"Report: {model.report(options.report, diagnosis=diagnosis, labels_key=options.labels_key)}")
    write_json(diagnosis.to_dict(), options.json)
    return status(diagnosis, options.fail_on)
