from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from napari_cryospin.engine.data.locate import StackFinder, missing_sentence

if TYPE_CHECKING:
    from pathlib import Path


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def find(table: Path, name: str, datadir: Path | None = None) -> tuple[Path, list[str]]:
    stacks, notes = StackFinder(table, datadir).find([name])
    return stacks[0], notes


def test_a_stack_where_the_table_says_needs_no_note(tmp_path: Path) -> None:
    stack = touch(tmp_path / "Extract" / "a.mrcs")
    assert find(tmp_path / "p.star", "Extract/a.mrcs") == (stack, [])
    assert find(tmp_path / "p.star", str(stack)) == (stack, [])


def test_a_stack_below_a_folder_above_the_table_is_named_in_a_note(tmp_path: Path) -> None:
    stack = touch(tmp_path / "Extract" / "a.mrcs")
    table = touch(tmp_path / "Refine3D" / "job007" / "p.star")
    found, notes = find(table, "Extract/a.mrcs")
    assert found == stack
    assert len(notes) == 1
    assert str(stack) in notes[0]
    below = touch(table.parent / "Extract" / "a.mrcs")
    assert find(table, "Extract/a.mrcs") == (below, [])


@pytest.mark.parametrize(
    "name",
    [
        "a.mrcs",
        "a.mrc",
        "Extract/job193/Micrographs/a.mrcs",
        "/gone/project/Extract/a.mrcs",
        "J5/extract/a.mrc",
    ],
)
def test_a_stack_that_was_moved_beside_the_table_is_found(tmp_path: Path, name: str) -> None:
    stack = touch(tmp_path / "a.mrcs")
    found, notes = find(tmp_path / "p.star", name)
    assert found == stack
    assert bool(notes) == (name != "a.mrcs")


def test_more_of_the_name_wins_over_less(tmp_path: Path) -> None:
    touch(tmp_path / "a.mrcs")
    stack = touch(tmp_path / "job2" / "a.mrcs")
    assert find(tmp_path / "p.star", "Extract/job2/a.mrcs")[0] == stack


@pytest.mark.parametrize("place", ["a.mrcs", "job2/a.mrcs", "Extract/job2/a.mrcs"])
@pytest.mark.parametrize("name", ["Extract/job2/a.mrcs", "/gone/Extract/job2/a.mrc"])
def test_a_stack_is_found_below_the_folder_that_the_user_names(
    tmp_path: Path, place: str, name: str
) -> None:
    stack = touch(tmp_path / "images" / place)
    table = touch(tmp_path / "tables" / "deep" / "p.star")
    assert find(table, name)[0] == table.parent / name
    assert find(table, name, tmp_path / "images")[0] == stack


def test_the_folder_that_the_user_names_wins(tmp_path: Path) -> None:
    touch(tmp_path / "a.mrcs")
    stack = touch(tmp_path / "images" / "a.mrcs")
    found, notes = find(tmp_path / "p.star", "a.mrcs", tmp_path / "images")
    assert found == stack
    assert str(stack) in notes[0]


def test_a_table_that_is_a_link_has_its_stacks_beside_its_target(tmp_path: Path) -> None:
    stack = touch(tmp_path / "project" / "Extract" / "a.mrcs")
    target = touch(tmp_path / "project" / "p.star")
    (tmp_path / "work").mkdir()
    link = tmp_path / "work" / "p.star"
    link.symlink_to(target)
    assert find(link, "Extract/a.mrcs") == (stack, [])
    own = touch(tmp_path / "work" / "Extract" / "a.mrcs")
    assert find(link, "Extract/a.mrcs") == (own, [])


def test_one_file_is_never_taken_for_two_stacks(tmp_path: Path) -> None:
    touch(tmp_path / "a.mrcs")
    names = ["job1/a.mrcs", "job2/a.mrcs"]
    stacks, notes = StackFinder(tmp_path / "p.star").find(names)
    assert stacks == tuple(tmp_path / name for name in names)
    assert "could be job1/a.mrcs" in notes[0]


def test_of_two_names_the_exact_one_gets_the_file(tmp_path: Path) -> None:
    stack = touch(tmp_path / "a.mrcs")
    stacks, _ = StackFinder(tmp_path / "p.star").find(["a.mrcs", "job2/a.mrcs"])
    assert stacks == (stack, tmp_path / "job2" / "a.mrcs")


def test_a_name_that_was_read_as_latin_1_is_found(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/extr\xe4ct"
    os.mkdir(folder)
    with open(folder + b"/a.mrcs", "wb"):
        pass
    found, _ = find(tmp_path / "p.star", "extr\xe4ct/a.mrcs")
    assert found.is_file()


@pytest.mark.parametrize("name", ["a\0b.mrcs", "x" * 5000, "a/" * 3000 + "a.mrcs", "", ".", "/"])
def test_names_that_no_file_can_have_are_not_found(tmp_path: Path, name: str) -> None:
    found, notes = find(tmp_path / "p.star", name)
    assert found == tmp_path / name
    assert notes == []


def test_what_was_not_found_points_to_the_option(tmp_path: Path) -> None:
    sentence = missing_sentence(tmp_path / "p.star", [tmp_path / "a.mrcs", tmp_path / "b.mrcs"])
    assert "a.mrcs (and 1 more) was not found" in sentence
    assert "--datadir" in sentence
