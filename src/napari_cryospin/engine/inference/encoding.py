"""The encoder of a run while it learns, and what it proposes of particles."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.inference.asking import ask
from napari_cryospin.engine.models.encoders.choice import encoder_of
from napari_cryospin.engine.random_streams import torch_draws_from
from napari_cryospin.engine.sums.centring import spread_of
from napari_cryospin.engine.sums.posteriors import posterior_scale

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.data.observed import Observed
    from napari_cryospin.engine.inference.asking import Measure
    from napari_cryospin.engine.models.image import ImageModel
    from napari_cryospin.engine.state.problem import Problem

# particles whose candidates are compared with the map at once
_PART = 500
# images that an encoder learns from at once
MINI_BATCH = 250
# jitter of the shifts that images are centred by: they are known to about as much; and the shift
# that weighs as much as a chord of length 1; as shares of the box
_JITTER, _SHIFT_UNIT = 1 / 128, 1 / 10


class Encoding:
    """An encoder with its optimiser.

    Parameters
    ----------
    problem
        Particles, map and poses.
    learning_rate
        Learning rate of the encoder (Adam).
    start
        Number of the start: each one has an encoder of its own.
    """

    def __init__(self, problem: Problem, learning_rate: float, start: int = 0) -> None:
        self.problem, device = problem, problem.device
        with torch_draws_from(problem.seed, "encoder weights", start):
            encoder = encoder_of(problem.model, problem.particles.box, device)
        self.encoder = encoder.to(device)
        self._rate = learning_rate
        self.optimizer = torch.optim.Adam(self.encoder.parameters(), lr=learning_rate)

    def begin(self) -> None:
        """Make room for the candidates among the poses."""
        poses, encoder = self.problem.poses, self.encoder
        there = poses.candidate_losses.shape[1], poses.turns
        if there != (encoder.candidates, encoder.turns):
            poses.with_candidates(encoder.candidates, encoder.turns)

    def slow_down(self, left: float) -> None:
        """Learn by a share of the learning rate."""
        for group in self.optimizer.param_groups:
            group["lr"] = left * self._rate

    def look(self, rows: Tensor, images: Tensor) -> Tensor:
        """Return what the encoder sees of images (m, D, D), not centred, of particles (m,)."""
        return self.encoder.look(images, self.problem.particles.ctf(rows, self.encoder.frequencies))

    def origins(self, rows: Tensor) -> Tensor:
        """Return the shifts that particles are centred by before the encoder looks, (m, 2)."""
        shifts = self.problem.poses.shifts[rows]
        return torch.zeros_like(shifts) if self.encoder.gives_shifts else shifts

    @torch.no_grad()
    def propose(self, rows: Tensor, measure: Measure, rounds: int = 0) -> None:
        """Make the proposals of the encoder as it is the candidates of particles ``rows`` (m,).

        They are centred first, in so many rounds, where shifts are estimated.
        """
        problem, spread = self.problem, spread_of(self.problem)
        self.encoder.eval()
        for part in rows.split(_PART):
            asked = ask(
                self.encoder,
                problem.particles,
                part,
                measure,
                scales=problem.poses.scales[part],
                origins=self.origins(part),
                spread=spread,
                rounds=rounds,
            )
            self.record(asked.images, asked.proposed, asked.errors, asked.by_class)
        self.encoder.train()

    @torch.no_grad()
    def scale(self, rows: Tensor, measure: Measure) -> None:
        """Estimate the scales of particles (m,) at their present poses, around 1 on the whole."""
        poses, model = self.problem.poses, measure.model
        found = []
        for part in rows.split(_PART):
            seen = self.problem.particles.observed(part, model)
            if measure.noise is not None:
                seen = seen.over(measure.noise.deviation(model))
            slices = measure.slicer.at(poses.at(part), model.frequencies)
            predicted = seen.ctf * model.shift(slices, -poses.shifts[part])
            cross, power = (predicted * seen.coefficients).sum(1), predicted.square().sum(1)
            found.append(posterior_scale(cross, power, torch.ones_like(cross)))
        scales = torch.cat(found)
        # poses that are degrees off explain less of every image
        weights = poses.membership[rows]
        poses.scales[rows] = scales * weights.sum() / (weights * scales).sum().clamp(min=1e-6)

    def observed(self, rows: Tensor, model: ImageModel, images: Tensor) -> Observed:
        """Return particles as they are compared with the map: centred as the encoder sees them."""
        return self.problem.particles.observed(
            rows,
            model,
            scales=self.problem.poses.scales[rows],
            shifts=self.origins(rows),
            images=images,
        )

    @torch.no_grad()
    def record(self, images: Observed, proposed: Poses, errors: Tensor, by_class: Tensor) -> None:
        """Make poses (m, K) with their errors the candidates of particles; the best one wins.

        The least errors by each map, (m, C), tell how probable each class is.
        """
        poses, rows, winner = self.problem.poses, images.rows, errors.argmin(1)
        pick = torch.arange(len(rows), device=rows.device), winner
        found = replace(proposed, shifts=proposed.shifts + images.origins[:, None])
        poses.set_candidates(rows, found, errors)
        poses.winner[rows] = winner
        poses.losses[rows] = errors[pick]
        poses.set_at(rows, found[pick])
        # squared errors are in units of the noise's variance, so this is a difference in nats
        behind = (by_class - by_class.amin(1, keepdim=True)) * (images.coefficients.shape[1] / 2)
        poses.class_weights[rows] = (-behind).softmax(1)

    def learn(self, rows: Tensor, looked: Tensor, wanted: Poses, draw: torch.Generator) -> None:
        """Teach poses by a pass over particles, in mini-batches.

        Parameters
        ----------
        rows
            The particles, (m,).
        looked
            What :meth:`look` returned of them.
        wanted
            A pose of each, (m,).
        draw
            Source of the order, the turns and the jitter.
        """
        order = torch.randperm(len(rows), generator=draw, device=rows.device)
        # batch normalisation cannot learn from one image
        for part in order.tensor_split(math.ceil(len(rows) / MINI_BATCH)):
            self.step(rows[part], looked[part], wanted[part], draw)

    def step(self, rows: Tensor, looked: Tensor, wanted: Poses, draw: torch.Generator) -> None:
        """Take a step: the head that is nearest to an image's pose learns it.

        Every image is seen at one of its turns, and centred, give or take some jitter; parameters
        are those of :meth:`learn`.
        """
        encoder = self.encoder
        if self.problem.model.shifts:
            jitter = torch.randn((len(rows), 2), generator=draw, device=rows.device)
            looked = encoder.centred(looked, self.origins(rows) + _JITTER * encoder.box * jitter)
        turn = torch.randint(encoder.turns, (len(rows),), generator=draw, device=rows.device)
        proposed = encoder(looked, turn)
        wanted = self._nearest_mates(proposed.rotations.detach(), wanted)
        # the squared chord: it has no singular gradient anywhere
        apart = (proposed.rotations - wanted.rotations[:, None]).square().sum((-1, -2))
        if encoder.gives_shifts:
            moved = (proposed.shifts - wanted.shifts[:, None]) / (_SHIFT_UNIT * encoder.box)
            apart = apart + moved.square().sum(-1)
        loss = apart.amin(1).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def _nearest_mates(self, proposed: Tensor, wanted: Poses) -> Poses:
        """Return poses (b,) at those of their mates that lie nearest to a proposal (b, M, 3, 3)."""
        group = self.problem.group
        if len(group) == 1:
            return wanted
        mates = wanted.rotations[:, None] @ group
        traces = torch.einsum("bmij,bgij->bgm", proposed, mates)
        best = traces.amax(2).argmax(1)
        each = torch.arange(len(best), device=best.device)
        return Poses(mates[each, best], wanted.shifts)

    def state(self) -> dict[str, Any]:
        """Return encoder and optimiser for a checkpoint."""
        return {
            "encoder": self.encoder.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rate": self._rate,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state`, with the learning rate of the present settings."""
        self.encoder.load_state_dict(state["encoder"])
        self.optimizer.load_state_dict(state["optimizer"])
        for group in self.optimizer.param_groups:
            group["lr"] *= self._rate / state["rate"]

    def fits(self, state: dict[str, Any]) -> bool:
        """Return whether a state is one of an encoder of the same shape."""
        own, found = self.encoder.state_dict(), state["encoder"]
        return {k: v.shape for k, v in own.items()} == {k: v.shape for k, v in found.items()}
