"""What a run does not begin or go on with: a folder of others, particles that are not its own."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from disturbed import content
from napari_cryospin.engine import events
from napari_cryospin.engine.data.star import read_star, write_star
from napari_cryospin.engine.run.reconstruction import Reconstruction
from napari_cryospin.engine.run.snapshot import read_snapshot
from napari_cryospin.engine.runfolder import names
from napari_cryospin.engine.runfolder.lock import RunLock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_cryospin.engine.runfolder.folder import RunFolder
    from napari_cryospin.engine.settings import Settings


def refused(run: Reconstruction) -> str:
    """Return the sentence of a run that may not be; its folder must stay as it is."""
    before = content(run.folder)
    (*_, failed) = run.run()
    assert isinstance(failed, events.Failed)
    assert failed.bad_input
    assert "\n" not in failed.message
    assert content(run.folder) == before
    return failed.message


def test_a_second_writer_is_refused_and_readers_are_welcome(
    two_starts: Settings, tmp_path: Path
) -> None:
    first = Reconstruction(two_starts, tmp_path / "run")
    stream = first.run()
    seen = next(event for event in stream if isinstance(event, events.CheckpointWritten))
    assert seen.path.exists()
    for second in (
        Reconstruction.resume(tmp_path / "run"),
        Reconstruction(two_starts, tmp_path / "run"),
    ):
        assert "is being written by process" in refused(second)
    assert read_snapshot(first.folder).history
    first.controls.stop()
    *_, last = stream
    assert isinstance(last, events.Finished)
    assert not (tmp_path / "run" / names.LOCK).exists()


def test_a_run_that_was_taken_over_ends(two_starts: Settings, tmp_path: Path) -> None:
    run = Reconstruction(two_starts, tmp_path / "run")
    stream = run.run()
    next(event for event in stream if isinstance(event, events.BatchDone))
    (tmp_path / "run" / names.LOCK).unlink()
    other = RunLock.acquire(tmp_path / "run")
    *_, last = stream
    assert isinstance(last, events.Failed)
    assert "taken over by process" in last.message
    assert not run.folder.checkpoints()
    other.release()


def other_table(whole: RunFolder, folder: Path, rows: np.ndarray) -> Path:
    table = read_star(whole.settings().data.stack)
    folder.mkdir()
    write_star(folder / "particles.star", table, rows, rotations=None, shifts=None)
    return folder / "particles.star"


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (np.arange(160)[::-1], "in another order"),
        (np.arange(120), "there were 160 particles, and now there are 120"),
        (np.arange(40, 200), "images are not the same"),
    ],
)
def test_other_particles_are_refused(
    finished: RunFolder, whole: RunFolder, tmp_path: Path, rows: np.ndarray, told: str
) -> None:
    other = other_table(whole, tmp_path / "other", rows)
    run = Reconstruction.resume(finished.path, changes={"data.stack": other})
    assert told in refused(run)


def test_moved_particles_are_taken(finished: RunFolder, small_stack: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("particles.star", "particles.mrcs"):
        shutil.copy(small_stack / name, moved / name)
    changes = {"data.stack": moved / "particles.star"}
    *_, last = Reconstruction.resume(finished.path, changes=changes).run()
    assert isinstance(last, events.Finished)
    assert finished.settings().data.stack == moved / "particles.star"


def test_a_changed_setting_is_refused(finished: RunFolder) -> None:
    settings = finished.settings()
    settings.data.box = 48
    finished.write_settings(settings)
    sentence = refused(Reconstruction.resume(finished.path))
    assert "'data.box' was 32 when the run began and is 48 now" in sentence


def test_particles_in_the_place_of_results_are_refused(
    finished: RunFolder, small_stack: Path
) -> None:
    shutil.copy(small_stack / "particles.mrcs", finished.path)
    shutil.copy(small_stack / "particles.star", finished.path)
    changes = {"data.stack": finished.star_path}
    run = Reconstruction.resume(finished.path, changes=changes)
    assert "is read by the run and would be replaced" in refused(run)


def test_a_run_beside_the_particles_replaces_none(
    two_starts: Settings, small_stack: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    shutil.copytree(small_stack, own)
    two_starts.data.stack = own / "particles.star"
    sentence = refused(Reconstruction(two_starts, own))
    assert "particles.star is there already and would be replaced" in sentence


def test_checkpoints_that_may_not_be_read_are_not_taken_for_none(
    finished: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(path: Path) -> Iterator[os.DirEntry[str]]:
        if Path(path).name == "checkpoints":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    scan = os.scandir
    monkeypatch.setattr(os, "scandir", forbidden)
    monkeypatch.setattr(os, "access", lambda *_: False)
    sentence = refused(Reconstruction.resume(finished.path))
    assert sentence.endswith("checkpoints cannot be read: there is no permission for it.")
