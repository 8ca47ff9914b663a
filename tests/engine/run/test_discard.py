"""Discard removes what a run has written, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from napari_cryospin.engine import events
from napari_cryospin.engine.run.reconstruction import Reconstruction
from napari_cryospin.engine.runfolder.folder import RunFolder

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.settings import Settings


@pytest.mark.parametrize("at", [events.BatchDone, events.CheckpointWritten, events.Progress])
@pytest.mark.parametrize("mine", [(), ("notes.txt", "volumes/mine.mrc")])
def test_discarding_removes_what_the_run_wrote_and_nothing_else(
    unjudged: Settings, tmp_path: Path, at: type[events.Event], mine: tuple[str, ...]
) -> None:
    run, folder = Reconstruction(unjudged, tmp_path / "run"), tmp_path / "run"
    for name in mine:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    for event in run.run():
        # the last kind comes before, in, and after training
        judging = isinstance(event, events.Progress) and event.task == "Judging the map"
        if isinstance(event, at) and (judging or at is not events.Progress):
            for name in mine:
                (folder / name).write_text("mine")
            run.controls.stop(keep=False)
    assert isinstance(event, events.Finished)
    assert (event.kept, event.discarded, event.left) == (False, True, ())
    assert "has been removed" in event.sentence()
    left = {str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file()}
    assert left == set(mine)
    assert folder.exists() == bool(mine)


def test_nothing_is_left_of_several_classes(unjudged: Settings, tmp_path: Path) -> None:
    unjudged.model.classes, folder = 2, tmp_path / "run"
    run = Reconstruction(unjudged, folder)
    for event in run.run():
        if isinstance(event, events.Progress) and event.task == "Judging the map":
            assert (folder / "map_class2.mrc").is_file()
            (folder / "map_class_of_mine.mrc").write_text("mine")
            run.controls.stop(keep=False)
    assert isinstance(event, events.Finished) and event.left == ()
    assert [each.name for each in folder.iterdir()] == ["map_class_of_mine.mrc"]


def test_discarding_a_resumed_run_before_it_begins(unjudged: Settings, copied_run: Path) -> None:
    run = Reconstruction.resume(copied_run)
    run.controls.stop(keep=False)
    *_, last = run.run()
    assert last.discarded
    assert not copied_run.exists()


def test_stopping_a_resumed_run_before_it_begins_keeps_it(copied_run: Path) -> None:
    run = Reconstruction.resume(copied_run)
    run.controls.stop()
    *_, last = run.run()
    assert "can be resumed" in last.sentence()
    assert RunFolder(copied_run).checkpoints()
