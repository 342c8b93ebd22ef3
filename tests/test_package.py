"""The files around the package agree with it."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import omicvae

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def canonical(requirement: str) -> str:
    """Name of a requirement as PEP 503 spells it."""
    return re.sub(r"[-_.]+", "-", re.match(r"[A-Za-z0-9._-]+", requirement)[0]).lower()


def constraint_lines() -> list[str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_versions_agree(project):
    assert omicvae.__version__ == project["version"] == metadata.version("omicvae")
    assert project["version"] in (ROOT / "CHANGELOG.md").read_text()


def test_types_are_shipped():
    assert (Path(omicvae.__file__).parent / "py.typed").exists()


def test_every_requirement_is_pinned(project):
    extras = [requirement for extra in project["optional-dependencies"].values() for requirement in extra]
    required = {canonical(requirement) for requirement in [*project["dependencies"], *extras]} - {"omicvae"}
    assert required - {canonical(line) for line in constraint_lines()} == set()


def test_constraints_are_pins_that_any_platform_can_take():
    for line in constraint_lines():
        assert re.fullmatch(r'[A-Za-z0-9._-]+==[0-9][\w.]*( ; python_version (<|>=) "3\.\d+")?', line), line
    assert "torch==2.13.0" in constraint_lines()


def test_command_is_installed():
    (script,) = metadata.entry_points(group="console_scripts", name="omicvae")
    from omicvae.cli import main

    assert script.load() is main
