"""What a person says of who belongs: heeded, repeated, kept in checkpoints and branches."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from disturbed import count, is_same, kill, searching, shortest
from napari_cryospin.engine import events
from napari_cryospin.engine.data.belonging import MEMBERSHIP
from napari_cryospin.engine.data.load import read_table
from napari_cryospin.engine.data.member import APART, BELONGS, OPEN
from napari_cryospin.engine.data.original import StarOriginal
from napari_cryospin.engine.data.texts import numbers_of
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.run.branching import make_branch
from napari_cryospin.engine.run.checkpoint_reading import (
    read_checkpoint,
    read_last_checkpoint,
    require_poses,
)
from napari_cryospin.engine.run.controls import Controls
from napari_cryospin.engine.run.export import last_poses
from napari_cryospin.engine.run.reconstruction import Reconstruction
from napari_cryospin.engine.run.said_later import say_later
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.lock import RunLock
from napari_cryospin.engine.state.pose_table import PoseTable
from small_searches import made_small

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_cryospin.engine.settings import Settings

N, CPU = 160, torch.device("cpu")
KEPT, APARTS, BACK = [3, 17, 18], [5, 80], [18]
SAID = np.zeros(N, np.int8)
SAID[[3, 17]], SAID[APARTS] = BELONGS, APART


@pytest.fixture
def settings(small_stack: Path) -> Settings:
    settings = shortest(small_stack / "particles.star")
    settings.held_out = 0.0
    return settings


def said(run: Reconstruction) -> list[tuple[Callable, Callable[[], object]]]:
    """Return steps that say who belongs: in the first batches, and in the search of poses."""
    controls = run.controls
    return [
        (count(events.BatchDone, 1), lambda: controls.say(KEPT, BELONGS)),
        (count(events.BatchDone, 1), lambda: controls.say(APARTS[:1], APART)),
        (searching, lambda: (controls.say(BACK, OPEN), controls.say(APARTS, APART))),
    ]


def steer(
    run: Reconstruction, steps: list[tuple[Callable, Callable[[], object]]]
) -> list[events.Event]:
    seen = []
    with made_small():
        for event in run.run():
            seen.append(event)
            if steps and steps[0][0](event):
                steps.pop(0)[1]()
    assert not steps and isinstance(seen[-1], events.Finished), seen[-1]
    return seen


def by_hand(folder: RunFolder) -> np.ndarray:
    return require_poses(read_last_checkpoint(folder, CPU), N, 1).by_hand.numpy()


def memberships(path: Path) -> np.ndarray:
    original = read_table(path).original
    assert isinstance(original, StarOriginal)
    return numbers_of(original.blocks[original.particles][MEMBERSHIP])


@pytest.fixture(scope="module")
def steered(small_stack: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    settings = shortest(small_stack / "particles.star")
    settings.held_out = 0.0
    run = Reconstruction(settings, tmp_path_factory.mktemp("said") / "run")
    seen = steer(run, said(run))
    told = [event for event in seen if isinstance(event, events.MembersChosen)]
    assert told[0].n_belong == 3 and told[-1] == events.MembersChosen(2, 2)
    # the poses that follow know of it at once
    follows = seen[seen.index(told[0]) + 1]
    assert isinstance(follows, events.PosesUpdated) and follows.by_hand is not None
    assert (follows.membership[KEPT] == 1).all() and follows.by_hand[KEPT].tolist() == [1, 1, 1]
    # and of what the program found, for who is left to it again
    last = next(event for event in reversed(seen) if isinstance(event, events.PosesUpdated))
    assert last.found_membership is not None
    assert not (last.found_membership[KEPT + APARTS] % 1 == 0).all()
    return run.folder


def test_it_is_in_what_the_run_leaves(steered: RunFolder) -> None:
    assert np.array_equal(by_hand(steered), SAID)
    told = memberships(steered.star_path)
    assert (told[SAID == BELONGS] == 1).all() and (told[SAID == APART] == 0).all()
    exported = last_poses(steered)
    members, others = exported.some("members"), exported.some("others")
    assert not set(APARTS) & set(members.table.image_index) and set(APARTS) <= set(
        others.table.image_index
    )
    commands = [one for one in steered.commands() if one.command == "members"]
    assert [(one.belong, one.apart) for one in commands] == [
        ("4,18-19", None),
        ("4,18-19", "6"),
        ("4,18", "6,81"),
    ]
    # what is said in a search waits for its end: a repetition knows no moments within it
    assert not any(one.searching for one in commands) and commands[-1].batch == 0


def test_it_is_repeated(steered: RunFolder, tmp_path: Path) -> None:
    again = Reconstruction(steered.settings(), tmp_path / "again", commands=steered.commands())
    seen = steer(again, [])
    assert not any(isinstance(event, events.CommandMissed) for event in seen)
    assert is_same(again.folder, steered)
    assert again.folder.commands_path.read_text() == steered.commands_path.read_text()


def test_a_run_that_was_killed_keeps_it(steered: RunFolder, tmp_path: Path) -> None:
    run = Reconstruction(steered.settings(), tmp_path / "run", commands=steered.commands())
    with made_small():
        kill(run, count(events.EpochDone, 4))
    assert np.array_equal(by_hand(run.folder), SAID)
    steer(Reconstruction.resume(run.folder.path), [])
    assert is_same(run.folder, steered)


def test_a_branch_keeps_it(settings: Settings, tmp_path: Path) -> None:
    run = Reconstruction(settings, tmp_path / "run")
    steer(run, [(count(events.BatchDone, 1), lambda: run.controls.say(KEPT, BELONGS))])
    make_branch(run.folder.path, 4, tmp_path / "branch", changes={"direct.epochs": 3})
    steer(Reconstruction.resume(tmp_path / "branch"), [])
    branch = RunFolder(tmp_path / "branch")
    assert by_hand(branch)[KEPT].tolist() == [1, 1, 1]
    assert (memberships(branch.star_path)[KEPT] == 1).all()


def test_another_start_and_the_best_one_keep_it(settings: Settings, tmp_path: Path) -> None:
    """What is said in the second start holds where the first goes on."""
    run, seen = Reconstruction(settings, tmp_path / "run"), []
    with made_small():
        for event in run.run():
            if isinstance(event, events.Switched) and event.start == 1:
                run.controls.say(KEPT, APART)
            if isinstance(event, events.PosesUpdated) and run.controls is not None:
                seen.append(event)
    last = seen[-1]
    assert last.by_hand is not None and (last.membership[KEPT] == 0).all()
    assert np.flatnonzero(last.by_hand).tolist() == KEPT


def test_what_is_said_while_it_ends_in_a_search_is_kept(settings: Settings, tmp_path: Path) -> None:
    run = Reconstruction(settings, tmp_path / "run")
    asked = False
    with made_small():
        for event in run.run():
            if searching(event) and not asked:
                asked = True
                run.controls.say(KEPT, BELONGS)
                run.controls.stop(results=False)
    assert asked and by_hand(run.folder)[KEPT].tolist() == [1, 1, 1]
    assert [one.command for one in run.folder.commands()] == ["members"]


def test_it_is_said_of_a_run_that_has_ended(
    steered: RunFolder, settings: Settings, tmp_path: Path
) -> None:
    """Exports, branches and repetitions heed it; what was written stays."""
    shutil.copytree(steered.path, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    star = folder.star_path.read_bytes()
    say_later(folder, [(np.array([30, 31, N + 5]), APART), (np.array([5]), OPEN)])
    expected = SAID.copy()
    expected[[30, 31]], expected[5] = APART, OPEN
    assert np.array_equal(by_hand(folder), expected)
    others = last_poses(folder).some("others").table.image_index
    assert {30, 31, 80} <= set(others.tolist())
    assert folder.star_path.read_bytes() == star
    # once more, of the same moment: one command
    say_later(folder, [(np.array([31]), OPEN)])
    assert [one.command for one in folder.commands()] == ["members"] * 4
    assert folder.commands()[-1].apart == "31,81"
    make_branch(folder.path, 4, tmp_path / "branch", changes={"direct.epochs": 3})
    assert by_hand(RunFolder(tmp_path / "branch"))[[30, 80]].tolist() == [APART, APART]
    again = Reconstruction(folder.settings(), tmp_path / "again", commands=folder.commands())
    steer(again, [])
    assert np.array_equal(by_hand(again.folder), by_hand(folder))
    assert (memberships(again.folder.star_path)[[30, 80]] == 0).all()
    # resumed with more epochs, it trains without them
    steer(Reconstruction.resume(folder.path, changes={"direct.epochs": 3}), [])
    assert (memberships(folder.star_path)[[30, 80]] == 0).all()


def test_a_branch_from_a_point_at_the_end_heeds_it(steered: RunFolder, tmp_path: Path) -> None:
    """As after auto-encoding, which leaves a branch point of its last epoch, too."""
    shutil.copytree(steered.path, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    end = folder.checkpoints()[-1]
    point = folder.branch_point_path(int(read_last_checkpoint(folder, CPU)["clock"]["epoch"]))
    os.link(end, point)
    os.link(end, tmp_path / "of_another_run.pt")
    say_later(folder, [(np.array([30]), APART)])
    for path, word in ((point, APART), (end, APART), (tmp_path / "of_another_run.pt", OPEN)):
        assert require_poses(read_checkpoint(path, CPU), N, 1).by_hand[30] == word


def test_it_stands_against_what_a_killed_run_says_again(settings: Settings, tmp_path: Path) -> None:
    run = Reconstruction(settings, tmp_path / "run")
    saying = [
        (count(events.EpochDone, 2), lambda: None),
        (count(events.BatchDone, 1), lambda: run.controls.say(APARTS, APART)),
    ]

    def after_a_word(event: events.Event) -> bool:
        if saying and saying[0][0](event):
            saying.pop(0)[1]()
        return isinstance(event, events.MembersChosen)

    with made_small():
        kill(run, after_a_word)
    assert (by_hand(run.folder) == OPEN).all() and len(run.folder.commands()) == 1
    say_later(run.folder, [(np.array(APARTS[:1]), BELONGS)])
    steer(Reconstruction.resume(run.folder.path), [])
    assert by_hand(run.folder)[APARTS].tolist() == [BELONGS, APART]


def test_it_is_not_said_of_a_run_that_is_written(steered: RunFolder, tmp_path: Path) -> None:
    shutil.copytree(steered.path, tmp_path / "run")
    lock = RunLock.acquire(tmp_path / "run")
    with pytest.raises(InputError):
        say_later(RunFolder(tmp_path / "run"), [(np.array([30]), APART)])
    lock.release()
    assert np.array_equal(by_hand(RunFolder(tmp_path / "run")), SAID)


def test_a_checkpoint_of_an_earlier_version_has_nothing_said(steered: RunFolder) -> None:
    state = read_last_checkpoint(steered, CPU)
    for name in ("by_hand", "found_membership"):
        del state["poses"][name]
    poses = require_poses(state, N, 1)
    assert (poses.by_hand == OPEN).all()
    assert torch.equal(poses.found_membership, state["poses"]["membership"])
    table = PoseTable.empty(N, 1, CPU)
    table.load(state["poses"])
    assert (table.by_hand == OPEN).all()


@pytest.mark.parametrize(
    ("particles", "word", "why"),
    [([-1], BELONGS, "from 0"), ([0.5], BELONGS, "numbers"), ([1], 2, "not 2")],
)
def test_what_makes_no_sense_is_refused(particles: list, word: int, why: str) -> None:
    controls = Controls()
    with pytest.raises(ValueError, match=why):
        controls.say(particles, word)
    assert controls.take_said() == []


def test_rows_that_there_are_not_are_left_out(settings: Settings, tmp_path: Path) -> None:
    run = Reconstruction(settings, tmp_path / "run")
    steer(run, [(count(events.BatchDone, 1), lambda: run.controls.say([2, N, 9 * N], APART))])
    assert np.flatnonzero(by_hand(run.folder)).tolist() == [2]
