"""Do the tests bite? Change the source in one place at a time and see whether a test notices.

python tools/mutants.py [PART ...] [--sample 25] [--seed 0]

``[tool.mutants]`` of pyproject.toml names the parts: source files and the test files that have to notice. Changes are
cosmic-ray's (numbers, comparisons, operators, conditions, loops), and one of functions put in each other's place
(ceil and floor, min and max …). A file's places are drawn at random with a fixed seed, and one change at each of them.
What no test can see is left out: annotations, decorators, protocols, and compiled kernels: their copy on disk would
run.

The libraries are loaded once. Each mutant runs in a fork of that process, which loads the package with the one file
changed in memory: nothing is written to the source. Prints each survivor and exits with 1 below 85 % killed.
"""

import argparse
import ast
import importlib
import importlib.abc
import importlib.util
import json
import multiprocessing
import os
import random
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import parso
import pytest
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.plugins import get_operator, operator_names

ROOT = Path(__file__).parents[1]
LEAST_KILLED = 0.85
KERNELS = {"compiled", "inlined"}
# one object or two: no difference for numbers, and "is" is compared with None, where the others come to the same
LEFT_OUT = ("Decorator", "_Is")
PYTEST = ["-q", "-x", "-n", "0", "-p", "no:cacheprovider", "--assert=plain", "--tb=no", "--hypothesis-seed=0"]
SWAPPED = [
    ("ceil", "floor"), ("min", "max"), ("minimum", "maximum"), ("clamp_min", "clamp_max"), ("any", "all"),
    ("argmin", "argmax"), ("nanmin", "nanmax"), ("zeros", "ones"), ("mean", "sum"), ("log", "exp"), ("log1p", "expm1"),
    ("sin", "cos"),
]  # fmt: skip
OTHER = {one: other for pair in SWAPPED for one, other in (pair, pair[::-1])} | {"round": "int"}


class SwapFunction(Operator):
    """ceil for floor, min for max, and so on."""

    def mutation_positions(self, node):
        """Yield the place of a name that has a counterpart, where it is called or handed on."""
        follows = node.get_next_leaf() if hasattr(node, "get_next_leaf") else None
        if node.type == "name" and node.value in OTHER and follows is not None and follows.value == "(":
            yield node.start_pos, node.end_pos

    def mutate(self, node, index):
        """Put the counterpart in its place."""
        return parso.python.tree.Name(OTHER[node.value], node.start_pos, prefix=node.prefix)

    @classmethod
    def examples(cls):
        """Show none: they serve tests of cosmic-ray."""
        return ()


@dataclass(frozen=True)
class Mutant:
    """A source file with one change."""

    path: Path
    code: str
    line: int

    def __str__(self) -> str:
        pairs = zip(self.path.read_text().splitlines(), self.code.splitlines(), strict=False)
        before, after = next((one, other) for one, other in pairs if one != other)
        return f"{self.path.relative_to(ROOT)}:{self.line}\n  - {before.strip()}\n  + {after.strip()}"


def excluded_lines(tree: ast.AST) -> set[int]:
    """Lines of decorators, of whole kernels and of protocols."""
    lines: set[int] = set()
    for node in ast.walk(tree):
        for decorator in getattr(node, "decorator_list", ()):
            lines |= set(range(decorator.lineno, decorator.end_lineno + 1))
            if isinstance(decorator, ast.Name) and decorator.id in KERNELS:
                lines |= set(range(node.lineno, node.end_lineno + 1))
        if isinstance(node, ast.ClassDef) and any(isinstance(b, ast.Name) and b.id == "Protocol" for b in node.bases):
            lines |= set(range(node.lineno, node.end_lineno + 1))
    return lines


