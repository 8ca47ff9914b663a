"""Images are read in one place: who wants them goes through the particles."""

from __future__ import annotations

import ast
from pathlib import Path

import napari_cryospin

ROOT = Path(napari_cryospin.__file__).parent
DOOR = "engine/data/particles.py"
# the encoder, each image's power, and the first map's amplitude
TAKE_IMAGES = {
    # what an encoder looks at
    "engine/inference/asking.py",
    "engine/inference/likelihood_teacher.py",
    "engine/inference/posterior_teacher.py",
    "engine/inference/winners_teacher.py",
    "engine/judging/particle_fit.py",
    "engine/run/first_maps.py",
}


def attributes(name: str, *, called: bool) -> list[tuple[str, str]]:
    """Return the files in which an attribute is asked for, or called, and what it is asked of."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)) if f".{name}" in text else ():
            wanted = node.func if called and isinstance(node, ast.Call) else node
            if (called and wanted is node) or not isinstance(wanted, ast.Attribute):
                continue
            if wanted.attr == name:
                found.append((path.relative_to(ROOT).as_posix(), ast.unparse(wanted.value)))
    return found


def test_coefficients_of_images_are_made_in_one_place() -> None:
    assert attributes("coefficients", called=True) == [(DOOR, "model")]


def test_only_particles_know_where_their_images_live() -> None:
    assert {file for file, owner in attributes("store", called=False)} == {DOOR}


def test_few_take_images_as_they_are() -> None:
    of_particles = {
        file
        for file, owner in attributes("images", called=True)
        if owner.split(".")[-1] == "particles"
    }
    assert of_particles == TAKE_IMAGES
