"""Branches: the run up to an epoch, and other settings from there on."""

from __future__ import annotations

import errno
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import torch

from disturbed import count, figures, kill, listed
from napari_cryospin.engine import events, files
from napari_cryospin.engine.data.density import read_map
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.run.branching import branch_epochs, make_branch
from napari_cryospin.engine.run.checkpoint_reading import read_checkpoint
from napari_cryospin.engine.run.reconstruction import Reconstruction
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.parent import read_parent
from napari_cryospin.engine.stages import AmortizedStage

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.settings import Settings

from branches import (
    DECODING,
    ENCODING,
    EVERY,
    TOGETHER,
    branch,
    go_on,
    inferences,
    is_same,
    stages,
    whole,
)


@pytest.mark.parametrize("at", EVERY)
def test_with_nothing_changed_it_comes_to_the_same_end(
    parent: RunFolder, tmp_path: Path, at: int
) -> None:
    before = whole(parent.path)
    assert is_same(branch(parent, at, tmp_path / "branch"), parent)
    # nothing of the parent is another, also not through what both share
    assert whole(parent.path) == before


def taught(branch_settings: Settings) -> Settings:
    """Settings of the same run, whose encoder is taught by posteriors."""
    branch_settings.model.encoder, branch_settings.model.heads, branch_settings.model.turns = (
        "polar",
        2,
        4,
    )
    branch_settings.stages[0] = AmortizedStage(
        teacher="posterior", epochs=ENCODING, batch_size=80, passes=1, learning_rate_encoder=5e-3
    )
    return branch_settings


def test_an_encoder_that_posteriors_teach_goes_on_as_well(
    branch_settings: Settings, tmp_path: Path
) -> None:
    run = Reconstruction(taught(branch_settings), tmp_path / "run")
    assert isinstance([*run.run()][-1], events.Finished)
    assert is_same(branch(run.folder, 1, tmp_path / "early"), run.folder)
    assert is_same(branch(run.folder, ENCODING, tmp_path / "late"), run.folder)
    # another encoder is taught by the posteriors as they are, three batches an epoch
    make_branch(run.folder.path, 2, tmp_path / "heads", changes={"model.heads": 3})
    go_on(tmp_path / "heads")
    heads = RunFolder(tmp_path / "heads")
    point = read_checkpoint(run.folder.branch_point_path(2), torch.device("cpu"))
    first = read_checkpoint(heads.branch_point_path(3), torch.device("cpu"))
    # every head at four turns
    assert [one["poses"]["candidates"].shape[1] for one in (point, first)] == [2 * 4, 3 * 4]
    taught_by = [one["inference"]["teacher"]["taught"] for one in (point, first)]
    assert taught_by == [6, 9]
    # back to auto-encoding, with the encoder and the posteriors of the switch
    back = branch(run.folder, 4, tmp_path / "back", switch_back=True, switch_at=1)
    assert inferences(back) == [*["amortized"] * 3, "direct", "amortized", *["direct"] * 2]


def test_what_is_in_common_lies_on_the_disk_once(parent: RunFolder, tmp_path: Path) -> None:
    out = branch(parent, 2, tmp_path / "branch")
    shared = {name for name in listed(parent) if name in listed(out) and is_one(parent, out, name)}
    assert shared == {
        *(f"volumes/epoch_000{n}.mrc" for n in (0, 1)),
        *(f"poses/epoch_000{n}.npy" for n in (0, 1)),
        *(f"branch_points/epoch_000{n}.pt" for n in (1, 2)),
    }
    known = read_parent(out)
    assert known is not None
    assert (known.path, known.epoch, known.changes) == (parent.path, 2, {})
    assert known.found_from(out.path) == parent.path


def is_one(one: RunFolder, other: RunFolder, name: str) -> bool:
    path = one.path / name
    return path.is_file() and path.samefile(other.path / name)


