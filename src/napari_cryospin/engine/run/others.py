"""Whether images that do not belong to a map show another structure: a run of them alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.judging.others import Others
from napari_cryospin.engine.run.apart import settings_apart, train_apart
from napari_cryospin.engine.run.training import Training
from napari_cryospin.engine.stages import MarginalStage
from napari_cryospin.engine.state.problem import evenly_spread

if TYPE_CHECKING:
    from torch import Tensor

# images of the run, at least and at most; the share of them that judges its map
_FEWEST, _MOST, _HELD_OUT = 160, 2000, 0.125
# nats by which their map must explain an image better than the run's does
_BETTER = 3.0
# images of a batch, epochs at most, and the frequency radius that the march goes to
_BATCH, _EPOCHS, _RADIUS = 150, 25, 8


@torch.no_grad()
def structure_of(training: Training, rows: Tensor) -> Others | None:
    """Make a map of images ``rows`` (m,) alone, from nothing, and ask some what it explains.

    The run that they are from stays as it is. None where they are too few.
    """
    if len(rows) < _FEWEST:
        return None
    particles = training.particles
    resolution = particles.box * particles.pixel_size / _RADIUS
    stage = MarginalStage(batch_size=_BATCH, epochs=_EPOCHS, low_pass_end=resolution)
    settings = settings_apart(training, [stage])
    settings.held_out = _HELD_OUT
    settings.model.symmetry, settings.model.outliers = "C1", True
    alone = Training(particles, settings)
    judging = alone.held_out[rows]
    train_apart(alone, torch.cat((evenly_spread(rows[~judging], _MOST), rows[judging])))
    _, judges = alone.learning_and_held()
    own = alone.inference.scores(judges) if len(judges) > 1 else None
    # the same images by the run's map, where it has them
    for name in ("shifts", "scales"):
        getattr(alone.poses, name)[judges] = getattr(training.poses, name)[judges]
    alone.volume.assign(training.volume.grid().detach())
    by_run = alone.inference.scores(judges)
    if own is None or by_run is None:
        return None
    evidence, gain, scores = own
    better = (scores > 0) & (evidence > by_run[0] + _BETTER)
    error = float(gain.std()) / len(gain) ** 0.5
    return Others(float(better.float().mean()), float(gain.mean()), error)
