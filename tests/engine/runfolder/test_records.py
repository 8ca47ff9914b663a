from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.lib.recfunctions import repack_fields

from napari_cryospin.engine import events
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.events import PosesUpdated
from napari_cryospin.engine.geometry.rotations import angular_distance, random_rotations
from napari_cryospin.engine.run.snapshot import read_epoch, read_snapshot
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.records import (
    bytes_per_particle,
    read_poses,
    recorded_epochs,
    trajectory,
    write_poses,
)
from napari_cryospin.engine.settings import Settings
from napari_cryospin.engine.stages import Inference

if TYPE_CHECKING:
    from pathlib import Path

N, HEADS = 500, 5
FITS = ("log_likelihood", "explained")


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    folder.create(Settings())
    return folder


def some_poses(
    epoch: int = 7, inference: Inference = Inference.AMORTIZED, heads: int = HEADS
) -> PosesUpdated:
    rng = np.random.default_rng(epoch)
    candidates = random_rotations(N * HEADS, rng).reshape(N, HEADS, 3, 3).astype(np.float32)
    losses = rng.uniform(0.5, 2, (N, HEADS)).astype(np.float32)
    losses[0] = np.nan
    winner = losses.argmin(1)
    winner[0] = -1
    return PosesUpdated(
        epoch=epoch,
        inference=inference,
        rotations=candidates[np.arange(N), winner],
        shifts=rng.uniform(-30, 30, (N, 2)).astype(np.float32),
        winner=winner,
        losses=losses[np.arange(N), winner],
        used=rng.random(N) < 0.9,
        candidates=candidates[:, :heads],
        candidate_shifts=rng.uniform(-30, 30, (N, HEADS, 2)).astype(np.float32)[:, :heads],
        candidate_losses=losses[:, :heads],
        scales=rng.uniform(0.5, 2, N).astype(np.float32),
        membership=rng.random(N).astype(np.float32),
        log_likelihood=rng.normal(100, 30, N).astype(np.float32),
        explained=rng.uniform(-0.1, 1.2, N).astype(np.float32),
    )


def test_poses_come_back_but_for_rounding(folder: RunFolder) -> None:
    written = some_poses()
    assert write_poses(folder, written) == folder.path / "poses" / "epoch_0007.npy"
    found = read_poses(folder, 7)
    assert (found.epoch, found.inference, found.truth) == (7, Inference.AMORTIZED, None)
    assert angular_distance(found.rotations, written.rotations).max() < 0.01
    assert angular_distance(found.candidates, written.candidates).max() < 0.01
    assert np.abs(found.membership - written.membership).max() < 1e-3
    for name in ("shifts", "candidate_shifts"):
        assert np.abs(getattr(found, name) - getattr(written, name)).max() < 0.01
    for name in ("losses", "candidate_losses"):
        assert np.allclose(getattr(found, name), getattr(written, name), 1e-3, equal_nan=True)
    assert np.isnan(found.losses[0])
    for name in ("winner", "used", "scales", "log_likelihood", "explained"):
        assert np.array_equal(getattr(found, name), getattr(written, name))
    for name, value in vars(found).items():
        if isinstance(value, np.ndarray):
            assert value.dtype == getattr(written, name).dtype


def test_records_of_an_earlier_version_have_scales_of_one(folder: RunFolder) -> None:
    written = some_poses()
    path = write_poses(folder, written)
    table = np.load(path, allow_pickle=False)
    kept = [name for name in table.dtype.names if name not in ("scale", "membership", *FITS)]
    assert len(kept) == 9
    called = {"winner": "winning_head"}
    earlier = np.empty(N, [(called.get(name, name), table.dtype[name]) for name in kept])
    for name in kept:
        earlier[called.get(name, name)] = table[name]
    np.save(path, earlier, allow_pickle=False)
    found = read_poses(folder, 7)
    assert np.array_equal(found.winner, written.winner)
    assert set(found.scales) == {1.0} and found.scales.dtype == np.float32
    assert set(found.membership) == {1.0}
    for name in FITS:
        assert np.isnan(getattr(found, name)).all() and len(getattr(found, name)) == N
    assert len(trajectory(folder, 3).epochs) == 1


