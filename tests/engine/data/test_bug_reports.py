"""Situations from public reports: particles are used rightly, or refused in a sentence."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_cryospin.engine.data.given import Given
from napari_cryospin.engine.data.load import read_table
from napari_cryospin.engine.data.preprocess import prepare
from napari_cryospin.engine.data.star import write_star
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.settings import DataSettings
from particle_images import all_images

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.data.particles import Particles


@pytest.fixture
def reports(shared_data: Path) -> Path:
    return shared_data / "bug_reports"


def read(path: Path, given: Given | None = None) -> Particles:
    return prepare(read_table(path, given=given), DataSettings(box=32))


def notes(path: Path) -> str:
    return " ".join(read_table(path).notes)


@pytest.mark.parametrize("name", ["metadata.star", "own/particles.star", "data/particles.mrcs"])
def test_usual_tables_are_read(reports: Path, name: str) -> None:
    assert all_images(read(reports / name)).isfinite().all()


def test_what_particles_say_of_their_voltage_and_contrast_wins(reports: Path) -> None:
    stack = read(reports / "override.star")
    assert stack.ctf_parameters is not None
    assert (stack.ctf_parameters[:, 4] == 200).all()
    np.testing.assert_allclose(stack.ctf_parameters[:, 6], 0.07)
    assert "rlnVoltage" in notes(reports / "override.star")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("moved/missing_prefix.star", "moved/particles.mrcs"),
        ("moved/mrcsname.star", "moved/J5/imported/p.mrc"),
    ],
)
def test_moved_stacks_are_found_and_named(reports: Path, name: str, file: str) -> None:
    table = read_table(reports / name)
    assert table.stacks == (reports / file,)
    assert any(str(reports / file) in note for note in table.notes)
    assert read(reports / name).n == table.n_particles


@pytest.mark.parametrize("datadir", ["images", "images/Extract", "images/Extract/job193"])
def test_a_stack_that_is_elsewhere_is_found_in_the_folder_that_is_named(
    reports: Path, tmp_path: Path, datadir: str
) -> None:
    star = tmp_path / "tables" / "p.star"
    star.parent.mkdir()
    shutil.copy(reports / "moved" / "missing_prefix.star", star)
    stack = tmp_path / "images" / "Extract" / "job193" / "Micrographs" / "particles.mrcs"
    stack.parent.mkdir(parents=True)
    shutil.copy(reports / "moved" / "particles.mrcs", stack)
    with pytest.raises(InputError, match="--datadir"):
        read(star)
    assert read(star, Given(datadir=tmp_path / datadir)).n > 0


def test_tilt_stacks_are_refused(reports: Path) -> None:
    with pytest.raises(InputError, match="stacks of tilt images"):
        read_table(reports / "tomo" / "particles.star")


def test_tilt_stacks_are_refused_also_where_the_table_does_not_call_them_so(
    reports: Path, tmp_path: Path
) -> None:
    text = (reports / "tomo" / "particles.star").read_text()
    (tmp_path / "p.star").write_text(text.replace("Are2DStacks 1", "Are2DStacks 0"))
    with pytest.raises(InputError, match="does not say which image of"):
        read_table(tmp_path / "p.star", given=Given(datadir=reports / "tomo"))


def test_unsigned_bytes_do_not_wrap(reports: Path, tmp_path: Path) -> None:
    from napari_cryospin.engine.data.mrc import read_volume

    path = reports / "misc" / "ub.mrcs"
    raw = np.frombuffer(path.read_bytes()[1024:], np.uint8).reshape(-1, 48, 48)
    assert raw.max() > 127
    np.testing.assert_array_equal(read_volume(path)[0], raw)
    assert read(path).n == 60


def test_packed_stacks_are_refused(reports: Path) -> None:
    with pytest.raises(InputError, match=r"p\.mrcs\.gz is packed.*unpack it"):
        read(reports / "misc" / "gz.star")


def test_a_path_in_latin_1_is_read(reports: Path, tmp_path: Path) -> None:
    (tmp_path / "J6").mkdir()
    path = tmp_path / "J6" / "umlaut.cs"
    shutil.copy(reports / "cs" / "J6" / "umlaut.cs", path)
    with pytest.raises(InputError, match=r"J5/extr\xe4ct/p\.mrc was not found"):
        read(path)
    assert read(path, Given(datadir=reports / "cs" / "J5" / "extract")).n == 60
    folder = os.fsencode(tmp_path) + b"/J5/extr\xe4ct"
    os.makedirs(folder)
    shutil.copy(reports / "cs" / "J5" / "extract" / "p.mrc", os.fsdecode(folder))
    table = read_table(path)
    assert all(note.isprintable() for note in table.notes)
    assert read(path).n == 60
    star = tmp_path / "J7" / "out.star"
    star.parent.mkdir()
    write_star(star, table, np.arange(60), rotations=None, shifts=None)
    assert read_table(star).stacks == table.stacks
    assert read(star).n == 60


def test_dark_particles_are_told(reports: Path) -> None:
    path = reports / "cs" / "J6" / "neg.cs"
    assert not read_table(path).particles_are_white
    assert any("dark on disk" in note for note in read(path).notes)


def test_one_particle_is_read(reports: Path) -> None:
    assert read(reports / "misc" / "one.mrcs").n == 1
