"""A run of two optics groups whose noise differs: told, finished, resumed, looked into."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from disturbed import count, is_same, kill, shortest
from napari_cryospin.engine import events
from napari_cryospin.engine.data.load import read_table
from napari_cryospin.engine.data.molecule import procedural_molecule
from napari_cryospin.engine.data.nuisances import Nuisances
from napari_cryospin.engine.data.preprocess import prepare
from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.judging.particle_fit import ParticleFit
from napari_cryospin.engine.models.encoders.polar import PolarEncoder
from napari_cryospin.engine.models.noise import NoiseSpectrum
from napari_cryospin.engine.models.volume import HartleyVolume
from napari_cryospin.engine.posterior.of_particles import ParticlePosteriors
from napari_cryospin.engine.posterior.options import PosteriorOptions
from napari_cryospin.engine.run.answers import Answers
from napari_cryospin.engine.run.first_maps import signal_amplitude
from napari_cryospin.engine.run.inferring import Teachings
from napari_cryospin.engine.run.reconstruction import Reconstruction
from napari_cryospin.engine.run.snapshot import read_snapshot
from napari_cryospin.engine.runfolder.encoder import SavedEncoder
from napari_cryospin.engine.simulate import simulate
from napari_cryospin.engine.state.pose_table import PoseTable
from napari_cryospin.engine.state.problem import Problem
from small_searches import made_small

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    folder = tmp_path / "stack"
    simulate(
        procedural_molecule(32, 8.0), folder, n_particles=160, pixel_size=8.0, snr=0.3, seed=2,
        nuisances=Nuisances(groups=2),
    )  # fmt: skip
    return shortest(folder / "particles.star")


@pytest.mark.parametrize("home", ["memory", "disk"])
def test_a_run_of_two_groups(settings: Settings, tmp_path: Path, home: str) -> None:
    settings.data.particles_in = home
    whole, parts = (Reconstruction(settings, tmp_path / name) for name in ("whole", "parts"))
    with made_small():
        seen = list(whole.run())
        kill(parts, count(events.EpochDone, 3))
        list(Reconstruction.resume(parts.folder.path).run())
    assert isinstance(seen[-1], events.Finished), seen[-1]
    (started,) = (event for event in seen if isinstance(event, events.RunStarted))
    assert any("noise of 2 groups" in note for note in started.notes)
    assert is_same(parts.folder, whole.folder)
    # the explorer shows the image as it is, and a posterior of the filtered one
    shot = read_snapshot(whole.folder)
    assert shot.particles.noise_filters is not None
    posteriors = ParticlePosteriors(shot.particles, PosteriorOptions(nside=4))
    shifts = shot.poses.shifts / shot.particles.pixel_size
    posteriors.set_volume(shot.volume.volume, shifts, scales=shot.poses.scales)
    found = posteriors.particle(3, shifts[3])
    assert np.array_equal(found.image, shot.particles.image(3))
    assert np.isfinite(found.probability).all()


def test_a_map_explains_as_much_of_what_is_inferred(settings: Settings) -> None:
    """Power is told of the images as they are, and not as they are filtered."""
    assert settings.data.stack is not None
    particles = prepare(read_table(settings.data.stack), settings.data)
    assert particles.noise_filters is not None
    rows, draw = torch.arange(particles.n), torch.Generator().manual_seed(0)
    volume = HartleyVolume(32, signal_amplitude(particles, rows), draw)
    poses = PoseTable.empty(particles.n, 1, torch.device("cpu"))
    poses.losses[:] = 1
    held_out = torch.zeros(particles.n, dtype=torch.bool)
    problem = Problem(particles, volume, poses, held_out, settings.model, 0)
    noise = NoiseSpectrum(torch.linspace(1.5, 0.8, 16))
    saved = SavedEncoder(
        kind="polar", heads=1, turns=1, width=8, shifts=False, scales=False, box=32,
        pixel_size=8.0, radius=8.0, epoch=1, noise=tuple(noise.variance.tolist()),
    )  # fmt: skip
    encoder = PolarEncoder(32, heads=1, turns=1, width=8)
    answers = Answers(Teachings(saved, encoder, (volume,), noise), particles, refine=False)
    candidates = Poses(poses.rotations[:, None], poses.shifts[:, None])
    with torch.no_grad():
        told = answers.again(rows, candidates, torch.ones(particles.n, 1)).inferred(particles)
    measured = ParticleFit.measured(problem, 16, noise)
    for name in ("log_likelihood", "explained"):
        found, expected = getattr(told.fit, name), getattr(measured, name)
        assert expected.isfinite().any()
        assert torch.allclose(found, expected, rtol=1e-4, atol=1e-4, equal_nan=True)