def test_where_there_are_no_hard_links_it_has_copies(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(files.os, "link", refused)
    make_branch(run.path, 2, tmp_path / "branch")
    out = RunFolder(tmp_path / "branch")
    assert not any(is_one(run, out, n) for n in listed(out) if (run.path / n).is_file())
    for name in ("volumes/epoch_0001.mrc", "poses/epoch_0001.npy", "branch_points/epoch_0002.pt"):
        assert (out.path / name).read_bytes() == (run.path / name).read_bytes()


def test_it_survives_its_parent(run: RunFolder, parent: RunFolder, tmp_path: Path) -> None:
    make_branch(run.path, 2, tmp_path / "branch")
    shutil.rmtree(run.path)
    go_on(tmp_path / "branch")
    out = RunFolder(tmp_path / "branch")
    assert is_same(out, parent)
    known = read_parent(out)
    assert known is not None and known.found_from(out.path) is None
    assert len(read_map(out.epoch_map_path(0))[0]) == 32


def test_a_live_run_is_branched_and_comes_to_its_own_end(
    branch_settings: Settings, parent: RunFolder, tmp_path: Path
) -> None:
    live, made = Reconstruction(branch_settings, tmp_path / "live"), 0
    in_midst = count(events.BatchDone, 12)
    for event in live.run():
        if in_midst(event):
            # in the third epoch; the lock of the run is held
            assert branch_epochs(live.folder.path) == [1, 2]
            make_branch(live.folder.path, 1, tmp_path / "branch", switch_at="now")
            made += 1
            go_on(tmp_path / "branch")
    assert made == 1 and isinstance(event, events.Finished)
    assert is_same(live.folder, parent)
    assert inferences(RunFolder(tmp_path / "branch")) == ["amortized", *["direct"] * DECODING]


def test_a_killed_run_and_what_lies_in_the_midst_of_an_epoch(
    branch_settings: Settings, parent: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a checkpoint before every batch
    monkeypatch.setattr(
        "napari_cryospin.engine.run.loop.Loop._checkpoint_due", property(lambda _: True)
    )
    branch_settings.branch_points = 0
    killed = Reconstruction(branch_settings, tmp_path / "killed")
    kill(killed, count(events.BatchDone, 8))
    assert branch_epochs(killed.folder.path) == [0, 1]
    # goes on after seven batches; what shaped them cannot be another
    assert is_same(branch(killed.folder, 1, tmp_path / "branch"), parent)
    with pytest.raises(InputError, match="in the midst of the next one, which setting 'seed'"):
        make_branch(killed.folder.path, 1, tmp_path / "other", changes={"seed": 3})
    # a stage that begins anew begins its epoch anew
    other = branch(killed.folder, 1, tmp_path / "other", changes={"model.heads": 2})
    assert len(figures(other)) == TOGETHER and other.poses(1).candidates.shape[1] == 2


@pytest.mark.parametrize(
    ("at", "how", "encoded", "decoded"),
    [
        (1, {"switch_at": "now"}, 1, 2),
        (1, {"switch_at": 2}, 2, 2),
        (2, {"switch_at": "never"}, 5, 0),
        (1, {"changes": {"amortized.epochs": 4, "direct.epochs": 1}}, 4, 1),
    ],
)
def test_the_switch_comes_elsewhere(
    parent: RunFolder, tmp_path: Path, at: int, how: dict[str, Any], encoded: int, decoded: int
) -> None:
    out = branch(parent, at, tmp_path / "branch", **how)
    assert inferences(out) == ["amortized"] * encoded + ["direct"] * decoded
    # the same batches up to where the parent does something else
    both = min(encoded, ENCODING)
    assert figures(out)[:both] == figures(parent)[:both]


def test_switched_at_once_it_is_the_run_that_switched_there_by_schedule(
    parent: RunFolder, branch_settings: Settings, tmp_path: Path
) -> None:
    branch_settings.stages[0].epochs = 2
    scheduled = Reconstruction(branch_settings, tmp_path / "scheduled")
    assert isinstance([*scheduled.run()][-1], events.Finished)
    out = branch(parent, 2, tmp_path / "branch", switch_at="now")
    assert out.settings().stages == branch_settings.stages
    assert is_same(out, scheduled.folder)


def test_auto_is_the_criterions_with_epochs_to_wait_in(parent: RunFolder, tmp_path: Path) -> None:
    make_branch(parent.path, 2, tmp_path / "branch", switch_at="auto")
    stage = RunFolder(tmp_path / "branch").settings().stages[0]
    assert (stage.until, stage.epochs) == ("criterion", 100)


def test_back_to_auto_encoding_and_to_auto_decoding_again(
    parent: RunFolder, tmp_path: Path
) -> None:
    make_branch(parent.path, 4, tmp_path / "branch", switch_back=True, switch_at=2)
    out = RunFolder(tmp_path / "branch")
    learned = read_checkpoint(parent.branch_point_path(ENCODING), torch.device("cpu"))
    begun = read_checkpoint(out.checkpoint_path(4), torch.device("cpu"))
    encoders = [state["inference"]["encoding"]["encoder"] for state in (learned, begun)]
    assert all(torch.equal(encoders[0][name], encoders[1][name]) for name in encoders[0])
    told = go_on(out.path)
    assert inferences(out) == ["amortized"] * 3 + ["direct"] + ["amortized"] * 2 + ["direct"] * 2
    assert [row["stage"] for row in out.metrics()] == ["1", "1", "1", "2", "3", "3", "4", "4"]
    switched = [event for event in told if isinstance(event, events.Switched)]
    assert [(one.epoch, one.stage, one.by) for one in switched] == [(6, 3, "schedule")]
    # what was learned goes on: a new encoder is much further from the map that decoding has made
    loss = [float(row["loss"]) for row in out.metrics()]
    assert loss[4] < loss[0]


def test_another_number_of_heads_is_another_encoder_on_the_same_map(
    parent: RunFolder, tmp_path: Path
) -> None:
    out = branch(parent, 2, tmp_path / "branch", changes={"model.heads": 5})
    assert [out.poses(n).candidates.shape[1] for n in range(4)] == [3, 3, 5, 2]
    assert inferences(out) == inferences(parent)
    # the map goes on: a run from nothing explains the particles worse in its first epoch
    loss = [float(row["loss"]) for row in out.metrics()]
    assert loss[2] < loss[0]


@pytest.mark.parametrize(
    ("changes", "same"),
    [({"seed": 5}, 2), ({"amortized.learning_rate_encoder": 1e-2}, 2), ({"threads": 1}, TOGETHER)],
)
def test_rates_and_the_seed_hold_from_then_on(
    parent: RunFolder, tmp_path: Path, changes: dict[str, Any], same: int
) -> None:
    out = branch(parent, 2, tmp_path / "branch", changes=changes)
    assert figures(out)[:same] == figures(parent)[:same]
    if same < TOGETHER:
        assert figures(out)[same] != figures(parent)[same]


@pytest.mark.parametrize(
    ("at", "how", "sentence"),
    [
        (7, {}, r"run cannot be branched from after epoch 7: it can be after epochs 1 to 5\."),
        (2, {"changes": {"data.box": 64}}, "'data.box' shapes the particles and the map"),
        (2, {"changes": {"held_out": 0.1}}, "'held_out' is settled when a run begins"),
        (4, {"changes": {"stages.0.epochs": 9}}, "about stage 1, which is over after epoch 4"),
        (4, {"changes": {"amortized.epochs": 9}}, "about stage 1, which is over after epoch 4"),
        (2, {"changes": {"heads": 9}}, "'heads' is not usable"),
        (2, {"changes": {"model.heads": 99}}, "'heads' is not usable"),
        (2, {"changes": {"marginal.epochs": 2}}, "The run has no stage of marginalisation"),
        (2, {"changes": {"stages": []}}, "'stages' is not usable"),
        (4, {"changes": {"stages": stages()[:1]}}, "there are only 1: leave the stages up to it"),
        (2, {"changes": {"stages": stages()[1:]}}, "keeps its inference"),
        (4, {"changes": {"model.heads": 9}}, "'model.heads' is heeded by no stage after epoch 4"),
        (2, {"switch_at": 1}, "has had 2 epochs after epoch 2 of the run, and cannot end after 1"),
        (4, {"switch_at": "now"}, "past auto-encoding"),
        (2, {"switch_back": True}, "is auto-encoding: there is nothing to switch back from"),
        (4, {"switch_back": True, "switch_at": "now"}, "has just begun"),
        (4, {"changes": {"starts": 3}}, "The starts of the first stage are over"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(
    parent: RunFolder, tmp_path: Path, at: int, how: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence) as told:
        make_branch(parent.path, at, tmp_path / "branch", **how)
    assert str(told.value).count("\n") == 0
    # and nothing is left
    assert list(tmp_path.iterdir()) == []