def excluded_spans(tree: ast.AST) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Yield start and end of annotations, and of ``strict=`` of zip, a guard for what cannot happen."""
    for node in ast.walk(tree):
        found = [getattr(node, name, None) for name in ("annotation", "returns")]
        if isinstance(node, ast.keyword) and node.arg == "strict":
            found.append(node.value)
        for part in found:
            if part is not None:
                yield (part.lineno, part.col_offset), (part.end_lineno, part.end_col_offset)


def mutants_of(path: Path, sample: int, seed: int) -> tuple[list[Mutant], int]:
    """Draw ``sample`` places of a file, with one change at each; also return how many places there are."""
    source = path.read_text()
    tree = ast.parse(source)
    lines, spans = excluded_lines(tree), list(excluded_spans(tree))
    nodes = list(ast_nodes(get_ast(source)))
    names = [name for name in operator_names() if not any(word in name for word in LEFT_OUT)]
    operators = [get_operator(name) for name in names]
    operators = [operator for operator in operators if not operator.arguments()]
    places: dict[tuple[int, int], list[tuple[Operator, int]]] = {}
    for operator in (kind() for kind in [*operators, SwapFunction]):
        found = ((*place, node) for node in nodes for place in operator.mutation_positions(node))
        for occurrence, (start, _, node) in enumerate(found):
            marker = node.parent is not None and node.parent.type in ("parameters", "param")  # of keywords: *
            if start[0] not in lines and not marker and not any(low <= start < high for low, high in spans):
                places.setdefault(start, []).append((operator, occurrence))
    rng = random.Random(f"{seed} {path.relative_to(ROOT)}")
    chosen = []
    for start in rng.sample(sorted(places), len(places)):
        rng.shuffle(places[start])
        for operator, occurrence in places[start]:
            code = mutate_code(source, operator, occurrence)
            if code and compiles(code) and code.strip() != source.strip():
                chosen.append(Mutant(path, code, start[0]))
                break
        if len(chosen) == sample:
            break
    return sorted(chosen, key=lambda mutant: mutant.line), len(places)


def compiles(code: str) -> bool:
    """Whether the code is Python at all."""
    try:
        ast.parse(code)
    except SyntaxError:
        return False
    return True


class Loader(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Loads one module from changed code, under the name of its file."""

    def __init__(self, mutant: Mutant) -> None:
        parts = mutant.path.relative_to(ROOT / "src").with_suffix("").parts
        self.name, self.mutant = ".".join(parts), mutant

    def find_spec(self, name, path=None, target=None):
        """Find the changed module only."""
        if name != self.name:
            return None
        return importlib.util.spec_from_file_location(name, self.mutant.path, loader=self)

    def get_source(self, name):
        """Return the changed code."""
        return self.mutant.code

    def get_code(self, name):
        """Compile the changed code."""
        return compile(self.mutant.code, str(self.mutant.path), "exec")


def run_tests(mutant: Mutant | None, tests: list[str]) -> None:
    """Run the tests in this process, which ends with pytest's status."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    if mutant is not None:
        sys.meta_path.insert(0, Loader(mutant))
    os._exit(int(pytest.main([*PYTEST, *tests])))


def outcome(mutant: Mutant | None, tests: list[str], limit_s: float) -> tuple[int | None, float]:
    """Fork, run the tests; return the exit status, None past the limit, and the seconds it took."""
    start = time.monotonic()
    child = multiprocessing.get_context("fork").Process(target=run_tests, args=(mutant, tests))
    child.start()
    child.join(limit_s)
    if child.is_alive():
        child.kill()
        child.join()
        return None, time.monotonic() - start
    return child.exitcode, time.monotonic() - start


def load_libraries() -> None:
    """Import what the package and its tests import, and nothing of the package itself."""
    program = (
        "import sys, json, omicvae; [getattr(omicvae, name) for name in omicvae.__all__]\n"
        "print(json.dumps([name for name in sys.modules if name.split('.')[0] != 'omicvae' and name != '__main__']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    # the heads first: a library imports its own parts in an order of its own
    names = json.loads(done.stdout.splitlines()[-1])
    for name in [*sorted({name.split(".")[0] for name in names}), *names]:
        try:
            importlib.import_module(name)
        except ImportError:  # a part that its library made by other means
            continue
    import hypothesis.extra.numpy  # noqa: F401
    import torch

    torch.set_num_threads(1)


def main() -> int:
    """Judge the parts; return the exit status."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        parts = tomllib.load(file)["tool"]["mutants"]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(parts)}; all without")
    parser.add_argument("--sample", type=int, default=25, help="places of a file (25)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    os.chdir(ROOT)
    os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", "/dev/null/none")
    load_libraries()
    worst = 1.0
    for part in given.parts or parts:
        killed = total = 0
        for pattern, tests in parts[part].items():
            for path in sorted(ROOT.glob(pattern)):
                mutants, n_places = mutants_of(path, given.sample, given.seed)
                status, seconds = outcome(None, tests, 600)
                if status != 0:
                    sys.exit(f"{tests} fail without any change (status {status}).")
                found = [outcome(mutant, tests, 20 + 4 * seconds)[0] for mutant in mutants]
                survivors = [mutant for mutant, status in zip(mutants, found, strict=True) if status == 0]
                for survivor in survivors:
                    print(survivor, flush=True)
                n = len(mutants)
                print(f"{path.relative_to(ROOT)}: {n - len(survivors)} of {n} ({n_places} places)", flush=True)
                killed, total = killed + n - len(survivors), total + n
        share = killed / max(total, 1)
        worst = min(worst, share)
        print(f"{part}: {killed} of {total} killed, {share:.0%}\n", flush=True)
    return int(worst < LEAST_KILLED)


if __name__ == "__main__":
    sys.exit(main())
