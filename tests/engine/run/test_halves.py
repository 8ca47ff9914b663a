"""Runs whose two halves are independent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from disturbed import count, is_same, kill, searching, shortest
from napari_cryospin.engine import events
from napari_cryospin.engine.data.density import read_map
from napari_cryospin.engine.data.star import read_star, write_star
from napari_cryospin.engine.fsc_events import FscUpdated
from napari_cryospin.engine.run.branching import make_branch
from napari_cryospin.engine.run.checkpoint_reading import read_last_checkpoint
from napari_cryospin.engine.run.reconstruction import Reconstruction
from napari_cryospin.engine.runfolder import fsc
from napari_cryospin.engine.runfolder.folder import RunFolder
from small_searches import made_small

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_cryospin.engine.settings import Settings


@pytest.fixture
def in_halves(small_stack: Path) -> Settings:
    """Settings of a run of two starts, then two epochs of auto-decoding in halves."""
    settings = shortest(small_stack / "particles.star")
    settings.model.halves = True
    return settings


@pytest.fixture(scope="module")
def undisturbed(small_stack: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Return such a run; read only."""
    folder = tmp_path_factory.mktemp("halves") / "run"
    settings = shortest(small_stack / "particles.star")
    settings.model.halves = True
    with made_small():
        *_, last = Reconstruction(settings, folder).run()
    assert isinstance(last, events.Finished), last
    assert last.halves is not None and last.halves.shared is not None
    return RunFolder(folder)


@pytest.mark.parametrize(
    "when",
    [
        # in the search of each half, after it, between the epochs, in the last one
        lambda: searching,
        lambda: half_two_is_searched,
        lambda: count(events.BatchDone, 10),
        lambda: count(events.EpochDone, 3),
        lambda: count(events.EpochDone, 4),
    ],
)
def test_a_killed_run_comes_to_the_same_end(
    in_halves: Settings, undisturbed: RunFolder, tmp_path: Path, when: Callable
) -> None:
    in_halves.checkpoint_minutes = 1e-9
    killed = Reconstruction(in_halves, tmp_path / "run")
    kill(killed, when())
    resumed = list(Reconstruction.resume(tmp_path / "run").run())
    assert isinstance(resumed[-1], events.Finished), resumed[-1]
    assert is_same(killed.folder, undisturbed)


def half_two_is_searched(event: events.Event) -> bool:
    """Return whether the second half is being searched, and the first is done."""
    return isinstance(event, events.Progress) and event.task == "Searching poses, half 2"


def test_stopped_between_the_halves_a_run_keeps_its_trajectory(
    in_halves: Settings, undisturbed: RunFolder, tmp_path: Path
) -> None:
    run = Reconstruction(in_halves, tmp_path / "run")
    for event in run.run():
        if half_two_is_searched(event):
            run.controls.stop()
    assert isinstance(event, events.Finished) and event.stopped
    # the second half has the poses of all still: nothing is independent yet
    assert event.halves is not None and event.halves.shared is None
    list(Reconstruction.resume(tmp_path / "run").run())
    assert is_same(run.folder, undisturbed)


def test_what_a_run_of_halves_leaves_behind(undisturbed: RunFolder) -> None:
    table = read_star(undisturbed.star_path)
    # as in training: the half of a particle follows its number alone
    assert table.half_set is not None
    numbers = np.array([int(index) for index in table.image_index])
    assert (table.half_set == numbers % 2 + 1).all()
    columns = undisturbed.fsc()
    assert {fsc.UNMASKED, fsc.MASKED, fsc.RANDOMISED, fsc.CORRECTED, fsc.SHARED} <= set(columns)
    assert fsc.HALVES not in columns
    assert columns[fsc.SHARED].tolist() == [1.0] * 11 + [0.0] * 6
    one, two = (read_map(path)[0] for path in undisturbed.half_map_paths)
    assert not np.array_equal(one, two)
    log = undisturbed.events_path.read_text()
    assert '"FscUpdated"' in log and '"shared": 12.8' in log


