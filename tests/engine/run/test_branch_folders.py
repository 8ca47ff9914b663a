"""Branches on disk: what is written, shared and kept, and what a branch knows of its parent."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

import pytest
import torch

from disturbed import count, figures, kill
from napari_cryospin.engine import events
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.run.branching import branch_epochs, make_branch
from napari_cryospin.engine.run.checkpoint_reading import read_checkpoint
from napari_cryospin.engine.run.reconstruction import Reconstruction
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.parent import read_parent

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.settings import Settings

from branches import EVERY, TOGETHER, branch, go_on, inferences, is_same


def test_nothing_is_replaced_and_nothing_lies_within_the_parent(
    run: RunFolder, tmp_path: Path
) -> None:
    out = tmp_path / "branch"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="is not empty: choose another folder"):
        make_branch(run.path, 2, out)
    with pytest.raises(InputError, match="is a file"):
        make_branch(run.path, 2, out / "notes.txt")
    with pytest.raises(InputError, match="lies in the run"):
        make_branch(run.path, 2, run.path / "branch")
    with pytest.raises(InputError, match="is no run folder"):
        make_branch(out, 2, tmp_path / "other")
    assert [path.name for path in out.iterdir()] == ["notes.txt"]
    (tmp_path / "empty").mkdir()
    make_branch(run.path, 2, tmp_path / "empty")
    assert RunFolder(tmp_path / "empty").checkpoints()


def test_a_branch_that_cannot_be_made_leaves_nothing(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "somewhere")

    monkeypatch.setattr("napari_cryospin.engine.run.branching.write_checkpoint", full)
    with pytest.raises(InputError, match=r"branch cannot be made: the disk is full"):
        make_branch(run.path, 2, tmp_path / "branch")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_branch_is_branched_and_resumed(parent: RunFolder, tmp_path: Path) -> None:
    first = branch(parent, 2, tmp_path / "first", changes={"model.heads": 5})
    assert branch_epochs(first.path) == EVERY
    # from an epoch of its own, and from one in common, whose encoder has other heads
    assert is_same(branch(first, 3, tmp_path / "own"), first)
    before = branch(first, 1, tmp_path / "before")
    assert [before.poses(n).candidates.shape[1] for n in range(3)] == [3, 5, 5]
    assert read_parent(before).path == first.path

    make_branch(parent.path, 2, tmp_path / "killed", changes={"model.heads": 5})
    kill(Reconstruction.resume(tmp_path / "killed"), count(events.BatchDone, 3))
    go_on(tmp_path / "killed")
    assert is_same(RunFolder(tmp_path / "killed"), first)


def test_a_switch_by_hand_is_the_parents_unless_it_is_another(
    branch_settings: Settings, tmp_path: Path
) -> None:
    run = Reconstruction(branch_settings, tmp_path / "run")
    second = count(events.BatchDone, 7)
    for event in run.run():
        if second(event):
            run.controls.switch()
    assert isinstance(event, events.Finished)
    assert inferences(run.folder) == ["amortized"] * 2 + ["direct"] * 2
    assert is_same_steered(branch(run.folder, 2, tmp_path / "same"), run.folder)
    never = branch(run.folder, 2, tmp_path / "never", switch_at="never")
    assert inferences(never) == ["amortized"] * 5
    assert never.commands() == []


def is_same_steered(one: RunFolder, other: RunFolder) -> bool:
    same = (one.map_path.read_bytes()[1024:], figures(one), one.commands())
    return same == (other.map_path.read_bytes()[1024:], figures(other), other.commands())


def test_of_several_starts_a_branch_goes_on_with_one(
    branch_settings: Settings, tmp_path: Path
) -> None:
    branch_settings.starts = 2
    run = Reconstruction(branch_settings, tmp_path / "run")
    assert isinstance([*run.run()][-1], events.Finished)
    assert branch_epochs(run.folder.path)[:6] == [1, 2, 3, 4, 5, 6]
    # in the second start, after one epoch of it
    same = branch(run.folder, 4, tmp_path / "same")
    assert figures(same) == figures(run.folder)
    out = branch(run.folder, 4, tmp_path / "alone", switch_at="now")
    assert [row["start"] for row in out.metrics()] == ["1", "1", "1", "2", "2", "2"]
    assert inferences(out)[4:] == ["direct"] * 2
    early = branch(run.folder, 1, tmp_path / "early", switch_at="now")
    assert inferences(early) == ["amortized", "direct", "direct"]


def test_of_several_starts_of_several_classes_a_branch_goes_on_with_one(
    branch_settings: Settings, tmp_path: Path
) -> None:
    branch_settings.starts = branch_settings.model.classes = 2
    branch_settings.stages[0].epochs = 2
    run = Reconstruction(branch_settings, tmp_path / "run")
    assert isinstance([*run.run()][-1], events.Finished)
    assert [row["start"] for row in run.folder.metrics()][:6] == ["1", "1", "2", "2", "3", "3"]
    # in the first start, the second and the third, after one epoch of it
    for at in (1, 3, 5):
        out = branch(run.folder, at, tmp_path / f"after_{at}", switch_at="now")
        assert inferences(out) == ["amortized"] * at + ["direct"] * 2
    # a stage that begins anew has its other epoch, and no start comes after it
    out = branch(run.folder, 3, tmp_path / "anew", changes={"model.heads": 2})
    assert inferences(out) == ["amortized"] * 4 + ["direct"] * 2
    changes = {"starts": 1}
    with pytest.raises(InputError, match="is in start 2 after epoch 3: give 'starts' at least 2"):
        make_branch(run.folder.path, 3, tmp_path / "one", changes=changes)
    with pytest.raises(InputError, match="is in start 3 after epoch 5: give 'starts' at least 2"):
        make_branch(run.folder.path, 5, tmp_path / "one", changes=changes)


@pytest.mark.parametrize(("most", "kept"), [(0, []), (1, [3]), (2, [1, 3]), (20, [1, 2, 3])])
def test_as_many_branch_points_are_kept_as_are_asked_for(
    branch_settings: Settings, tmp_path: Path, most: int, kept: list[int]
) -> None:
    branch_settings.branch_points = most
    run = Reconstruction(branch_settings, tmp_path / "run")
    assert isinstance([*run.run()][-1], events.Finished)
    assert list(run.folder.branch_points()) == kept
    assert branch_epochs(run.folder.path) == sorted({*kept, 4, 5})


def test_a_branch_point_leaves_out_what_the_next_epoch_makes(parent: RunFolder) -> None:
    device = torch.device("cpu")
    point = read_checkpoint(parent.branch_point_path(2), device)["poses"]
    assert point["candidate_losses"].isnan().all() and (point["winner"] >= 0).all()
    assert point["candidates"].shape == (200, 3, 3, 3)
    # what lies on the disk for them is one particle's
    assert point["candidates"].untyped_storage().nbytes() == 3 * 9 * 4


def test_a_point_that_holds_all_is_the_checkpoint_itself(
    branch_settings: Settings, tmp_path: Path
) -> None:
    # the first start is over: it is kept as it is, to be compared with the second
    branch_settings.starts = 2
    run = Reconstruction(branch_settings, tmp_path / "run")
    kill(run, count(events.CheckpointWritten, 3))
    path = run.folder.branch_point_path(3)
    assert path.samefile(run.folder.checkpoint_path(3))
    state = read_checkpoint(path, torch.device("cpu"))
    assert state["poses"]["candidate_losses"].isfinite().all()


def test_its_folder_tells_what_it_is(parent: RunFolder, tmp_path: Path) -> None:
    how = {"switch_at": 3, "changes": {"seed": 4}}
    make_branch(parent.path, 2, tmp_path / "branch", **how)
    told = go_on(tmp_path / "branch")
    (started,) = [event for event in told if isinstance(event, events.RunStarted)]
    assert "A branch of run after epoch 2, with seed = 4, switch at 3." in started.notes
    known = json.loads((tmp_path / "branch" / "parent.json").read_text())
    assert known["relative"] == os.path.relpath(parent.path, tmp_path / "branch")
    log = RunFolder(tmp_path / "branch").events_path.read_text()
    logged = [json.loads(line) for line in log.splitlines()]
    done = [one["epoch"] for one in logged if one["event"] == "EpochDone"]
    assert done == list(range(TOGETHER))
    assert [one["event"] for one in logged].count("RunStarted") == 2


def test_parent_and_branch_that_were_moved_together_find_each_other(
    run: RunFolder, tmp_path: Path
) -> None:
    (tmp_path / "there").mkdir()
    make_branch(run.path, 2, tmp_path / "branch")
    shutil.move(run.path, tmp_path / "there" / "run")
    shutil.move(tmp_path / "branch", tmp_path / "there" / "branch")
    out = RunFolder(tmp_path / "there" / "branch")
    assert read_parent(out).found_from(out.path) == tmp_path / "there" / "run"
