"""Damaged and foreign run folders: one sentence, or what is damaged is left out with a note."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from damage import BEYOND_RESUME, FOREIGN, OF_THE_LAST_CHECKPOINT, OF_VIEWERS
from napari_cryospin.engine import events
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.run.reconstruction import Reconstruction
from napari_cryospin.engine.run.snapshot import read_snapshot
from napari_cryospin.engine.run.trajectories import TrajectoryReader
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.metrics import read_metrics
from napari_cryospin.engine.runfolder.records import read_poses, trajectory, write_poses
from napari_cryospin.engine.runfolder.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Damage = Callable[[Path], object]

# damage that leaves nothing to say: what is missing is made again, strange names are not ours
_SILENT = {
    "metrics-older",
    "metrics-missing",
    "events-binary",
    "events-half",
    "events-missing",
    "verdict-binary",
    "verdict-empty",
    "verdict-list",
    "verdict-deep",
    "verdict-words",
    "verdict-older",
    "fsc-binary",
    "map-binary",
    "map-cut",
    "map-empty",
    "star-binary",
    "star-empty",
    "volume-binary",
    "volume-cut",
    "volume-huge",
    "volume-large",
    "volume-zero",
    "volumes-strange-names",
    "volumes-missing",
    "poses-binary",
    "poses-cut",
    "poses-zeros",
    "poses-inference",
    "poses-nan",
    "poses-unused",
    "poses-link",
    "poses-strange-names",
    "poses-missing",
    "fingerprint-binary",
    "fingerprint-deep",
    "fingerprint-pipe",
    "lock-binary",
    "lock-empty",
    "lock-deep",
    "all-for-viewers-missing",
}


def damaged(tiny_run: Path, tmp_path: Path, damage: Damage) -> RunFolder:
    shutil.copytree(tiny_run, tmp_path / "run")
    damage(tmp_path / "run")
    return RunFolder(tmp_path / "run")


def is_sentence(text: str) -> bool:
    return "\n" not in text and text.endswith(".") and "unexpected" not in text


def resume(folder: RunFolder) -> tuple[events.RunStarted, events.Event]:
    story = list(Reconstruction.resume(folder.path).run())
    (started,) = [event for event in story if isinstance(event, events.RunStarted)]
    return started, story[-1]


@pytest.mark.parametrize("kind", OF_VIEWERS)
def test_what_viewers_need_never_blocks_a_resume(kind: str, tiny_run: Path, tmp_path: Path) -> None:
    folder = damaged(tiny_run, tmp_path, OF_VIEWERS[kind])
    started, end = resume(folder)
    assert isinstance(end, events.Finished), end
    assert folder.map_path.is_file()
    assert folder.verdict() is not None
    told = [note for note in started.notes if str(folder.path) in note]
    assert bool(told) == (kind not in _SILENT), started.notes
    assert all(is_sentence(note) for note in told)


@pytest.mark.parametrize("kind", OF_VIEWERS)
def test_what_can_be_read_is_shown(kind: str, tiny_run: Path, tmp_path: Path) -> None:
    folder = damaged(tiny_run, tmp_path, OF_VIEWERS[kind])
    try:
        snapshot = read_snapshot(folder)
    except InputError as error:
        assert kind == "all-for-viewers-missing"
        assert is_sentence(str(error))
        return
    assert snapshot.poses.rotations.shape == (40, 3, 3)
    assert all(is_sentence(note) for note in snapshot.notes)


@pytest.mark.parametrize("kind", OF_THE_LAST_CHECKPOINT)
def test_a_damaged_last_checkpoint_gives_way_to_the_one_before(
    kind: str, tiny_run: Path, tmp_path: Path
) -> None:
    folder = damaged(tiny_run, tmp_path, OF_THE_LAST_CHECKPOINT[kind])
    started, end = resume(folder)
    assert isinstance(end, events.Finished), end
    if kind == "strange-names":
        assert started.first_epoch == 2
        return
    assert started.first_epoch == 1
    assert kind in ("a-folder", "a-pipe", "a-link") or any(
        "epoch_0002.pt" in note and "epoch_0001.pt, the one before" in note and is_sentence(note)
        for note in started.notes
    )
    for epoch in (0, 1):
        recorded = read_poses(RunFolder(tiny_run), epoch).rotations
        assert np.array_equal(read_poses(folder, epoch).rotations, recorded)


@pytest.mark.parametrize("kind", OF_THE_LAST_CHECKPOINT)
def test_without_the_last_checkpoint_the_recorded_poses_are_shown(
    kind: str, tiny_run: Path, tmp_path: Path
) -> None:
    folder = damaged(tiny_run, tmp_path, OF_THE_LAST_CHECKPOINT[kind])
    snapshot = read_snapshot(folder)
    recorded = read_poses(RunFolder(tiny_run), 1).rotations
    assert np.abs(snapshot.poses.rotations - recorded).max() < 1e-3
    assert all(is_sentence(note) for note in snapshot.notes)


def test_without_any_checkpoint_the_recorded_poses_are_shown(
    tiny_run: Path, tmp_path: Path
) -> None:
    folder = damaged(tiny_run, tmp_path, lambda path: shutil.rmtree(path / "checkpoints"))
    snapshot = read_snapshot(folder)
    (note,) = snapshot.notes
    assert "holds no checkpoint; the poses are those recorded after epoch 2." in note
    assert np.array_equal(snapshot.poses.rotations, read_poses(folder, 1).rotations)


@pytest.mark.parametrize("kind", [*BEYOND_RESUME, *FOREIGN])
def test_what_cannot_go_on_is_told(kind: str, tiny_run: Path, tmp_path: Path) -> None:
    folder = damaged(tiny_run, tmp_path, (BEYOND_RESUME | FOREIGN)[kind])
    try:
        *_, end = Reconstruction.resume(folder.path).run()
    except InputError as error:
        told = str(error)
    else:
        assert isinstance(end, events.Failed)
        assert end.bad_input, end.details
        told = end.message
    assert is_sentence(told)
    assert str(folder.path) in told or kind == "stack-gone"


def test_settings_that_were_changed_are_told(tiny_run: Path, tmp_path: Path) -> None:
    folder = damaged(tiny_run, tmp_path, lambda _: None)
    settings = folder.settings()
    settings.data.max_particles = 30
    folder.settings_path.write_text(settings.to_toml())
    *_, end = Reconstruction.resume(folder.path).run()
    assert isinstance(end, events.Failed)
    assert end.bad_input
    assert "max_particles" in end.message


def test_damaged_figures_are_set_aside_and_whole_rows_kept(tiny_run: Path, tmp_path: Path) -> None:
    folder = damaged(tiny_run, tmp_path, OF_VIEWERS["metrics-words"])
    before = folder.metrics_path.read_bytes()
    resume(folder)
    assert (folder.path / "metrics.csv.damaged-1").read_bytes() == before
    assert [row["epoch"] for row in folder.metrics()] == ["1"]


def test_what_an_event_link_leads_to_is_not_written(tiny_run: Path, tmp_path: Path) -> None:
    folder = damaged(tiny_run, tmp_path, OF_VIEWERS["events-link"])
    (folder.path / "elsewhere.txt").write_text("mine")
    resume(folder)
    assert (folder.path / "elsewhere.txt").read_text() == "mine"


def test_half_a_table_of_figures_is_half_read(tiny_run: Path, tmp_path: Path) -> None:
    folder = damaged(tiny_run, tmp_path, OF_VIEWERS["metrics-half"])
    found = read_metrics(folder.metrics_path)
    assert len(found.rows) == len(found.epochs) < 2
    (note,) = found.notes
    assert "left out" in note


@pytest.mark.parametrize("kind", [kind for kind in OF_VIEWERS if kind.startswith("verdict")])
def test_a_damaged_verdict_is_told(kind: str, tiny_run: Path, tmp_path: Path) -> None:
    folder = damaged(tiny_run, tmp_path, OF_VIEWERS[kind])
    if kind == "verdict-older":
        verdict = folder.verdict()
        assert verdict is not None
        assert (verdict.outcome, verdict.reasons) == (Outcome.CONVERGED, ("a",))
        return
    with pytest.raises(InputError, match=r"verdict\.json") as raised:
        folder.verdict()
    assert is_sentence(str(raised.value))


def test_a_damaged_epoch_is_left_out_of_a_trail(tiny_run: Path, tmp_path: Path) -> None:
    for kind in ("poses-binary", "poses-zeros"):
        folder = damaged(tiny_run, tmp_path / kind, OF_VIEWERS[kind])
        for found in (trajectory(folder, 3), TrajectoryReader(folder).read(3, 1)):
            assert found.epochs.tolist() == [0]
            (note,) = found.notes
            assert is_sentence(note)
            assert "epoch_0001.npy" in note


def test_a_record_damaged_in_another_row_is_left_out_of_a_trail(
    tiny_run: Path, tmp_path: Path
) -> None:
    def one_row(path: Path) -> None:
        table = np.load(path / "poses" / "epoch_0001.npy")
        table["quaternion"][7] = 0
        np.save(path / "poses" / "epoch_0001.npy", table)

    folder = damaged(tiny_run, tmp_path, one_row)
    assert trajectory(folder, 3).epochs.tolist() == [0, 1]
    found = TrajectoryReader(folder).read(3, 1)
    assert found.epochs.tolist() == [0]
    assert found.rotations.shape == (1, 3, 3)
    assert "epoch_0001.npy" in found.notes[0]


def test_a_record_that_is_cut_while_it_is_read_is_told(tiny_run: Path, tmp_path: Path) -> None:
    folder = damaged(tiny_run, tmp_path, lambda _: None)
    poses = read_poses(folder, 1)
    path = write_poses(folder, poses)
    os.truncate(path, path.stat().st_size - 10)
    with pytest.raises(InputError, match="cut off"):
        read_poses(folder, 1)


def test_memory_that_runs_out_is_not_called_damage(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8")

    folder = damaged(tiny_run, tmp_path, lambda _: None)
    monkeypatch.setattr(torch, "load", exhausted)
    *_, end = Reconstruction.resume(folder.path).run()
    assert isinstance(end, events.Failed)
    assert "RAM" in end.message
    assert "can be resumed from its last checkpoint" in end.message


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="there are no owners of files here")
def test_a_folder_that_may_not_be_read(tiny_run: Path, tmp_path: Path) -> None:
    folder = damaged(tiny_run, tmp_path, lambda _: None)
    own = os.geteuid()
    folder.path.chmod(0)
    try:
        if own == 0:
            os.seteuid(65534)
        with pytest.raises(InputError, match="cannot be read"):
            folder.settings()
        assert folder.metrics() == []
        assert folder.checkpoints() == []
    finally:
        os.seteuid(own)
        folder.path.chmod(0o700)


def test_mutated_figures_are_read_as_far_as_they_go(
    shared_data: Path, tiny_run: Path, tmp_path: Path
) -> None:
    found = sorted((shared_data / "fuzz_inputs").glob("run_*.csv"))
    assert len(found) >= 4
    for number, path in enumerate(found):
        folder = damaged(tiny_run, tmp_path / str(number), lambda _: None)
        shutil.copy(path, folder.metrics_path)
        snapshot = read_snapshot(folder)
        assert any("metrics.csv" in note and is_sentence(note) for note in snapshot.notes)
        assert len(snapshot.history) <= 82
        _, end = resume(folder)
        assert isinstance(end, events.Finished)
