"""What a run says of its own result, with searches and judgements at their full size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from napari_cryospin.engine.data.molecule import procedural_molecule
from napari_cryospin.engine.judging.evidence import Judgement
from napari_cryospin.engine.run.judgement import reach_verdict
from napari_cryospin.engine.run.reconstruction import Reconstruction
from napari_cryospin.engine.run.training import Training
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.verdict import Outcome
from napari_cryospin.engine.simulate import simulate
from napari_cryospin.engine.stages import MarginalStage

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.settings import Settings


@pytest.fixture
def small_searches() -> None:
    """Searches and judgements at their full size, other than in the tests of runs."""


def test_a_structure_is_told_from_noise(settings: Settings, tmp_path: Path) -> None:
    """The same molecule, with particles that show it and with particles that do not.

    A single stage finds the particles' poses where they are centred; noise has every freedom.
    """
    volume = procedural_molecule(box=32, pixel_size=4.0)
    found = {}
    for name, snr in (("structure", 1.0), ("noise", 1e-9)):
        simulate(volume, tmp_path / name, n_particles=250, pixel_size=4.0, snr=snr, seed=1)
        settings.data.stack = tmp_path / name / "particles.star"
        settings.data.truth_star = settings.data.truth_map = None
        settings.stages, settings.starts = [MarginalStage()], 2
        settings.model.shifts = name == "noise"
        list(Reconstruction(settings, tmp_path / f"{name}-run").run())
        found[name] = RunFolder(tmp_path / f"{name}-run").verdict()
    assert found["structure"].outcome is Outcome.CONVERGED
    assert found["structure"].gain > 5
    assert found["noise"].outcome is Outcome.NO_STRUCTURE
    # shifts are summed over anywhere for no structure, and near the best ones for the map
    assert -1 < found["noise"].gain < 0.5
    assert found["structure"].expected_right > 0.9
    assert found["noise"].expected_right is None
    for verdict in found.values():
        assert all(reason.endswith(".") for reason in verdict.reasons)


@pytest.mark.parametrize(
    ("sure", "outcome"),
    [(0.97, Outcome.CONVERGED), (0.7, Outcome.UNCERTAIN), (0.3, Outcome.STUCK)],
)
def test_the_verdict_tells_how_many_poses_are_right(
    particles: Particles,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    sure: float,
    outcome: Outcome,
) -> None:
    gain = torch.full((50,), 5.0)
    judged = Judgement(torch.arange(50), gain, gain, torch.zeros(50, 4, 3, 3), torch.zeros(50, 4))
    monkeypatch.setattr(Training, "judge", lambda _: judged)
    monkeypatch.setattr(Training, "pose_confidence", lambda *_: torch.full((50,), sure))
    monkeypatch.setattr("napari_cryospin.engine.run.judgement.local_misfit", lambda *_: None)
    verdict = reach_verdict(Training(particles, settings))
    assert verdict.outcome is outcome
    assert verdict.expected_right == pytest.approx(sure)
    assert any(f"{100 * sure:.0f} % of their poses" in reason for reason in verdict.reasons)


def test_few_particles_are_not_judged(settings: Settings, tmp_path: Path) -> None:
    settings.data.max_particles = 40
    stream = list(Reconstruction(settings, tmp_path / "run").run())
    assert stream[-1].verdict.outcome is Outcome.UNKNOWN