def test_records_without_memberships_have_all_belong(folder: RunFolder) -> None:
    path = write_poses(folder, some_poses())
    table = np.load(path, allow_pickle=False)
    np.save(path, repack_fields(table[[n for n in table.dtype.names if n != "membership"]]))
    found = read_poses(folder, 7)
    assert set(found.membership) == {1.0}
    assert np.array_equal(found.scales, some_poses().scales)


@pytest.mark.parametrize("value", [np.nan, -0.5, 2.0])
def test_a_membership_that_is_no_probability_is_damage(folder: RunFolder, value: float) -> None:
    written = some_poses()
    written.membership[4] = value
    write_poses(folder, written)
    with pytest.raises(InputError, match="memberships are no probabilities"):
        read_poses(folder, 7)


def test_a_scale_that_is_no_number_is_damage(folder: RunFolder) -> None:
    written = some_poses()
    written.scales[4] = np.nan
    path = write_poses(folder, written)
    with pytest.raises(InputError, match=path.name):
        read_poses(folder, 7)


def test_auto_decoding_with_one_hypothesis_records_no_candidates(folder: RunFolder) -> None:
    write_poses(folder, some_poses(inference=Inference.DIRECT, heads=0))
    found = read_poses(folder, 7)
    assert found.inference is Inference.DIRECT
    assert found.candidates.shape == (N, 0, 3, 3)
    assert found.candidate_shifts.shape == (N, 0, 2)
    assert found.candidate_losses.shape == (N, 0)


@pytest.mark.parametrize(
    ("inference", "heads", "size"), [(Inference.AMORTIZED, 5, 101), (Inference.DIRECT, 0, 31)]
)
def test_a_record_is_as_large_as_stated(
    folder: RunFolder, inference: Inference, heads: int, size: int
) -> None:
    path = write_poses(folder, some_poses(inference=inference, heads=heads))
    assert bytes_per_particle(heads) == size
    assert np.load(path, allow_pickle=False).nbytes == N * size
    # numpy's header goes before the rows
    assert N * size < path.stat().st_size < N * size + 1024


def test_a_loss_beyond_half_precision_is_its_largest(folder: RunFolder) -> None:
    written = some_poses()
    written.losses[3] = 1e6
    write_poses(folder, written)
    assert read_poses(folder, 7).losses[3] == 65504


def test_an_epoch_that_is_redone_takes_the_place_of_the_old_ones(folder: RunFolder) -> None:
    assert recorded_epochs(folder) == []
    for epoch in (0, 1, 2, 10_000):
        write_poses(folder, some_poses(epoch))
    (folder.path / "poses" / "epoch_1 (copy).npy").touch()
    assert recorded_epochs(folder) == [0, 1, 2, 10_000]
    again = replace(some_poses(1), used=np.zeros(N, bool))
    write_poses(folder, again)
    assert recorded_epochs(folder) == [0, 1]
    assert not read_poses(folder, 1).used.any()


def test_a_trajectory_is_the_poses_of_all_epochs(
    finished_story: tuple[Path, list[events.Event]],
) -> None:
    folder, stream = RunFolder(finished_story[0]), finished_story[1]
    assert isinstance(stream[-1], events.Finished)
    assert recorded_epochs(folder) == [0, 1, 2, 3]
    found = trajectory(folder, 150)
    assert found.epochs.tolist() == [0, 1, 2, 3]
    assert found.inferences == (Inference.AMORTIZED,) * 2 + (Inference.DIRECT,) * 2
    for epoch in recorded_epochs(folder):
        last = [e for e in stream if isinstance(e, PosesUpdated) and e.epoch == epoch][-1]
        recorded = read_poses(folder, epoch)
        assert angular_distance(found.rotations[epoch], last.rotations[150]) < 0.01
        assert np.array_equal(found.rotations[epoch], recorded.rotations[150])
        assert found.winner[epoch] == last.winner[150] >= 0
        assert found.losses[epoch] == recorded.losses[150]
        assert found.losses[epoch] == pytest.approx(last.losses[150], rel=1e-3)


