"""A run that another process writes, as it is seen while it comes to its end."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import mrcfile

from napari_cryospin.engine.run import following
from napari_cryospin.engine.run.snapshot import read_snapshot
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.standing import Doing

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_run_that_ends_while_it_is_looked_at_is_seen_to_its_end(
    copied_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or it would be called finished with the epochs that it had a moment before."""
    metrics = RunFolder(copied_run).metrics_path
    whole = metrics.read_text()
    epochs = len(whole.splitlines()) - 1
    metrics.write_text("".join(whole.splitlines(keepends=True)[:-1]))
    read, looks = following.read_snapshot, list[int]()

    def read_as_it_ends(*args: Any) -> following.Snapshot:
        snapshot = read(*args)
        looks.append(len(snapshot.history))
        if len(looks) == 1:
            metrics.write_text(whole)
        return snapshot

    monkeypatch.setattr(following, "read_snapshot", read_as_it_ends)
    seen = following.look(copied_run)
    assert looks == [epochs - 1, epochs]
    assert seen.standing.doing is Doing.FINISHED
    assert seen.snapshot is not None
    assert len(seen.snapshot.history) == seen.standing.epochs == epochs


def test_whose_particles_are_others_now_is_told(
    tiny_run: Path, tiny_stack: Path, tmp_path: Path
) -> None:
    run = RunFolder(shutil.copytree(tiny_run, tmp_path / "run"))
    shutil.copytree(tiny_stack, tmp_path / "stack")
    text = run.settings_path.read_text()
    run.settings_path.write_text(text.replace(str(tiny_stack), str(tmp_path / "stack")))
    assert not read_snapshot(run).notes
    (stack,) = (tmp_path / "stack").glob("*.mrcs")
    with mrcfile.mmap(stack, "r+") as file:
        file.data[:] = file.data[::-1].copy()
    seen = following.look(run.path)
    assert seen.snapshot is not None
    for notes in (read_snapshot(run).notes, seen.snapshot.notes):
        (note,) = notes
        assert "made of other particles" in note
        assert "images are not the same" in note
    # what is not known is not said
    run.fingerprint_path.write_text("{")
    assert not read_snapshot(run).notes
