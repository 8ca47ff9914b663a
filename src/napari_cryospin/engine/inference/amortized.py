"""Amortized inference (auto-encoding): the encoder proposes M poses, the winner takes all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, Self

import torch

from napari_cryospin.engine.inference.gradient import GradientInference
from napari_cryospin.engine.inference.interface import shuffled_batches
from napari_cryospin.engine.inference.memory_needs import FLOAT, PER_COEFFICIENT, coefficients
from napari_cryospin.engine.kernels import slicer
from napari_cryospin.engine.models.encoder import PoseEncoder, default_width
from napari_cryospin.engine.models.image import image_error
from napari_cryospin.engine.random_streams import torch_draws_from
from napari_cryospin.engine.refining.alignment import Alignment
from napari_cryospin.engine.stages import Inference

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.data.observed import Observed
    from napari_cryospin.engine.events import SwitchFigures
    from napari_cryospin.engine.geometry.poses import Poses
    from napari_cryospin.engine.inference.interface import PoseInference
    from napari_cryospin.engine.models.image import ImageModel
    from napari_cryospin.engine.settings import ModelSettings
    from napari_cryospin.engine.stages import AmortizedStage
    from napari_cryospin.engine.state.problem import Problem

# particles that stand for all where none are held out
_PROBES = 200
# numbers of an encoder's activation: before and after normalisation, gradient, pooling
_ACTIVATIONS = 6.0


class Criterion(Protocol):
    """What says when auto-encoding is over: it measures the state after every epoch."""

    @property
    def over(self) -> bool:
        """Whether it is time to switch."""

    @property
    def figures(self) -> SwitchFigures | None:
        """What was measured last."""

    def measure(
        self, problem: Problem, model: ImageModel, learning: Tensor, probes: Tensor
    ) -> object:
        """Measure the present state by particles that the map has, and has not, learned from."""

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state`."""


