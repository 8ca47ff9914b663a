"""Fixtures that tests of every part use.

What is costly is made once a session: read it, do not write into it. A run that a test changes is
a copy, ``copied_run``.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from napari_cryospin.engine.run.events import Event
    from napari_cryospin.engine.settings import Settings


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of structures and stacks that lie beside the repository; not shipped with it."""
    folder = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"test data are not available: there is no folder {folder.resolve()}")
    return folder.resolve()


@pytest.fixture(scope="session")
def small_stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with 200 simulated particles of box 32: particles.star, particles.mrcs and truth."""
    from napari_cryospin.engine.data.molecule import procedural_molecule
    from napari_cryospin.engine.data.simulate import simulate

    folder = tmp_path_factory.mktemp("small_stack")
    volume = procedural_molecule(box=32, pixel_size=4.0)
    simulate(volume, folder, n_particles=200, pixel_size=4.0, snr=1.0, shift_std=0.0, seed=7)
    return folder


@pytest.fixture(scope="session")
def short_settings(small_stack: Path) -> Settings:
    """Settings of a run of a second on the small stack, with the truth: 2 + 2 epochs."""
    from napari_cryospin.engine.settings import Settings
    from napari_cryospin.engine.stages import AmortizedStage, DirectStage

    settings = Settings.from_preset("quick")
    settings.threads = 1
    settings.data.stack = small_stack / "particles.star"
    settings.data.truth_star = small_stack / "truth.star"
    settings.data.truth_map = small_stack / "truth.mrc"
    settings.model.heads = 3
    settings.model.encoder_width = 8
    settings.stages = [
        AmortizedStage(epochs=2, learning_rate_encoder=1e-3, learning_rate_volume=2e-2),
        DirectStage(epochs=2, learning_rate_volume=1e-2),
    ]
    return settings


@pytest.fixture(scope="session")
def finished_story(
    short_settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[Event]]:
    """Run folder of the short settings, and the events that its run told."""
    from napari_cryospin.engine.run.reconstruction import Reconstruction

    folder = tmp_path_factory.mktemp("finished") / "run"
    return folder, list(Reconstruction(short_settings.model_copy(deep=True), folder).run())


@pytest.fixture(scope="session")
def finished_run(finished_story: tuple[Path, list[Event]]) -> Path:
    """Folder of a finished run: 4 epochs, 200 particles, map, half-maps, poses, checkpoints."""
    return finished_story[0]


@pytest.fixture
def copied_run(finished_run: Path, tmp_path: Path) -> Path:
    """Copy of the finished run that a test may change; its particles stay where they were."""
    return shutil.copytree(finished_run, tmp_path / "run")
