from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from napari_cryospin.gui.reader import get_reader

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", ["particles.star", "PARTICLES.STAR", "particles.cs"])
def test_particle_tables_are_ours(name: str) -> None:
    assert get_reader(name) is not None
    assert get_reader([name]) is not None


@pytest.mark.parametrize("name", ["map.mrc", "stack.mrcs", "cells.tif", "star"])
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
