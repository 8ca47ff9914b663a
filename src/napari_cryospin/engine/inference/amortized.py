"""Amortized inference (auto-encoding): the encoder proposes M poses, the winner takes all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from napari_cryospin.engine.models.encoder import PoseEncoder, default_width
from napari_cryospin.engine.models.image import ImageModel, image_error

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.data.preprocess import WorkingStack
    from napari_cryospin.engine.inference.poses import PoseTable
    from napari_cryospin.engine.models.volume import HartleyVolume
    from napari_cryospin.engine.settings import Settings


class AmortizedInference:
    """Trains encoder and volume together on batches of particles.

    Parameters
    ----------
    stack
        Particles on the training device.
    volume
        The map; trained in place.
    poses
        Table of poses; the rows of each batch are updated.
    settings
        Model and auto-encoding settings are used.
    """

    def __init__(
        self, stack: WorkingStack, volume: HartleyVolume, poses: PoseTable, settings: Settings
    ) -> None:
        self.stack, self.volume, self.poses = stack, volume, poses
        self.loss = settings.model.loss
        device = stack.images.device
        self.model = ImageModel.within(stack.box, stack.box / 2, device)
        width = settings.model.encoder_width or default_width(stack.box, device)
        self.encoder = PoseEncoder(
            stack.box, settings.model.heads, width, shifts=settings.model.shifts
        ).to(device)
        encode = settings.encode
        self.optimizer = torch.optim.Adam(
            [
                {"params": self.encoder.parameters(), "lr": encode.learning_rate_encoder},
                {"params": volume.parameters(), "lr": encode.learning_rate_volume},
            ]
        )

    def train_batch(self, rows: Tensor) -> float:
        """Take one step on the particles ``rows``; return the winners' mean error."""
        images = self.stack.images[rows]
        observed = self.model.coefficients(images)
        ctf = self.stack.ctf(rows, self.model.frequencies)
        rotations, shifts = self.encoder(images)
        grid = self.volume()
        losses = self._candidate_losses(grid.detach(), rotations, shifts, observed, ctf)
        winner = losses.argmin(1)
        pick = torch.arange(len(rows), device=rows.device), winner
        projection = self.model.project(
            grid, rotations[pick], None if shifts is None else shifts[pick]
        )
        loss = image_error(ctf * projection, observed, self.loss).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self._record(rows, rotations.detach(), shifts, losses, winner)
        return loss.item()

    @torch.no_grad()
    def _candidate_losses(
        self, grid: Tensor, rotations: Tensor, shifts: Tensor | None, observed: Tensor, ctf: Tensor
    ) -> Tensor:
        """Return the error of every head's pose, (n, M); finding the winner needs no gradient."""
        heads = rotations.shape[1]
        losses = [
            image_error(
                ctf
                * self.model.project(
                    grid, rotations[:, head], None if shifts is None else shifts[:, head]
                ),
                observed,
                self.loss,
            )
            for head in range(heads)
        ]
        return torch.stack(losses, 1)

    @torch.no_grad()
    def _record(
        self,
        rows: Tensor,
        rotations: Tensor,
        shifts: Tensor | None,
        losses: Tensor,
        winner: Tensor,
    ) -> None:
        pick = torch.arange(len(rows), device=rows.device), winner
        poses = self.poses
        poses.candidates[rows] = rotations
        poses.candidate_losses[rows] = losses
        poses.winning_head[rows] = winner
        poses.losses[rows] = losses[pick]
        poses.rotations[rows] = rotations[pick]
        if shifts is not None:
            poses.candidate_shifts[rows] = shifts.detach()
            poses.shifts[rows] = shifts.detach()[pick]

    def state(self) -> dict[str, Any]:
        """Return encoder and optimiser for a checkpoint."""
        return {"encoder": self.encoder.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state`."""
        self.encoder.load_state_dict(state["encoder"])
        self.optimizer.load_state_dict(state["optimizer"])
