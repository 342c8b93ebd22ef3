"""Messages that an R user may see have R's words."""

import ast
import re
from pathlib import Path

import pytest

import omicvae
from omicvae.r_bridge.words import in_r_words

SOURCE = Path(omicvae.__file__).parent
#: what R does not reach, or has no words for
NOT_IN_R = {"cli", "r_bridge", "model/host.py", "data/minified.py", "model/minified.py", "tl.py", "datasets"}
#: messages about arguments and types that R has none of
UNREACHED = (
    *("reference_model must be", "and what it says beside its values", "2-D numpy array", "mixes types"),
    *("columns named", "has dtype"),
)
PYTHON = re.compile(
    r"\badata|AnnData|\bobs\[|setup_anndata|\b(True|False|None)\b|CVAE|pandas|numpy\.|\bmodel\.\w|\bov\.|scvi|"
    r"[{}]|_key\b|\b(?!as\.|is\.|make\.)\w+\.\w+\(|get_\w+\("
)


def messages():
    """Text of each error and warning of the package, with a name for what is filled in."""
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        if name in NOT_IN_R or name.split("/")[0] in NOT_IN_R:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            call = node.exc if isinstance(node, ast.Raise) else node
            if not isinstance(call, ast.Call) or not call.args:
                continue
            warns = isinstance(call.func, ast.Attribute) and call.func.attr in ("warning", "warn")
            text = filled(call.args[0]) if isinstance(node, ast.Raise) or warns else ""
            if text and not any(part in text for part in UNREACHED):
                yield pytest.param(text, id=f"{name}:{call.lineno}")


def filled(node):
    """Return the text of a literal, with something quoted in each of its fields."""
    if isinstance(node, ast.JoinedStr):
        text = "".join(part.value if isinstance(part, ast.Constant) else "'b1'" for part in node.values)
        return text.replace("{'b1'}", "{'b1': ...}")
    return node.value.replace("%r", "'b1'") if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


@pytest.mark.parametrize("text", list(messages()))
def test_no_message_speaks_python(text):
    said = in_r_words(text)
    assert PYTHON.search(said) is None, said


@pytest.mark.parametrize(
    ("python", "r"),
    [
        ("obs['batch'] has 1 unknown level.", "The column 'batch' has 1 unknown level."),
        ("transform: obs['age'] has no level 'x'.", "transform: the column 'age' has no level 'x'."),
        ("Call CVAE.setup_anndata(adata, layer=...).", "Call cvae(x, assay = ...)."),
        ("Pass covariates={'batch': ..., 'age': ...} with", "Pass covariates=list(batch = ..., age = ...) with"),
        ("to={covariate: level}", "to=list(covariate = level)"),
        ("Name them as replicate_key.", "Name them as replicate."),
        ("pass overwrite=True", "pass overwrite=TRUE"),
        ("limit the values, adata.obs['age'].clip(1, 2); or", "limit the values, pmin(pmax(v, 1), 2); or"),
    ],
)
def test_words(python, r):
    assert in_r_words(python) == r
