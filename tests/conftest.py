"""Fixtures that tests of every part use."""

from __future__ import annotations

from pathlib import Path

import pytest


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


@pytest.fixture
def found_run(small_stack: Path, tmp_path: Path) -> Path:
    """Folder of a finished run of the small stack that found the true poses; nothing is trained."""
    import torch

    from napari_cryospin.engine.data.load import open_particles
    from napari_cryospin.engine.data.preprocess import prepare
    from napari_cryospin.engine.run.folder import RunFolder
    from napari_cryospin.engine.run.results import write_results
    from napari_cryospin.engine.run.training import Training
    from napari_cryospin.engine.settings import Settings

    settings = Settings.from_preset("default")
    settings.data.stack, settings.data.box = small_stack / "particles.star", 32
    training = Training(prepare(open_particles(settings.data.stack), settings.data), settings)
    rotations = open_particles(small_stack / "truth.star").rotations
    training.poses.rotations = torch.from_numpy(rotations).float()
    folder = RunFolder(tmp_path / "found_run")
    folder.create(settings)
    folder.write_checkpoint(training.state(), 1)
    for _ in write_results(folder, training, None):
        pass
    return folder.path
