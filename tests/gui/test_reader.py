from __future__ import annotations

from typing import TYPE_CHECKING

import mrcfile
import numpy as np
import pytest
from npe2 import PluginManager, PluginManifest

from napari_cryospin.engine.errors import InputError
from napari_cryospin.gui.reader import SAMPLE, get_reader

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", ["particles.star", "PARTICLES.STAR", "particles.cs"])
def test_particle_tables_are_ours(name: str) -> None:
    assert get_reader(name) is not None
    assert get_reader([name]) is not None


@pytest.mark.parametrize("name", ["tomogram.mrc", "beamap.mrc.txt", "cells.tif", "star"])
def test_other_files_are_left_to_other_readers(name: str) -> None:
    assert get_reader(name) is None


def test_a_folder_is_ours_only_when_it_holds_a_run(tmp_path: Path) -> None:
    assert get_reader(str(tmp_path)) is None
    (tmp_path / "settings.toml").write_text("seed = 0\n")
    assert get_reader(str(tmp_path)) is not None


def test_without_a_viewer_nothing_is_opened(tmp_path: Path) -> None:
    read = get_reader("particles.star")
    assert read is not None
    assert read("particles.star") == [(None,)]
    assert get_reader(SAMPLE)(SAMPLE) == [(None,)]


OURS = ("map.mrc", "map_fullsize.mrc", "half2.mrc", "run_map.mrc", "flip_map.mrc", "epoch_0007.mrc")


@pytest.mark.parametrize("name", OURS)
def test_maps_of_runs_open_as_volumes_in_angstrom(tmp_path: Path, name: str) -> None:
    volume = np.random.default_rng(0).normal(size=(8, 8, 8)).astype(np.float32)
    with mrcfile.new(tmp_path / name) as mrc:
        mrc.set_data(volume)
        mrc.voxel_size = 2.5
    read = get_reader(str(tmp_path / name))
    assert read is not None
    ((data, options, kind),) = read(str(tmp_path / name))
    np.testing.assert_array_equal(data, volume)
    assert (options["scale"], kind) == ((2.5, 2.5, 2.5), "image")


def test_a_stack_opens_without_being_read_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = np.random.default_rng(0).normal(size=(50, 8, 8)).astype(np.float32)
    with mrcfile.new(tmp_path / "a.mrcs") as mrc:
        mrc.set_data(images)
        mrc.voxel_size = 2.5
    monkeypatch.setattr("napari_cryospin.gui.reader._CHUNK_BYTES", 12 * 8 * 8 * 4)
    read = get_reader([str(tmp_path / "a.mrcs")])
    assert read is not None
    ((data, options, _),) = read([str(tmp_path / "a.mrcs")])
    assert data.chunks[0] == (12, 12, 12, 12, 2)
    np.testing.assert_array_equal(np.asarray(data[30]), images[30])
    np.testing.assert_array_equal(np.asarray(data), images)
    assert options["scale"] == (1, 2.5, 2.5)


@pytest.mark.parametrize("name", ["run_map.mrc", "stack.mrcs"])
def test_napari_finds_the_reader_by_the_name(tmp_path: Path, name: str) -> None:
    with mrcfile.new(tmp_path / name) as mrc:
        mrc.set_data(np.zeros((8, 8, 8), np.float32))
    manager = PluginManager()
    manager.register(PluginManifest.from_distribution("napari-cryospin"))
    (reader,) = manager.iter_compatible_readers(str(tmp_path / name))
    assert reader.command == "napari-cryospin.read"


def test_a_damaged_map_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "map.mrc").write_bytes(b"nothing")
    read = get_reader(str(tmp_path / "map.mrc"))
    assert read is not None
    with pytest.raises(InputError, match=r"map\.mrc"):
        read(str(tmp_path / "map.mrc"))
