"""Branches: the run up to an epoch, and other settings from there on."""

from __future__ import annotations

import errno
import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from disturbed import count, figures, kill, listed, read
from napari_cryospin.engine import events, files
from napari_cryospin.engine.data.density import read_map
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.run.branching import branch_epochs, make_branch
from napari_cryospin.engine.run.checkpoint_reading import read_checkpoint
from napari_cryospin.engine.run.reconstruction import Reconstruction
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.parent import read_parent
from napari_cryospin.engine.stages import AmortizedStage, DirectStage
from small_searches import made_small

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.settings import Settings

ENCODING, DECODING = 3, 2
TOGETHER = ENCODING + DECODING
EVERY = list(range(1, TOGETHER + 1))


def stages() -> list[Any]:
    return [
        AmortizedStage(
            epochs=ENCODING, learning_rate_encoder=1e-3, learning_rate_volume=2e-2, batch_size=40
        ),
        # from the candidates of the heads, so that they matter
        DirectStage(epochs=DECODING, learning_rate_volume=1e-2, hypotheses=2, batch_size=40),
    ]


@pytest.fixture
def settings(short_settings: Settings) -> Settings:
    """Settings of a run of 3 + 2 epochs of five batches, which nothing judges."""
    settings = short_settings.model_copy(deep=True)
    settings.data.truth_map = settings.data.truth_star = None
    settings.held_out, settings.stages = 0.0, stages()
    return settings


@pytest.fixture(scope="module")
def parent(short_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that nobody disturbed; read only."""
    folder = RunFolder(tmp_path_factory.mktemp("parent") / "run")
    settings = short_settings.model_copy(deep=True)
    settings.data.truth_map = settings.data.truth_star = None
    settings.held_out, settings.stages = 0.0, stages()
    with made_small():
        *_, last = Reconstruction(settings, folder.path).run()
    assert isinstance(last, events.Finished), last
    return folder


@pytest.fixture
def run(parent: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy of it that a test may change."""
    return RunFolder(shutil.copytree(parent.path, tmp_path / "run"))


def go_on(folder: Path) -> list[events.Event]:
    """Run a branch to its end, and return what it told."""
    told = list(Reconstruction.resume(folder).run())
    assert isinstance(told[-1], events.Finished), told[-1]
    return told


def branch(run: RunFolder, at: int, out: Path, **how: Any) -> RunFolder:
    """Make a branch, and run it to its end."""
    make_branch(run.path, at, out, **how)
    go_on(out)
    return RunFolder(out)


def is_same(one: RunFolder, other: RunFolder) -> bool:
    """Whether two runs came to the same maps, poses and figures, bit by bit."""
    maps, poses = (
        [name for name in listed(other) if name.endswith(suffix)] for suffix in (".mrc", ".npy")
    )
    assert len(maps) > 3 and len(poses) >= TOGETHER - 1
    return (
        figures(one) == figures(other)
        and all(np.array_equal(read(one, name), read(other, name)) for name in maps)
        and all((one.path / n).read_bytes() == (other.path / n).read_bytes() for n in poses)
        and one.verdict() == other.verdict()
    )


def inferences(run: RunFolder) -> list[str]:
    return [row["inference"] for row in run.metrics()]


def whole(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Bytes and time of change of every file."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in found}


@pytest.mark.parametrize("at", EVERY)
def test_with_nothing_changed_it_comes_to_the_same_end(
    parent: RunFolder, tmp_path: Path, at: int
) -> None:
    before = whole(parent.path)
    assert is_same(branch(parent, at, tmp_path / "branch"), parent)
    # nothing of the parent is another, also not through what both share
    assert whole(parent.path) == before


def taught(settings: Settings) -> Settings:
    """Settings of the same run, whose encoder is taught by posteriors."""
    settings.model.encoder, settings.model.heads, settings.model.turns = "polar", 2, 4
    settings.stages[0] = AmortizedStage(
        teacher="posterior", epochs=ENCODING, batch_size=80, passes=1, learning_rate_encoder=5e-3
    )
    return settings


def test_an_encoder_that_posteriors_teach_goes_on_as_well(
    settings: Settings, tmp_path: Path
) -> None:
    run = Reconstruction(taught(settings), tmp_path / "run")
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
    settings: Settings, parent: RunFolder, tmp_path: Path
) -> None:
    live, made = Reconstruction(settings, tmp_path / "live"), 0
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
    settings: Settings, parent: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a checkpoint before every batch
    monkeypatch.setattr(
        "napari_cryospin.engine.run.loop.Loop._checkpoint_due", property(lambda _: True)
    )
    settings.branch_points = 0
    killed = Reconstruction(settings, tmp_path / "killed")
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
    parent: RunFolder, settings: Settings, tmp_path: Path
) -> None:
    settings.stages[0].epochs = 2
    scheduled = Reconstruction(settings, tmp_path / "scheduled")
    assert isinstance([*scheduled.run()][-1], events.Finished)
    out = branch(parent, 2, tmp_path / "branch", switch_at="now")
    assert out.settings().stages == settings.stages
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
    settings: Settings, tmp_path: Path
) -> None:
    run = Reconstruction(settings, tmp_path / "run")
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


def test_of_several_starts_a_branch_goes_on_with_one(settings: Settings, tmp_path: Path) -> None:
    settings.starts = 2
    run = Reconstruction(settings, tmp_path / "run")
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


@pytest.mark.parametrize(("most", "kept"), [(0, []), (1, [3]), (2, [1, 3]), (20, [1, 2, 3])])
def test_as_many_branch_points_are_kept_as_are_asked_for(
    settings: Settings, tmp_path: Path, most: int, kept: list[int]
) -> None:
    settings.branch_points = most
    run = Reconstruction(settings, tmp_path / "run")
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
    settings: Settings, tmp_path: Path
) -> None:
    # the first start is over: it is kept as it is, to be compared with the second
    settings.starts = 2
    run = Reconstruction(settings, tmp_path / "run")
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
