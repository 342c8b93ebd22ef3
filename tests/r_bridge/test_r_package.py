"""The R package and the bridge know each other's names; read as text, so that no R is needed."""

import re
from pathlib import Path

from omicvae.r_bridge.verbs import VERBS

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "r" / "omicvae"
SOURCE = "\n".join(path.read_text() for path in (PACKAGE / "R").glob("*.R"))
EXPORTS = set(re.findall(r"^export\((\w+)\)$", (PACKAGE / "NAMESPACE").read_text(), flags=re.MULTILINE))


def test_r_asks_for_every_verb_and_for_no_other():
    asked = set(re.findall(r'ask\("(\w+)"|list\("(dataset)"', SOURCE))
    assert {first or second for first, second in asked} == set(VERBS)


def test_every_export_has_a_page_of_help():
    pages = "\n".join(path.read_text() for path in (PACKAGE / "man").glob("*.Rd"))
    assert EXPORTS
    assert {name for name in EXPORTS if f"\\alias{{{name}}}" not in pages} == set()


def test_the_page_on_r_names_the_verbs_that_there_are():
    page = (ROOT / "docs" / "r.md").read_text()
    table = page.split("## Verbs")[1].split("\n## ")[0]
    named = {
        name for row in re.findall(r"^\| (.*?) \|", table, flags=re.MULTILINE) for name in re.findall(r"`(\w+)\(", row)
    }
    inner = {"cells_of", "with_fit", "fit_of", "omicvae_available", "omicvae_install", "OmicvaeIntegration"}
    assert named - {"predict", "effects"} == EXPORTS - inner


def test_versions_agree():
    description = (PACKAGE / "DESCRIPTION").read_text()
    project = (ROOT / "pyproject.toml").read_text()
    (version,) = re.findall(r"^Version: (.*)$", description, flags=re.MULTILINE)
    assert f'version = "{version}"' in project
