"""Whole reconstructions of particles that show a structure: the default finds it, seed for seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from napari_cryospin.engine import events
from napari_cryospin.engine.data.molecule import procedural_molecule
from napari_cryospin.engine.evaluation.report import evaluate
from napari_cryospin.engine.run.reconstruction import Reconstruction
from napari_cryospin.engine.runfolder.verdict import Outcome
from napari_cryospin.engine.settings import Settings
from napari_cryospin.engine.simulate import simulate

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow_campaign


@pytest.mark.parametrize("seed", [0, 1])
def test_the_default_finds_the_structure(tmp_path: Path, seed: int) -> None:
    volume = procedural_molecule(box=32, pixel_size=4.0)
    simulate(volume, tmp_path / "stack", n_particles=600, pixel_size=4.0, snr=1.0, seed=seed)
    settings = Settings.from_preset("default")
    settings.seed, settings.threads = seed, 1
    settings.data.stack = tmp_path / "stack" / "particles.star"
    *_, last = Reconstruction(settings, tmp_path / "run").run()
    assert isinstance(last, events.Finished), last
    assert last.verdict.outcome is Outcome.CONVERGED
    truth = tmp_path / "stack" / "truth.star", tmp_path / "stack" / "truth.mrc"
    found = evaluate(tmp_path / "run" / "particles.star", tmp_path / "run" / "map.mrc", *truth)
    assert found.mean_pose_error_deg <= 5
    assert found.fsc_fraction_of_nyquist >= 0.9