def test_the_correlation_is_told_after_every_epoch_of_halves(
    in_halves: Settings, tmp_path: Path
) -> None:
    stream, run = [], RunFolder(tmp_path / "run")
    for event in Reconstruction(in_halves, run.path).run():
        if isinstance(event, events.EpochDone) and isinstance(stream[-1], FscUpdated):
            # who looks at the folder meanwhile sees it as well
            corrected = stream[-1].curves[fsc.CORRECTED]
            assert np.allclose(run.fsc()[fsc.CORRECTED], corrected, atol=1e-4)
        stream.append(event)
    told = [event for event in stream if isinstance(event, FscUpdated)]
    assert [event.epoch for event in told] == [2, 3]
    assert all(isinstance(stream[stream.index(event) + 1], events.EpochDone) for event in told)
    for event in told:
        # the live maps are made common at low frequency
        assert event.curves[fsc.UNMASKED][1:6] == pytest.approx(1, abs=0.02)
        assert event.curves[fsc.UNMASKED][11:].max() < 0.9
        assert event.curves[fsc.FREQUENCY][-1] == pytest.approx(1 / 8)
    done = [event for event in stream if isinstance(event, events.EpochDone)]
    assert [event.resolution_halves for event in done][2:] == [event.reached for event in told]


def test_a_half_without_particles_leaves_the_other_alone(
    in_halves: Settings, tmp_path: Path
) -> None:
    run = Reconstruction(in_halves, tmp_path / "run")
    first = np.arange(160) % 2 == 0
    for event in run.run():
        if isinstance(event, events.Switched) and event.stage == 1:
            run.controls.set_used(first)
    assert isinstance(event, events.Finished) and not event.stopped
    assert event.halves is not None and event.halves.shared is None
    assert read_star(run.folder.star_path).n_particles == 80


def test_particles_that_come_back_are_searched_by_their_own_half(
    in_halves: Settings, tmp_path: Path
) -> None:
    run = Reconstruction(in_halves, tmp_path / "run")
    for event in run.run():
        if isinstance(event, events.Switched) and event.stage == 1:
            run.controls.set_used(np.arange(160) < 100)
        if isinstance(event, events.EpochDone) and event.epoch == 2:
            run.controls.set_used(None)
    assert isinstance(event, events.Finished)
    state = read_last_checkpoint(run.folder, torch.device("cpu"))["inference"]
    for number, half in enumerate(state["halves"]):
        known = half["searches"]["known"]
        assert known.nonzero().flatten().tolist() == list(range(number, 160, 2))


@pytest.mark.parametrize("changes", [{"direct.hypotheses": 3}, {"direct.hypotheses": 1}])
def test_a_branch_in_the_midst_of_the_stage_tells_a_resolution(
    undisturbed: RunFolder, tmp_path: Path, changes: dict[str, int]
) -> None:
    """Its halves begin anew, and so does the search of each; the stage's epochs count on."""
    make_branch(undisturbed.path, 3, tmp_path / "branch", changes=changes)
    stream = list(Reconstruction.resume(tmp_path / "branch").run())
    last = stream[-1]
    assert isinstance(last, events.Finished), last
    assert last.halves is not None and last.halves.shared is not None
    assert [event.epoch for event in stream if isinstance(event, FscUpdated)] == [3]
    state = read_last_checkpoint(RunFolder(tmp_path / "branch"), torch.device("cpu"))["inference"]
    assert [half["searches"]["at"] for half in state["halves"]] == [0, 0]


def test_half_sets_of_the_table_are_kept(in_halves: Settings, tmp_path: Path) -> None:
    table = read_star(in_halves.data.stack)
    rows = np.arange(table.n_particles)
    given = np.where(rows % 7 < 3, 1, 2)
    zero = np.zeros((len(rows), 2))
    rotations = np.tile(np.eye(3), (len(rows), 1, 1))
    path = tmp_path / "given.star"
    write_star(path, table, rows, rotations=rotations, shifts=zero, half_set=given)
    in_halves.data.stack = path
    run = Reconstruction(in_halves, tmp_path / "run")
    *_, last = run.run()
    assert isinstance(last, events.Finished), last
    again = read_star(run.folder.star_path).half_set
    assert again is not None and (again == given[:160]).all()
    state = read_last_checkpoint(run.folder, torch.device("cpu"))["inference"]
    for number, half in enumerate(state["halves"], 1):
        # each has searched its own particles and no other
        assert torch.equal(half["searches"]["known"], torch.from_numpy(given[:160] == number))
