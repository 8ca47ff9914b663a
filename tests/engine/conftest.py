from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from napari_cryospin.engine.data.density import read_map
from napari_cryospin.engine.data.preprocess import WorkingStack, prepare
from napari_cryospin.engine.data.star import read_star
from napari_cryospin.engine.settings import DataSettings

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from napari_cryospin.engine.settings import Settings


@pytest.fixture
def settings(short_settings: Settings) -> Settings:
    """Settings of a run of a second on the small stack, with the truth."""
    return short_settings.model_copy(deep=True)


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
