"""Fixtures that tests of every part use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
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
    """Folder with 200 simulated particles of box 32: particles.star, particles.mrcs and truth.

    The fixture is shared by the whole session: read it, do not write into it.
    """
    from napari_cryospin.engine.data.molecule import procedural_molecule
    from napari_cryospin.engine.data.simulate import simulate

    folder = tmp_path_factory.mktemp("small_stack")
    volume = procedural_molecule(box=32, pixel_size=4.0)
    simulate(volume, folder, n_particles=200, pixel_size=4.0, snr=1.0, shift_std=0.0, seed=7)
    return folder


@pytest.fixture(scope="session")
def tiny_stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with 40 simulated particles of box 32, for runs of which only the files matter.

    The fixture is shared by the whole session: read it, do not write into it.
    """
    from napari_cryospin.engine.data.molecule import procedural_molecule
    from napari_cryospin.engine.data.simulate import simulate

    folder = tmp_path_factory.mktemp("tiny_stack")
    volume = procedural_molecule(box=32, pixel_size=4.0)
    simulate(volume, folder, n_particles=40, pixel_size=4.0, snr=1.0, shift_std=0.0, seed=7)
    return folder


def settings_of_tiny_run(tiny_stack: Path) -> Settings:
    """Return settings of a run of half a second: two stages, two epochs, two candidates."""
    from napari_cryospin.engine.settings import Settings
    from napari_cryospin.engine.stages import DirectStage, MarginalStage

    settings = Settings(starts=1, threads=1, device="cpu")
    settings.data.stack = tiny_stack / "particles.star"
    settings.data.truth_star = tiny_stack / "truth.star"
    settings.data.truth_map = tiny_stack / "truth.mrc"
    settings.data.box = 32
    settings.stages = [
        MarginalStage(epochs=1, nside=2, until="epochs"),
        DirectStage(epochs=1, pose_steps=1),
    ]
    return settings


@pytest.fixture
def tiny_settings(tiny_stack: Path) -> Settings:
    """Settings of a run of half a second on the tiny stack."""
    return settings_of_tiny_run(tiny_stack)


@pytest.fixture(scope="session")
def tiny_run(tiny_stack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run folder of two epochs; copy it before you write into it."""
    from napari_cryospin.engine.run.events import Finished
    from napari_cryospin.engine.run.reconstruction import Reconstruction

    folder = tmp_path_factory.mktemp("tiny_run") / "run"
    *_, last = Reconstruction(settings_of_tiny_run(tiny_stack), folder).run()
    assert isinstance(last, Finished), last
    return folder