def test_only_one_row_is_read_for_a_trajectory(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_poses(folder, some_poses())
    rows = []
    fromfile = np.fromfile

    def watched(file: object, dtype: np.dtype, count: int, **options: int) -> np.ndarray:
        rows.append(count)
        return fromfile(file, dtype, count, **options)

    monkeypatch.setattr(np, "fromfile", watched)
    trajectory(folder, 3)
    assert rows == [1]


def test_before_the_first_epoch_a_trajectory_is_empty(folder: RunFolder) -> None:
    found = trajectory(folder, 0)
    assert found.rotations.shape == (0, 3, 3)
    assert found.inferences == ()


@pytest.mark.parametrize("particle", [-1, N])
def test_a_particle_that_does_not_exist_is_told(folder: RunFolder, particle: int) -> None:
    write_poses(folder, some_poses())
    with pytest.raises(InputError, match=f"no poses of a particle {particle}"):
        trajectory(folder, particle)


def test_a_missing_or_damaged_record_is_told(folder: RunFolder) -> None:
    with pytest.raises(InputError, match=r"epoch_0003\.npy"):
        read_poses(folder, 3)
    path = write_poses(folder, some_poses())
    whole = path.read_bytes()
    rows = N * bytes_per_particle(HEADS)
    for damaged in (b"", b"damaged", whole[:100], whole[:-20], whole[:-rows] + bytes(rows)):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"epoch_0007\.npy"):
            read_poses(folder, 7)
    for table in (np.zeros(N), np.array([{}], dtype=object)):
        np.save(path, table)
        with pytest.raises(InputError, match=r"epoch_0007\.npy"):
            read_poses(folder, 7)


def test_an_epoch_is_read_as_the_events_that_it_ended_with(
    copied_run: Path, finished_story: tuple[Path, list[events.Event]]
) -> None:
    folder, stream = RunFolder(copied_run), finished_story[1]
    snapshot = read_snapshot(folder)
    assert snapshot.truth is not None
    for epoch in (1, 3):
        volume, poses = read_epoch(folder, epoch, snapshot.particles, snapshot.truth)
        of_epoch = [event for event in stream if getattr(event, "epoch", None) == epoch]
        last = [event for event in of_epoch if isinstance(event, PosesUpdated)][-1]
        shown = [event for event in of_epoch if isinstance(event, events.VolumeUpdated)][-1]
        assert np.array_equal(volume.volume, shown.volume)
        assert (volume.inference, volume.epoch) == (shown.inference, shown.epoch)
        assert (poses.inference, poses.epoch) == (volume.inference, epoch)
        assert angular_distance(poses.rotations, last.rotations).max() < 0.01
        assert poses.truth is not None
        # the two frames differ by the rounding alone
        assert np.median(angular_distance(poses.truth, last.truth)) < 0.1
    assert read_epoch(folder, 1, snapshot.particles, None)[1].truth is None
    with pytest.raises(InputError, match="500 particles"):
        write_poses(folder, some_poses(1))
        read_epoch(folder, 1, snapshot.particles, None)


def test_a_folder_gives_the_poses_of_an_epoch_by_default_the_last(folder: RunFolder) -> None:
    with pytest.raises(InputError, match="no poses yet"):
        folder.poses()
    for epoch in (3, 7):
        write_poses(folder, some_poses(epoch))
    assert folder.recorded_epochs() == [3, 7]
    with pytest.raises(InputError, match=r"Epoch 10 of .* was not recorded: it has 4 to 8,"):
        folder.poses(9)
    assert folder.poses().epoch == 7
    np.testing.assert_array_equal(folder.poses(3).rotations, read_poses(folder, 3).rotations)


def test_a_folder_is_named_by_a_text_too(finished_run: Path) -> None:
    folder = RunFolder(str(finished_run))
    assert folder.map_path == finished_run / "map.mrc"
    assert [done.epoch for done in folder.history()] == folder.recorded_epochs()
