from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from napari_cryospin.engine.data.density import read_map
from napari_cryospin.engine.data.preprocess import WorkingStack, prepare
from napari_cryospin.engine.data.star import read_star
from napari_cryospin.engine.settings import DataSettings, Settings
from napari_cryospin.engine.stages import AmortizedStage, DirectStage

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor


@pytest.fixture
def settings(small_stack: Path) -> Settings:
    """Settings of a run of seconds on the small stack, with the truth."""
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


@pytest.fixture
def stack(small_stack: Path) -> WorkingStack:
    return prepare(read_star(small_stack / "particles.star"), DataSettings(box=32))


@pytest.fixture
def true_rotations(small_stack: Path) -> Tensor:
    rotations = read_star(small_stack / "truth.star").rotations
    assert rotations is not None
    return torch.from_numpy(rotations).float()


@pytest.fixture
def true_map(small_stack: Path, stack: WorkingStack, true_rotations: Tensor) -> Tensor:
    """The true map in the unit of the normalised images."""
    from napari_cryospin.engine.models.image import ImageModel
    from napari_cryospin.engine.models.volume import grid_of_map

    volume = torch.from_numpy(read_map(small_stack / "truth.mrc")[0])
    model = ImageModel.within(32, 10)
    predicted = stack.ctf(None, model.frequencies) * model.project(
        grid_of_map(volume), true_rotations, None
    )
    observed = model.coefficients(stack.images)
    return volume * (predicted * observed).sum() / predicted.square().sum()
