"""What importing costs and changes, and which layer may know which."""

import ast
import graphlib
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


SOURCE = Path(omicvae.__file__).parent


def modules():
    """Source files by their dotted name."""
    names = {}
    for path in SOURCE.rglob("*.py"):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def own_imports(path):
    """Module and name of everything that a file imports from the package, for type checkers too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("omicvae"):
            yield from ((node.module, alias.name) for alias in node.names)


def test_no_files_import_each_other_in_a_circle():
    known = modules()
    graph = {
        name: {f"{a}.{b}" if f"{a}.{b}" in known else a for a, b in own_imports(path)} & set(known) - {name}
        for name, path in known.items()
    }
    assert len(graph) > 100
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_no_file_imports_a_private_name_of_another():
    known = modules()
    found = [
        (name, module, imported)
        for name, path in known.items()
        for module, imported in own_imports(path)
        if imported.startswith("_") and f"{module}.{imported}" not in known
    ]
    assert found == []


def test_functions_stay_short_and_take_few_positional_arguments():
    """At most 60 lines of code, docstring and comments apart, and 12 positional arguments; kernels included."""
    long = {}
    for name, path in modules().items():
        lines = path.read_text().splitlines()
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef):
                continue
            body = node.body[1:] if ast.get_docstring(node) else node.body
            rows = lines[body[0].lineno - 1 : node.end_lineno] if body else []
            code = [row for row in rows if row.strip() and not row.strip().startswith("#")]
            size = len(code), len(node.args.posonlyargs) + len(node.args.args)
            if size[0] > 60 or size[1] > 12:
                long[f"{name}.{node.name}"] = size
    assert long == {}
