"""The hypotheses of auto-decoding: poses of each particle that are all refined."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.refining.candidate_modes import distinct

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.state.pose_table import PoseTable


class Hypotheses:
    """At most K poses of each of n particles; they begin with the present pose alone.

    Parameters
    ----------
    n, most
        Number of particles, and K.
    device
        Where they live.

    Attributes
    ----------
    rotations, origins
        The poses, (n, K, 3, 3) and (n, K, 2).
    active
        Which of them there are, bool, (n, K).
    """

    def __init__(self, n: int, most: int, device: torch.device) -> None:
        self.active = torch.zeros(n, most, dtype=torch.bool, device=device)
        self.rotations = torch.zeros(n, most, 3, 3, device=device)
        self.origins = torch.zeros(n, most, 2, device=device)

    @property
    def most(self) -> int:
        """Number K of hypotheses of a particle."""
        return self.active.shape[1]

    def at(self, chosen: tuple[Tensor, Tensor]) -> Poses:
        """Return the poses of particles and their hypotheses, (p,) each."""
        return Poses(self.rotations[chosen], self.origins[chosen])

    def set_at(self, chosen: tuple[Tensor, Tensor], poses: Poses) -> None:
        """Give hypotheses (p,) other poses."""
        self.rotations[chosen], self.origins[chosen] = poses.rotations, poses.shifts

    def take(self, poses: PoseTable, rows: Tensor) -> None:
        """Start particles ``rows`` (m,) from their best candidates, or from their present poses."""
        self.active[rows] = False
        self.active[rows, 0] = True
        self.rotations[rows] = poses.rotations[rows, None]
        self.origins[rows] = poses.shifts[rows, None]
        if self.most == 1 or not poses.candidate_losses.shape[1]:
            return
        best = distinct(poses.candidates[rows], poses.candidate_losses[rows], self.most)
        # a particle without candidates keeps its pose
        found, place = (best >= 0).nonzero(as_tuple=True)
        into, of = (rows[found], place), (rows[found], best[found, place])
        self.active[into] = True
        self.set_at(into, Poses(poses.candidates[of], poses.candidate_shifts[of]))

    def make_room(self, poses: PoseTable, part: Tensor | None = None) -> None:
        """Make them the candidates of the poses, or of those of a part, bool, (n,)."""
        if self.most > 1 and part is not None and poses.candidate_losses.shape[1] == self.most:
            poses.forget_candidates(part)
            return
        if self.most > 1:
            poses.with_candidates(self.most)
            return
        # a single hypothesis is the pose itself
        for name in ("candidates", "candidate_shifts", "candidate_losses"):
            setattr(poses, name, getattr(poses, name)[:, :0].clone())
