"""Fixtures that tests of every part use.

What is costly is made once a session: read it, do not write into it. A run that a test changes is
a copy, ``copied_run``.
"""

from __future__ import annotations

import os
import shutil
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

# before torch is imported: of several threads sums come out otherwise, and a limit may be missed
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

from small_searches import made_small

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_cryospin.engine.events import Event
    from napari_cryospin.engine.settings import Settings
    from napari_cryospin.engine.stages import Stage


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of structures and stacks that lie beside the repository; not shipped with it."""
    folder = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"test data are not available: there is no folder {folder.resolve()}")
    return folder.resolve()


@pytest.fixture
def small_searches() -> Iterator[None]:
    """Searches and judgements of a run are small, as in the runs that tests share."""
    with made_small():
        yield


@pytest.fixture
def guessed(monkeypatch: pytest.MonkeyPatch) -> type[Stage]:
    """Settings of a fourth inference, of the module ``guessing``; registered during a test."""
    from napari_cryospin.engine.stages import Inference

    monkeypatch.setattr(Inference, "_registered", dict(Inference._registered))
    monkeypatch.delitem(sys.modules, "guessing", raising=False)
    settings: type[Stage] = import_module("guessing").GuessedStage
    return settings


@pytest.fixture(scope="session")
def small_stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with 200 simulated particles of box 32: particles.star, particles.mrcs and truth."""
    from napari_cryospin.engine.data.molecule import procedural_molecule
    from napari_cryospin.engine.simulate import simulate

    folder = tmp_path_factory.mktemp("small_stack")
    volume = procedural_molecule(box=32, pixel_size=4.0)
    simulate(volume, folder, n_particles=200, pixel_size=4.0, snr=1.0, shift_std=0.0, seed=7)
    return folder


@pytest.fixture
def found_run(small_stack: Path, tmp_path: Path) -> Path:
    """Folder of a finished run of the small stack that found the true poses; nothing is trained."""
    import torch

    from napari_cryospin.engine.data.load import read_table
    from napari_cryospin.engine.data.preprocess import prepare
    from napari_cryospin.engine.run.checkpoint_writing import write_checkpoint
    from napari_cryospin.engine.run.results import write_results
    from napari_cryospin.engine.run.training import Training
    from napari_cryospin.engine.runfolder.folder import RunFolder
    from napari_cryospin.engine.settings import Settings

    settings = Settings.from_preset("default")
    settings.data.stack, settings.data.box = small_stack / "particles.star", 32
    training = Training(prepare(read_table(settings.data.stack), settings.data), settings)
    rotations = read_table(small_stack / "truth.star").rotations
    training.poses.rotations = torch.from_numpy(rotations).float()
    folder = RunFolder(tmp_path / "found_run")
    folder.create(settings)
    write_checkpoint(folder, training.state(), 1)
    for _ in write_results(folder, training, None):
        pass
    return folder.path


@pytest.fixture(scope="session")
def run_of_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished run that found two structures; nothing is trained, copy it to change it.

    Class 1 is the larger one and holds the second structure of the truth, class 2 the first one. In
    the first of the two recorded epochs nobody is of class 2. Beside it lie the stack, truth.star,
    truth.mrc and truth_class2.mrc.
    """
    from found_classes import write_run_of_two

    folder = tmp_path_factory.mktemp("two_classes")
    return write_run_of_two(folder)


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
    settings.model.encoder, settings.model.heads = "vgg", 3
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
    with made_small():
        return folder, list(Reconstruction(short_settings.model_copy(deep=True), folder).run())


@pytest.fixture(scope="session")
def finished_run(finished_story: tuple[Path, list[Event]]) -> Path:
    """Folder of a finished run: 4 epochs, 200 particles, map, half-maps, poses, checkpoints."""
    return finished_story[0]


@pytest.fixture
def copied_run(finished_run: Path, tmp_path: Path) -> Path:
    """Copy of the finished run that a test may change; its particles stay where they were."""
    return shutil.copytree(finished_run, tmp_path / "run")


@pytest.fixture(scope="session")
def tiny_stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with 40 simulated particles of box 32, for runs of which only the files matter.

    The fixture is shared by the whole session: read it, do not write into it.
    """
    from napari_cryospin.engine.data.molecule import procedural_molecule
    from napari_cryospin.engine.simulate import simulate

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
    from napari_cryospin.engine.events import Finished
    from napari_cryospin.engine.run.reconstruction import Reconstruction

    folder = tmp_path_factory.mktemp("tiny_run") / "run"
    with made_small():
        *_, last = Reconstruction(settings_of_tiny_run(tiny_stack), folder).run()
    assert isinstance(last, Finished), last
    return folder


@pytest.fixture(scope="session")
def finished_experiment(tiny_stack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an experiment: two seeds, switched after 1, 2 and no epochs; copy to change it."""
    from napari_cryospin.engine.experiments.execution import ExperimentRun
    from small_experiments import small_plan

    folder = tmp_path_factory.mktemp("experiment") / "out"
    plan = small_plan(tiny_stack, seed=[0, 1], switch_at=[1, 2, "never"])
    with made_small():
        *_, last = ExperimentRun(plan, folder, threads=1).run()
    assert last.n_finished == 6, last
    return folder


@pytest.fixture
def copied_experiment(finished_experiment: Path, tmp_path: Path) -> Path:
    """Copy of the finished experiment that a test may change."""
    return shutil.copytree(finished_experiment, tmp_path / "experiment")
