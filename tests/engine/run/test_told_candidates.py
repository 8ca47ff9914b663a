"""Which candidates are told and recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from napari_cryospin.engine.geometry.rotations import angular_distance, exponential_map
from napari_cryospin.engine.judging.particle_fit import ParticleFit
from napari_cryospin.engine.run import told_candidates as told
from napari_cryospin.engine.run.snapshot import poses_event
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.records import (
    bytes_per_particle,
    read_poses,
    trajectory,
    write_poses,
)
from napari_cryospin.engine.settings import Settings
from napari_cryospin.engine.stages import Inference
from napari_cryospin.engine.state.pose_table import PoseTable

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.events import PosesUpdated

N, HEADS, TURNS = 50, 3, 8


@pytest.fixture
def poses() -> PoseTable:
    """Candidates that scatter around two modes; the first particle has not been seen yet."""
    draw = torch.Generator().manual_seed(0)
    table = PoseTable.empty(N, 1, torch.device("cpu"))
    table.with_candidates(HEADS * TURNS, TURNS)
    modes = exponential_map(torch.tensor([[0.0, 0, 0], [0, 2.5, 0]]))
    which = torch.randint(2, (N, HEADS * TURNS), generator=draw)
    scatter = 0.05 * torch.randn(N, HEADS * TURNS, 3, generator=draw)
    table.candidates = exponential_map(scatter) @ modes[which]
    table.candidate_shifts = torch.randn(N, HEADS * TURNS, 2, generator=draw)
    table.candidate_losses = torch.rand(N, HEADS * TURNS, generator=draw)
    table.winner = table.candidate_losses.argmin(1)
    rows = torch.arange(N)
    table.rotations = table.candidates[rows, table.winner]
    table.losses = table.candidate_losses[rows, table.winner]
    table.winner[0] = -1
    table.candidate_losses[0] = table.losses[0] = torch.nan
    return table


def event(poses: PoseTable, *, recorded: bool) -> PosesUpdated:
    fit = ParticleFit.unknown(N, torch.device("cpu"))
    used = np.ones(N, bool)
    kind = Inference.AMORTIZED
    return poses_event(poses, fit, used, 2, kind, 2.0, None, recorded=recorded)


def test_few_candidates_are_told_in_full(poses: PoseTable) -> None:
    found = event(poses, recorded=False)
    assert found.candidates.shape[1] == HEADS * TURNS
    assert found.n_heads == HEADS and found.candidate_counts is None
    assert np.array_equal(found.heads(3), np.arange(HEADS * TURNS) // TURNS)
    assert np.array_equal(found.winning_head[1:], poses.winner[1:].numpy() // TURNS)
    assert found.winning_head[0] == -1
    # a copy that nobody else writes to
    poses.candidates.zero_()
    assert np.abs(found.candidates).max() > 0


def test_the_best_of_each_head_and_other_modes_are_recorded(
    poses: PoseTable, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.create(Settings())
    path = write_poses(folder, event(poses, recorded=True))
    found = read_poses(folder, 2)
    k = HEADS + told.OTHERS
    size = path.stat().st_size - N * bytes_per_particle(k, several_turns=True)
    assert 0 < size < 1000
    assert bytes_per_particle(k, several_turns=True) == 31 + 17 * k
    assert found.n_heads == HEADS and found.candidates.shape[1] == k
    by_head = poses.candidate_losses[1:].unflatten(1, (HEADS, TURNS)).amin(2).numpy()
    assert np.allclose(found.candidate_losses[1:, :HEADS], by_head, atol=1e-3)
    assert np.array_equal(found.candidate_heads[1:, :HEADS], np.tile(np.arange(HEADS), (N - 1, 1)))
    assert np.array_equal(found.winning_head, event(poses, recorded=False).winning_head)
    rows = np.arange(1, N)
    assert np.allclose(found.candidates[rows, found.winner[1:]], found.rotations[1:], atol=1e-3)
    assert trajectory(folder, 4).winner[0] == found.winning_head[4]
    for row in rows:
        here = np.isfinite(found.candidate_losses[row])
        assert np.array_equal(here, found.candidate_heads[row] >= 0)
        kept = found.candidates[row, here]
        # no mode is missed, and the others are the best of theirs
        apart = angular_distance(poses.candidates[row].numpy()[:, None], kept[None])
        assert apart.min(1).max() < 20
        assert (found.candidate_counts[row, here] == (apart < 20).sum(0)).all()
    assert not np.isfinite(found.candidate_losses[0]).any()


def test_many_candidates_are_told_as_they_are_recorded(
    poses: PoseTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(told, "_FEW", 10)
    live, recorded = event(poses, recorded=False), event(poses, recorded=True)
    assert np.array_equal(live.candidates, recorded.candidates)
    assert live.candidates.shape[1] == HEADS + told.OTHERS


def test_with_one_turn_each_candidate_is_a_head(poses: PoseTable) -> None:
    poses.turns = 1
    found = event(poses, recorded=True)
    assert found.candidate_heads is None
    assert found.n_heads == found.candidates.shape[1] == HEADS * TURNS
    assert np.array_equal(found.winning_head, poses.winner.numpy())


def test_without_candidates_the_winner_is_the_head_before(poses: PoseTable) -> None:
    heads = poses.winner.numpy() // TURNS
    poses.candidates, poses.candidate_shifts = (
        poses.candidates[:, :0],
        poses.candidate_shifts[:, :0],
    )
    poses.candidate_losses = poses.candidate_losses[:, :0]
    found = event(poses, recorded=True)
    assert np.array_equal(found.winning_head[1:], heads[1:]) and found.winning_head[0] == -1


def test_the_table_remembers_its_turns(poses: PoseTable) -> None:
    other = PoseTable.empty(N, 1, torch.device("cpu"))
    other.load(poses.state())
    assert other.turns == TURNS
    before = {name: value for name, value in poses.state().items() if name != "turns"}
    other.load(before)
    assert other.turns == 1
    poses.reset()
    assert poses.turns == TURNS and poses.candidate_losses.shape == (N, HEADS * TURNS)