class AmortizedInference(GradientInference):
    """Trains encoder and volume together on batches of particles.

    Parameters
    ----------
    problem
        Particles, map and poses.
    stage
        Settings of the stage.
    criterion
        What says when it is over; None leaves that to its epochs and the user.
    start
        Number of the start: each one has an encoder of its own.
    """

    kind = Inference.AMORTIZED
    renews_candidates = True

    def __init__(
        self,
        problem: Problem,
        stage: AmortizedStage,
        criterion: Criterion | None = None,
        start: int = 0,
    ) -> None:
        super().__init__(problem, stage)
        self.stage = stage
        box, device = self.particles.box, problem.device
        width = problem.model.encoder_width or default_width(box, device)
        model = problem.model
        with torch_draws_from(problem.seed, "encoder weights", start):
            encoder = PoseEncoder(box, model.heads, width, shifts=model.shifts)
        self.encoder = encoder.to(device)
        self.criterion = criterion
        self.optimizer = torch.optim.Adam(
            [
                {"params": self.encoder.parameters(), "lr": stage.learning_rate_encoder},
                {"params": self.volume.parameters(), "lr": stage.learning_rate_volume},
            ]
        )

    @classmethod
    def of_stage(
        cls, problem: Problem, stage: AmortizedStage, before: PoseInference | None, start: int
    ) -> Self:
        """Return the inference of a stage, which knows no criterion of its own."""
        return cls(problem, stage, start=start)

    @classmethod
    def memory_needed(
        cls, stage: AmortizedStage, model: ModelSettings, box: int, device: torch.device
    ) -> float:
        """Return the bytes of the encoder, and of a batch that goes through it."""
        width = model.encoder_width or default_width(box, device)
        # channels times pixels of the five blocks, in units of width · box²
        share = 1 + 2 / 4 + 4 / 16 + 4 / 64 + 4 / 256
        activations = stage.batch_size * box**2 * width * share * _ACTIVATIONS
        inputs = 4 * width * (box // 32) ** 2
        heads = model.heads * (inputs * 8 * width + 32 * width**2)
        convolutions = 9 * width**2 * (1 + 2 + 4 + 8 + 16 + 16 * 3)
        # weights, gradients and the optimiser's two moments
        weights = 4 * (heads + convolutions)
        slices = 8 * stage.batch_size * coefficients(box) * PER_COEFFICIENT / 4
        return (activations + weights + slices) * FLOAT

    def begin(self) -> None:
        """Make room for the poses that the heads propose."""
        heads = self.problem.model.heads
        if self.poses.candidate_losses.shape[1] != heads:
            self.poses.with_candidates(heads)

    @property
    def over(self) -> bool:
        """Whether the criterion of the switch says so."""
        return self.criterion is not None and self.criterion.over

    @property
    def held_out_gain(self) -> float | None:
        """Gain that the criterion of the switch measured last, nats per particle."""
        figures = self.switch_figures
        return None if figures is None else figures.gain

    @property
    def switch_figures(self) -> SwitchFigures | None:
        """What the criterion of the switch measured last."""
        return None if self.criterion is None else self.criterion.figures

    def end_epoch(self, rows: Tensor) -> None:
        """Give the held-out particles poses as well, and measure the criterion of the switch."""
        held_out = self.problem.held_out[rows]
        if held_out.any():
            self._propose(rows[held_out])
        if self.criterion is None:
            return
        # without held-out particles some of the others stand for them
        probes = rows[held_out] if held_out.any() else rows[:: max(len(rows) // _PROBES, 1)]
        self.criterion.measure(self.problem, self.model, rows[~held_out], probes)

    def batches(self, rows: Tensor, order: torch.Generator) -> list[Tensor]:
        """Return the rows of all batches of an epoch: the held-out particles are in none."""
        learning = rows[~self.problem.held_out[rows]]
        return shuffled_batches(learning, self.stage.batch_size, order)

    def train_batch(self, rows: Tensor) -> float:
        """Take one step on the particles ``rows``; return the winners' mean error."""
        images = self.particles.images(rows)
        seen = self.observed(rows, images)
        proposed = self.encoder(images)
        losses = self._candidate_losses(seen, proposed)
        winner = losses.argmin(1)
        projection = self.model.project(self.volume, proposed[_each(rows), winner])
        loss = image_error(seen.ctf * projection, seen.coefficients, self.loss).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self._record(rows, proposed.detach(), losses, winner)
        return loss.item()

    @torch.no_grad()
    def _propose(self, rows: Tensor) -> None:
        """Record what the encoder says of particles, without learning from them."""
        images = self.particles.images(rows)
        self.encoder.eval()
        proposed = self.encoder(images)
        self.encoder.train()
        losses = self._candidate_losses(self.observed(rows, images), proposed)
        self._record(rows, proposed, losses, losses.argmin(1))

    @torch.no_grad()
    def _candidate_losses(self, seen: Observed, proposed: Poses) -> Tensor:
        """Return the error of every head's pose, (n, M); finding the winner needs no gradient."""
        n, heads = proposed.rotations.shape[:2]
        numbers = torch.arange(n, device=seen.rows.device).repeat_interleave(heads)
        aligned = Alignment(self.model, slicer(self.volume.grid()), seen, self.loss, numbers)
        return aligned.errors(proposed.flatten()).view(n, heads)

    @torch.no_grad()
    def _record(self, rows: Tensor, proposed: Poses, losses: Tensor, winner: Tensor) -> None:
        pick = _each(rows), winner
        poses = self.poses
        poses.candidates[rows], poses.candidate_shifts[rows] = proposed.rotations, proposed.shifts
        poses.candidate_losses[rows] = losses
        poses.winner[rows] = winner
        poses.losses[rows] = losses[pick]
        poses.set_at(rows, proposed[pick])

    def state(self) -> dict[str, Any]:
        """Return encoder and optimiser for a checkpoint."""
        return {
            "encoder": self.encoder.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "criterion": None if self.criterion is None else self.criterion.state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state`; the learning rates are those of the stage, which may be others."""
        self.encoder.load_state_dict(state["encoder"])
        rates = [group["lr"] for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(state["optimizer"])
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        if self.criterion is not None:
            self.criterion.load_state(state["criterion"])

    def adopt(self, state: dict[str, Any]) -> None:
        """Go on with an encoder of the same shape; the map's moments belong to an earlier map."""
        own, found = self.encoder.state_dict(), state.get("encoder", {})
        if {k: v.shape for k, v in own.items()} != {k: v.shape for k, v in found.items()}:
            return
        criterion, self.criterion = self.criterion, None
        self.load_state(state)
        self.criterion = criterion
        for parameter in self.volume.parameters():
            self.optimizer.state.pop(parameter, None)

    def renew_candidates(self, rows: Tensor) -> None:
        """Ask the encoder as it is now: a particle's last visit may be an epoch old."""
        for some in rows.split(self.stage.batch_size):
            self._propose(some)


def _each(rows: Tensor) -> Tensor:
    return torch.arange(len(rows), device=rows.device)
