"""The project's own files: one version, one address; what is imported is asked for."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

import napari_cryospin

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "napari_cryospin"
# names of packages that differ from those of their modules, or bring them
PACKAGES = {"PIL": "pillow", "tomli_w": "tomli-w", "pydantic_core": "pydantic"}


def described(name: str) -> Any:
    """Content of a TOML or YAML file of the project."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return tomllib.loads(text) if name.endswith(".toml") else yaml.safe_load(text)


PROJECT = described("pyproject.toml")["project"]
TOOLS = described("pyproject.toml")["tool"]


def packages(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=; ]", requirement)[0] for requirement in requirements}


def imported(folder: str) -> Iterator[str]:
    """Packages that the modules of a folder import, at once or when they are called."""
    for path in (SOURCE / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in (name.partition(".")[0] for name in names):
                if name not in sys.stdlib_module_names and name != "napari_cryospin":
                    yield PACKAGES.get(name, name)


@pytest.mark.parametrize(
    ("folder", "extras"), [("engine", ["fast"]), ("cli", []), ("gui", ["viewer"])]
)
def test_what_is_imported_is_asked_for(folder: str, extras: list[str]) -> None:
    asked = packages(PROJECT["dependencies"])
    for extra in extras:
        asked |= packages(PROJECT["optional-dependencies"][extra])
    assert set(imported(folder)) <= asked


def test_nothing_is_asked_for_that_nobody_imports() -> None:
    used = {name for folder in ("engine", "cli", "gui") for name in imported(folder)}
    # imported by name, where they are looked for
    used |= {"healpy", "astropy-healpix", "numba"}
    extras = PROJECT["optional-dependencies"]
    assert packages(PROJECT["dependencies"] + extras["viewer"] + extras["fast"]) <= used


def test_the_extra_all_has_the_others_and_a_binding() -> None:
    everything = PROJECT["optional-dependencies"]["all"]
    assert "napari-cryospin[fast,viewer]" in everything
    assert any(requirement.startswith("napari[pyqt6]") for requirement in everything)


def test_the_source_distribution_has_what_its_tests_read() -> None:
    included = {name[1:] for name in TOOLS["hatch"]["build"]["targets"]["sdist"]["include"]}
    assert {"benchmarks", "docs", "examples", "scripts", "Makefile", "mkdocs.yml"} <= included
    assert [name for name in included if not (ROOT / name).exists()] == []


def test_there_is_one_version() -> None:
    version = napari_cryospin.__version__
    assert PROJECT["version"] == version
    assert described("CITATION.cff")["version"] == version


def test_there_is_one_address() -> None:
    address = PROJECT["urls"]["Source"]
    assert described("CITATION.cff")["repository-code"] == address
    files = [*(ROOT / ".github").rglob("*.yml"), *ROOT.glob("*.md")]
    texts = [*PROJECT["urls"].values(), *(path.read_text(encoding="utf-8") for path in files)]
    named = {found for text in texts for found in re.findall(r"https://github\.com/[\w-]+", text)}
    assert named == {address.rpartition("/")[0]}


def test_workflows_try_the_pythons_that_are_promised() -> None:
    matrix = described(".github/workflows/tests.yml")["jobs"]["tests"]["strategy"]["matrix"]
    promised = [entry.rpartition(" ")[2] for entry in PROJECT["classifiers"] if " 3." in entry]
    promised = [entry for entry in promised if "." in entry]
    assert matrix["python"] == promised
    assert PROJECT["requires-python"] == f">={promised[0]}"


def test_readme_and_installation_say_what_users_install() -> None:
    for name in ("README.md", "docs/install.md"):
        assert 'pip install "napari-cryospin[all]"' in (ROOT / name).read_text(encoding="utf-8")
