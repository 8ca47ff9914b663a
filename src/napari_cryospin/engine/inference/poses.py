"""The present pose of every particle, and the candidates that the heads gave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass
class PoseTable:
    """State of the poses of n particles with M heads; tensors live on the training device.

    Parameters
    ----------
    rotations
        Present Euler matrices, (n, 3, 3).
    shifts
        Present origin shifts (x, y), pixels of the working box, (n, 2).
    winning_head
        Head that gave the present pose, (n,); −1 where the particle has not been seen yet.
    losses
        Present error of each particle, (n,) float32; NaN where it has not been seen yet.
    candidates, candidate_shifts
        Poses that the heads gave at the last auto-encoding visit, (n, M, 3, 3) and (n, M, 2).
    candidate_losses
        Their errors, (n, M); NaN where not seen yet.
    """

    rotations: Tensor
    shifts: Tensor
    winning_head: Tensor
    losses: Tensor
    candidates: Tensor
    candidate_shifts: Tensor
    candidate_losses: Tensor

    @classmethod
    def empty(cls, n: int, heads: int, device: torch.device) -> Self:
        """Return the table before the first visit: every pose is the identity."""
        identity = torch.eye(3, device=device)
        return cls(
            rotations=identity.repeat(n, 1, 1),
            shifts=torch.zeros(n, 2, device=device),
            winning_head=torch.full((n,), -1, device=device),
            losses=torch.full((n,), torch.nan, device=device),
            candidates=identity.repeat(n, heads, 1, 1),
            candidate_shifts=torch.zeros(n, heads, 2, device=device),
            candidate_losses=torch.full((n, heads), torch.nan, device=device),
        )

    def head_share(self, used: Tensor) -> tuple[float, ...]:
        """Return the fraction of the used particles (n,) seen so far that each head has won."""
        seen = self.winning_head[used & (self.winning_head >= 0)]
        counts = torch.bincount(seen, minlength=self.candidate_losses.shape[1])
        return tuple((counts / max(len(seen), 1)).tolist())

    def state(self) -> dict[str, Tensor]:
        """Return the tensors by name, for a checkpoint."""
        return dict(vars(self))
