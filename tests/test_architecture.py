"""What importing costs and changes, and which layer may know which."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import omicvae

HEAVY = [
    "torch",
    "scanpy",
    "anndata",
    "scvi",
    "lightning",
    "matplotlib",
    "umap",
    "sklearn",
    "pandas",
    "scipy",
]


def fresh_python(program: str) -> str:
    """Run a program in a process that has imported nothing yet, and return what it prints."""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_layers_hold():
    # in a process of its own: it disables all loggers that exist
    program = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_importing_the_package_is_cheap():
    program = f"import sys, json, omicvae; print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    assert json.loads(fresh_python(program)) == []


STATE = """
import json, logging, os, random, sys, warnings
import numpy, torch

def state():
    return {
        "warning filters": repr(warnings.filters),
        "warning hook": repr(warnings.showwarning),
        "environment": dict(os.environ),
        "root logger": [logging.root.level, logging.root.disabled, repr(logging.root.handlers)],
        "logging disabled": logging.root.manager.disable,
        "python generator": repr(random.getstate()),
        "numpy generator": repr(numpy.random.get_state()),
        "torch generator": torch.get_rng_state().tolist(),
        "torch settings": [
            torch.get_default_dtype().__repr__(), torch.get_num_threads(), torch.is_grad_enabled(),
            torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled(),
        ],
        "numpy errors": numpy.geterr(),
        "hooks": [repr(sys.excepthook), repr(sys.displayhook)],
    }
"""


HOSTS = "import anndata, lightning, matplotlib.figure, scanpy, scvi.model.base, sklearn.linear_model, umap"


@pytest.mark.parametrize(
    ("hosts", "use"),
    [
        ("", ""),
        # what the host libraries change when they are imported is theirs; it happens before the first look
        (HOSTS, "[getattr(omicvae, name) for name in omicvae.__all__]"),
    ],
    ids=["package", "every public name"],
)
def test_importing_changes_nothing(hosts, use):
    program = (
        f"{STATE}\n{hosts}\nbefore = state()\nimport omicvae\n{use}\nafter = state()\n"
        "print(json.dumps([key for key in before if before[key] != after[key]]))"
    )
    assert json.loads(fresh_python(program).splitlines()[-1]) == []


def test_public_names_are_there():
    for name in omicvae.__all__:
        assert getattr(omicvae, name) is not None
    assert set(omicvae.__all__) <= set(dir(omicvae))
    with pytest.raises(AttributeError, match="no attribute 'CVEA'"):
        _ = omicvae.CVEA


def test_source_files_stay_small():
    source = Path(omicvae.__file__).parent
    lengths = {str(path.relative_to(source)): len(path.read_text().splitlines()) for path in source.rglob("*.py")}
    assert len(lengths) > 30
    assert {path: length for path, length in lengths.items() if length > 400} == {}


def test_no_variant_is_chosen_by_comparing_its_name():
    """A likelihood or schedule is an object found once in a table; nothing asks for its name again."""
    from omicvae.likelihoods import LIKELIHOODS

    offenders = []
    for path in Path(omicvae.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Compare):
                continue
            compared = [side.value for side in (node.left, *node.comparators) if isinstance(side, ast.Constant)]
            if set(map(str, compared)) & set(LIKELIHOODS):
                offenders.append(f"{path.name}:{node.lineno}")
    assert offenders == []
