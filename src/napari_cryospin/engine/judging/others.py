"""Whether images that do not belong to a map show another structure: they are made a map of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.inference.interface import Place
from napari_cryospin.engine.inference.marginal import MarginalInference
from napari_cryospin.engine.models.volume import HartleyVolume
from napari_cryospin.engine.random_streams import stream
from napari_cryospin.engine.stages import MarginalStage
from napari_cryospin.engine.state.pose_table import PoseTable
from napari_cryospin.engine.state.problem import evenly_spread

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.state.problem import Problem

# images that are made a map of, at most; one in so many judges it, and at least so many do
_MOST, _JUDGES, _FEWEST = 2000, 8, 20
# images of a batch, epochs at most, and the frequency radius that the march goes to
_BATCH, _EPOCHS, _RADIUS = 150, 25, 8


@dataclass(frozen=True)
class Others:
    """What a map of images that do not belong to another comes to.

    Parameters
    ----------
    n
        Number of the images.
    explained
        Share of those that judge it which it explains better than a spectrum of their own does.
    gain, gain_error
        Mean log-likelihood of these with the map, less that with its rotational average, and its
        standard error, nats each.
    """

    n: int
    explained: float
    gain: float
    gain_error: float


@torch.no_grad()
def structure_of(problem: Problem, rows: Tensor) -> Others | None:
    """Make a map of images ``rows`` (m,) alone, from nothing, and ask some what it explains.

    None where they are too few.
    """
    some = evenly_spread(rows, _MOST)
    if len(some) < _JUDGES * _FEWEST:
        return None
    particles, device = problem.particles, problem.device
    held_out = torch.ones(particles.n, dtype=torch.bool, device=device)
    held_out[some] = False
    judges = some[::_JUDGES]
    held_out[judges] = True
    draw = stream(problem.seed, "map", 0)
    volume = HartleyVolume(particles.box, problem.volume.amplitude.cpu(), draw).to(device)
    poses = PoseTable.empty(particles.n, 0, device)
    model = problem.model.model_copy(update={"symmetry": "C1", "outliers": True})
    apart = replace(problem, volume=volume, poses=poses, held_out=held_out, model=model)
    resolution = particles.box * particles.pixel_size / _RADIUS
    stage = MarginalStage(batch_size=_BATCH, low_pass_end=resolution)
    inference = MarginalInference(apart, stage)
    inference.begin()
    order = torch.Generator().manual_seed(problem.seed)
    for epoch in range(_EPOCHS):
        list(inference.begin_epoch(Place(epoch, epoch / _EPOCHS), some))
        for batch in inference.batches(some, order):
            inference.train_batch(batch)
        inference.end_epoch(some)
        if inference.over:
            break
    gain, scores = inference.scores(judges)
    error = float(gain.std()) / len(gain) ** 0.5
    return Others(len(rows), float((scores > 0).float().mean()), float(gain.mean()), error)
