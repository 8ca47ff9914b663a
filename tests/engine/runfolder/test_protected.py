from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from napari_cryospin.engine.data.load import read_table
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.runfolder.protected import inputs_of, require_not_in_use
from napari_cryospin.engine.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", ["fsc.csv", "volumes/epoch_0000.mrc", "settings.toml"])
def test_files_of_a_run_are_kept(tmp_path: Path, name: str) -> None:
    (tmp_path / "volumes").mkdir()
    (tmp_path / "settings.toml").touch()
    (tmp_path / name).touch()
    with pytest.raises(InputError, match="belongs to the run"):
        require_not_in_use(tmp_path / name)
    # a new file beside them is nobody's
    require_not_in_use(tmp_path / "mine.csv")


def test_files_that_a_run_is_made_of_are_kept_by_any_name(
    tmp_path: Path, small_stack: Path
) -> None:
    settings = Settings.from_preset("default")
    settings.data.truth_map = small_stack / "truth.mrc"
    inputs = inputs_of(settings, read_table(small_stack / "particles.star"))
    (tmp_path / "link").symlink_to(small_stack)
    for name in ("particles.star", "particles.mrcs", "truth.mrc"):
        for folder in (small_stack, tmp_path / "link"):
            with pytest.raises(InputError, match="what the run was made of"):
                require_not_in_use(folder / name, inputs)
    require_not_in_use(small_stack / "other.star", inputs)


@pytest.mark.parametrize("name", ["particles.star", "half1.mrc", "poses/epoch_0003.npy", "lock"])
def test_what_a_run_has_yet_to_write_is_its_own(tmp_path: Path, name: str) -> None:
    require_not_in_use(tmp_path / name)
    (tmp_path / "settings.toml").touch()
    with pytest.raises(InputError, match="belongs to the run"):
        require_not_in_use(tmp_path / name)


def test_a_loop_of_links_is_no_file_of_anybody(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    require_not_in_use(tmp_path / "loop", [tmp_path / "loop" / "particles.star"])
