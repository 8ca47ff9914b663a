"""What a folder holds of a run, and what a run may replace there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.runfolder.fingerprint import Fingerprint
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.lock import RunLock
from napari_cryospin.engine.runfolder.place import (
    Holds,
    clear_beginning,
    require_free,
    require_kept,
    sweep,
    what_is_in,
)
from napari_cryospin.engine.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

FINGERPRINT = Fingerprint({}, 4.0, np.zeros((2, 3), np.float32))


def killed_early(folder: Path) -> RunFolder:
    """Return the folder of a run that was killed in its first epoch."""
    run = RunFolder(folder)
    run.create(Settings(), FINGERPRINT)
    (folder / "lock").write_text("")
    run.events_path.write_text('{"event": "RunStarted"}\n')
    (folder / "volumes" / "epoch_0000.mrc").write_text("a map")
    (folder / "volumes" / ".epoch_0001.0123456789abcdef.writing.mrc").write_text("half a map")
    return run


@pytest.mark.parametrize(
    "name",
    [
        "particles.star",
        "map.mrc",
        "map_fullsize.mrc",
        "map_class2.mrc",
        "half1.mrc",
        "half2_class1.mrc",
        "fsc.csv",
        "verdict.json",
        "metrics.csv",
        "events.jsonl",
        "commands.jsonl",
        "settings.toml",
        "fingerprint.json",
        "lock",
        "volumes/mine.mrc",
        "poses/mine.npy",
        "checkpoints/epoch_0001.pt",
        "volumes",
    ],
)
def test_nothing_of_a_users_is_replaced(tmp_path: Path, name: str) -> None:
    precious = tmp_path / name
    precious.parent.mkdir(exist_ok=True)
    precious.write_text("mine")
    assert what_is_in(tmp_path) is Holds.FOREIGN
    with pytest.raises(InputError, match=f"{name.split('/')[0]} is there already"):
        require_free(tmp_path)


@pytest.mark.parametrize("name", ["map.mrc", "map_fullsize.mrc", "half1_a.mrc", "poses"])
def test_a_link_to_nowhere_is_not_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to(tmp_path / "absent")
    with pytest.raises(InputError, match="there already"):
        require_free(tmp_path)


def test_other_files_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    (tmp_path / "mapping.mrc").touch()
    (tmp_path / "halfway.mrc").touch()
    (tmp_path / "volumes").mkdir()
    require_free(tmp_path)
    require_free(tmp_path / "absent")
    assert what_is_in(tmp_path) is Holds.NOTHING


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(InputError, match="is a file"):
        require_free(tmp_path / "run")


def test_a_run_that_was_killed_early_is_begun_again(tmp_path: Path) -> None:
    killed_early(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "poses" / "mine.txt").write_text("mine")
    assert what_is_in(tmp_path) is Holds.BEGINNING
    require_free(tmp_path)
    sweep(tmp_path)
    clear_beginning(tmp_path)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert left == {"lock", "notes.txt", "poses", "poses/mine.txt"}


def test_a_run_that_was_killed_as_its_folder_was_made(tmp_path: Path) -> None:
    lock = RunLock.acquire(tmp_path)
    assert what_is_in(tmp_path) is Holds.BEGINNING
    (tmp_path / "volumes").mkdir()
    assert what_is_in(tmp_path) is Holds.BEGINNING
    RunFolder(tmp_path).create(Settings(), FINGERPRINT)
    assert what_is_in(tmp_path) is Holds.BEGINNING
    RunFolder(tmp_path).settings_path.unlink()
    assert what_is_in(tmp_path) is Holds.BEGINNING
    lock.release()
    # a second try that failed has given the lock back
    assert what_is_in(tmp_path) is Holds.BEGINNING


@pytest.mark.parametrize("name", ["particles.star", "map.mrc", "verdict.json"])
def test_a_file_that_was_put_into_an_early_run_is_kept(tmp_path: Path, name: str) -> None:
    killed_early(tmp_path)
    (tmp_path / name).write_text("mine")
    assert what_is_in(tmp_path) is Holds.FOREIGN
    with pytest.raises(InputError, match="holds a run already"):
        require_free(tmp_path)


def test_a_settings_file_alone_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text(Settings().to_toml())
    assert what_is_in(tmp_path) is Holds.FOREIGN


def test_a_checkpoint_makes_a_run(tmp_path: Path) -> None:
    run = killed_early(tmp_path)
    (tmp_path / "checkpoints" / "epoch_0001.pt").touch()
    assert what_is_in(tmp_path) is Holds.RUN
    with pytest.raises(InputError, match="holds a run already: choose another folder, or resume"):
        require_free(tmp_path)
    run.settings_path.unlink()
    assert what_is_in(tmp_path) is Holds.FOREIGN


def test_results_do_not_replace_what_the_run_reads(tmp_path: Path) -> None:
    require_kept(tmp_path, (None, tmp_path / "mine.star", tmp_path.parent / "particles.star"))
    with pytest.raises(InputError, match=r"particles\.star is read by the run"):
        require_kept(tmp_path, (None, tmp_path / "particles.star"))


def test_only_our_own_temporary_files_are_swept(tmp_path: Path) -> None:
    killed_early(tmp_path)
    kept = [".hidden", ".mine.writing.mrc", "epoch.0123456789abcdef.writing.mrc"]
    for name in kept:
        (tmp_path / name).touch()
    gone = tmp_path / f".lock.{os.urandom(16).hex()}.claim"
    gone.touch()
    sweep(tmp_path)
    assert all((tmp_path / name).exists() for name in kept)
    assert not gone.exists()
    assert len(list((tmp_path / "volumes").iterdir())) == 1


def test_results_do_not_replace_what_the_run_reads_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "particles.star").touch()
    (tmp_path / "mine.star").symlink_to(tmp_path / "run" / "particles.star")
    (tmp_path / "folder").symlink_to(tmp_path / "run")
    for path in (tmp_path / "mine.star", tmp_path / "folder" / "particles.star"):
        with pytest.raises(InputError, match="is read by the run"):
            require_kept(tmp_path / "run", (path,))
