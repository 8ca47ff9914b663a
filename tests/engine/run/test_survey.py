"""What a finished run tells of its poses: surveys of its epochs, trajectories in one frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_cryospin.engine.data.star import read_star, write_star
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.evaluation.views import (
    best_of_heads,
    candidate_disagreement,
    counts_per_view,
    mean_per_view,
    of_heads,
)
from napari_cryospin.engine.geometry.rotations import angular_distance, random_rotations
from napari_cryospin.engine.geometry.sphere import pixels_of_directions
from napari_cryospin.engine.posterior.options import PosteriorOptions
from napari_cryospin.engine.run.results import write_selection
from napari_cryospin.engine.run.snapshot import read_epoch, read_snapshot
from napari_cryospin.engine.run.survey import probe_rows, survey_epoch
from napari_cryospin.engine.run.trajectories import TrajectoryReader
from napari_cryospin.engine.run.truth import Truth
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.records import read_poses, recorded_epochs, write_poses

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def run(copied_run: Path) -> RunFolder:
    return RunFolder(copied_run)


def test_every_epoch_can_be_surveyed(run: RunFolder) -> None:
    snapshot = read_snapshot(run)
    assert recorded_epochs(run) == [0, 1, 2, 3]
    calls = []
    surveys = [
        survey_epoch(
            run,
            epoch,
            snapshot.particles,
            snapshot.truth,
            options=PosteriorOptions(nside=4),
            probes=50,
            progress=lambda done, total: calls.append((done, total)),
        )
        for epoch in (0, 3)
    ]
    assert calls[-1] == (50, 50)
    encoding, decoding = surveys
    assert (encoding.inference, decoding.inference) == ("amortized", "direct")
    for survey in surveys:
        assert 0 <= survey.multimodal <= 1
        assert survey.best_mode_holds_truth <= survey.modes_hold_truth
    assert 0 <= encoding.winner_in_best_mode <= 1
    assert decoding.winner_in_best_mode is None


def test_the_truth_is_put_in_the_frame_of_the_class(run_of_two: Path, tmp_path: Path) -> None:
    """Of a truth that does not tell who is of which structure, all particles have a pose."""
    settings = RunFolder(run_of_two).settings()
    truth = read_star(run_of_two.parent / "truth.star")
    plain, rows = read_star(settings.data.stack), np.arange(truth.n_particles)
    settings.data.truth_star = tmp_path / "truth.star"
    write_star(
        settings.data.truth_star, plain, rows, rotations=truth.rotations, shifts=truth.shifts
    )
    particles = read_snapshot(RunFolder(run_of_two)).particles
    known = RunFolder(run_of_two), 1, particles, Truth.of(settings.data, particles)
    for number in (0, 1):
        options = PosteriorOptions(nside=4)
        found = survey_epoch(*known, options=options, of_class=number, probes=20)
        assert found.class_number == number + 1
        assert found.best_mode_holds_truth > 0.8


def test_a_missing_epoch_is_told(run: RunFolder) -> None:
    snapshot = read_snapshot(run)
    with pytest.raises(InputError, match="epoch_0009"):
        survey_epoch(run, 9, snapshot.particles, snapshot.truth)


def test_probes_are_particles_in_use() -> None:
    used = np.ones(100, dtype=bool)
    used[:50] = False
    rows = probe_rows(used, 10)
    assert len(rows) == 10
    assert rows.min() >= 50
    assert len(probe_rows(used, 500)) == 50


def test_trajectories_are_in_the_frame_of_the_epoch_that_is_looked_at(run: RunFolder) -> None:
    from dataclasses import replace

    # an epoch in another frame: all poses turned by one rotation of the map
    last = read_poses(run, 3)
    turn = random_rotations(1, np.random.default_rng(0))[0]
    write_poses(run, replace(last, epoch=4, rotations=(last.rotations @ turn).astype(np.float32)))
    reader = TrajectoryReader(run)
    way = reader.read(5, reference=3)
    assert list(way.epochs) == [0, 1, 2, 3, 4]
    assert angular_distance(way.rotations[3], last.rotations[5]) < 0.02
    assert angular_distance(way.rotations[4], last.rotations[5]) < 0.1
    assert angular_distance(reader.read(5, reference=4).rotations[4], way.rotations[4]) > 1


def test_each_class_has_a_frame_of_its_own(run: RunFolder) -> None:
    from dataclasses import replace

    first, n = read_poses(run, 3), 200
    turns = random_rotations(2, np.random.default_rng(0))
    classes = np.arange(n) % 2
    several = replace(
        first,
        classes=classes,
        class_weights=np.eye(2, dtype=np.float32)[classes],
        candidate_classes=np.zeros(first.candidate_losses.shape, np.uint8),
    )
    write_poses(run, replace(several, epoch=4))
    # the map of each class is turned by itself, and one particle goes to the other class
    turned = (first.rotations @ turns[classes]).astype(np.float32)
    gone = classes.copy()
    gone[6] = 1
    write_poses(run, replace(several, epoch=5, rotations=turned, classes=gone))
    reader = TrajectoryReader(run)
    for particle in (4, 5):
        way = reader.read(particle, reference=4)
        assert list(way.epochs[-2:]) == [4, 5]
        assert angular_distance(way.rotations[-1], first.rotations[particle]) < 0.1
    assert list(reader.read(6, reference=4).epochs[-1:]) == [4]
    assert list(reader.read(6, reference=5).epochs) == [5]


def test_a_recorded_epoch_is_read_as_it_was(run: RunFolder) -> None:
    snapshot = read_snapshot(run)
    volume, poses = read_epoch(run, 0, snapshot.particles, snapshot.truth)
    assert (volume.epoch, poses.epoch) == (0, 0)
    assert volume.volume.shape == (32, 32, 32)
    assert poses.truth.shape == (200, 3, 3)


def test_a_selection_is_a_star_file(run: RunFolder, tmp_path: Path) -> None:
    snapshot = read_snapshot(run)
    rows = np.array([3, 50, 199])
    write_selection(tmp_path / "some.star", snapshot.particles, rows, snapshot.poses)
    table = read_star(tmp_path / "some.star")
    assert table.n_particles == 3
    assert list(table.image_index) == [3, 50, 199]
    assert angular_distance(table.rotations, snapshot.poses.rotations[rows]).max() < 0.01


def test_disagreement_is_the_mean_over_pairs() -> None:
    poses = random_rotations(15, np.random.default_rng(0)).reshape(5, 3, 3, 3)
    pairs = [(0, 1), (0, 2), (1, 2)]
    expected = np.mean([angular_distance(poses[:, a], poses[:, b]) for a, b in pairs], 0)
    assert np.allclose(candidate_disagreement(poses), expected)
    assert (candidate_disagreement(poses[:, :1]) == 0).all()


def test_heads_without_a_candidate_take_no_part() -> None:
    poses = random_rotations(15, np.random.default_rng(0)).reshape(5, 3, 3, 3)
    losses = np.ones((5, 3))
    losses[:, 1] = np.nan
    losses[4, 2] = np.nan
    found = of_heads(poses, best_of_heads(losses, None, 3))
    expected = angular_distance(poses[:4, 0], poses[:4, 2])
    assert np.allclose(candidate_disagreement(found)[:4], expected)
    assert np.isnan(candidate_disagreement(found)[4])


def test_candidates_are_compared_within_the_class_of_a_particle(run: RunFolder) -> None:
    from dataclasses import replace

    poses = read_poses(run, 0)
    n, k = poses.candidate_losses.shape
    of = np.broadcast_to(np.arange(k) % 2, (n, k)).astype(np.uint8)
    several = replace(poses, classes=np.arange(n) % 2, candidate_classes=of)
    kept = np.isfinite(several.own_losses)
    assert (kept == (np.isfinite(poses.candidate_losses) & (of == np.arange(n)[:, None] % 2))).all()
    assert (poses.own_losses == poses.candidate_losses).all()


def test_figures_per_view_equal_brute_force() -> None:
    rng = np.random.default_rng(0)
    directions = random_rotations(300, rng)[:, 2]
    values = rng.normal(size=(300, 2))
    values[0, 0] = np.nan
    pixels = pixels_of_directions(directions, 2)
    means = mean_per_view(directions, values, 2)
    counts = counts_per_view(directions, 2)
    assert counts.sum() == 300
    for pixel in range(48):
        inside = values[pixels == pixel]
        assert counts[pixel] == len(inside)
        for head in range(2):
            known = inside[np.isfinite(inside[:, head]), head]
            expected = known.mean() if len(known) else np.nan
            assert means[head, pixel] == pytest.approx(expected, nan_ok=True)
