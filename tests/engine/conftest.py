from __future__ import annotations

from contextlib import nullcontext
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from napari_cryospin.engine.data.density import read_map
from napari_cryospin.engine.data.preprocess import prepare
from napari_cryospin.engine.data.star import read_star
from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.models.volume import HartleyVolume, grid_of_map
from napari_cryospin.engine.run.first_maps import signal_amplitude
from napari_cryospin.engine.settings import DataSettings
from napari_cryospin.engine.state.pose_table import PoseTable
from napari_cryospin.engine.state.problem import Problem
from particle_images import all_images

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from torch import Tensor

    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.settings import Settings

PRETENDED = "pretended"
GPU = [pytest.param("cuda", marks=pytest.mark.gpu)] if torch.cuda.is_available() else []


@pytest.fixture
def settings(short_settings: Settings) -> Settings:
    """Settings of a run of a second on the small stack, with the truth."""
    return short_settings.model_copy(deep=True)


@pytest.fixture(scope="session")
def pretended() -> Any:
    """The module of the pretended device; there is no package of tests to import it from."""
    spec = spec_from_file_location(
        "pretended_device", Path(__file__).parents[1] / "pretended_device.py"
    )
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=[PRETENDED, *GPU])
def second_device(
    request: pytest.FixtureRequest, pretended: Any, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], AbstractContextManager[torch.device]]:
    """What gives a device beside the CPU: a pretended one, or a GPU where there is one."""
    if request.param != PRETENDED:
        return lambda: nullcontext(torch.device(request.param))
    monkeypatch.setattr("napari_cryospin.engine.run.reconstruction.find_device", torch.device)
    # to the number the same: not even by other loops
    monkeypatch.setattr("napari_cryospin.engine.kernels.choice._torch_alone", True)
    return pretended.pretended_device


@pytest.fixture
def particles(small_stack: Path) -> Particles:
    return prepare(read_star(small_stack / "particles.star"), DataSettings(box=32))


@pytest.fixture
def true_rotations(small_stack: Path) -> Tensor:
    rotations = read_star(small_stack / "truth.star").rotations
    assert rotations is not None
    return torch.from_numpy(rotations).float()


@pytest.fixture
def true_map(small_stack: Path, particles: Particles, true_rotations: Tensor) -> Tensor:
    """The true map in the unit of the normalised images."""
    from napari_cryospin.engine.models.image import ImageModel
    from napari_cryospin.engine.models.volume import grid_of_map

    volume = torch.from_numpy(read_map(small_stack / "truth.mrc")[0])
    model = ImageModel.within(32, 10)
    predicted = particles.ctf(None, model.frequencies) * model.project(
        grid_of_map(volume), Poses.centred(true_rotations)
    )
    observed = model.coefficients(all_images(particles))
    return volume * (predicted * observed).sum() / predicted.square().sum()


@pytest.fixture
def problem(particles: Particles, settings: Settings, true_map: Tensor) -> Problem:
    """The small stack with its true map."""
    volume = HartleyVolume(
        32, signal_amplitude(particles, torch.arange(particles.n)), torch.Generator().manual_seed(0)
    )
    volume.assign(grid_of_map(true_map))
    poses = PoseTable.empty(particles.n, 3, torch.device("cpu"))
    held_out = torch.arange(particles.n) % 4 == 0
    return Problem(particles, volume, poses, held_out, settings.model, 0)
