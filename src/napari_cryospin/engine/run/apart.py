"""Another run of some of a run's particles, which stays as it is: what else they may show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.run.epoch import train_to_the_end

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_cryospin.engine.run.training import Training
    from napari_cryospin.engine.settings import Settings
    from napari_cryospin.engine.stages import Stage


def settings_apart(training: Training, stages: Sequence[Stage], starts: int = 1) -> Settings:
    """Return settings of a run that begins from nothing, by other stages."""
    settings = training.settings.model_copy(deep=True)
    settings.stages = list(stages)
    settings.starts, settings.warm_start = starts, None
    return settings


def train_apart(alone: Training, rows: Tensor) -> None:
    """Train a run through all its stages on particles ``rows`` (m,) alone."""
    used = torch.zeros(alone.particles.n, dtype=torch.bool)
    used[rows.cpu()] = True
    alone.choose(used.numpy())
    train_to_the_end(alone)
