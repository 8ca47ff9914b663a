"""A run of two optics groups whose noise differs: told, finished, resumed, looked into."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from disturbed import count, is_same, kill, shortest
from napari_cryospin.engine import events
from napari_cryospin.engine.data.molecule import procedural_molecule
from napari_cryospin.engine.data.nuisances import Nuisances
from napari_cryospin.engine.posterior.of_particles import ParticlePosteriors
from napari_cryospin.engine.posterior.options import PosteriorOptions
from napari_cryospin.engine.run.reconstruction import Reconstruction
from napari_cryospin.engine.run.snapshot import read_snapshot
from napari_cryospin.engine.simulate import simulate
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
