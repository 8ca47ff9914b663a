"""The hypotheses of auto-decoding: poses of each particle that are all refined."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.refining.candidate_modes import distinct
from napari_cryospin.engine.state.pose_table import OF_CANDIDATES

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
    n_maps
        Number of maps that they may be poses of.

    Attributes
    ----------
    rotations, origins
        The poses, (n, K, 3, 3) and (n, K, 2).
    classes
        The map that each is a pose of, (n, K); None where there is one map.
    active
        Which of them there are, bool, (n, K).
    """

    def __init__(self, n: int, most: int, device: torch.device, n_maps: int = 1) -> None:
        self.active = torch.zeros(n, most, dtype=torch.bool, device=device)
        self.rotations = torch.zeros(n, most, 3, 3, device=device)
        self.origins = torch.zeros(n, most, 2, device=device)
        numbers = torch.zeros(n, most, dtype=torch.uint8, device=device)
        self.classes = numbers if n_maps > 1 else None

    @property
    def most(self) -> int:
        """Number K of hypotheses of a particle."""
        return self.active.shape[1]

    def at(self, chosen: tuple[Tensor, Tensor]) -> Poses:
        """Return the poses of particles and their hypotheses, (p,) each."""
        classes = None if self.classes is None else self.classes[chosen].long()
        return Poses(self.rotations[chosen], self.origins[chosen], classes)

    def of(self, rows: Tensor) -> Poses:
        """Return all hypotheses of particles (m,), (m, K)."""
        classes = None if self.classes is None else self.classes[rows].long()
        return Poses(self.rotations[rows], self.origins[rows], classes)

    def set_at(self, chosen: tuple[Tensor, Tensor], poses: Poses) -> None:
        """Give hypotheses (p,) other poses."""
        self.rotations[chosen], self.origins[chosen] = poses.rotations, poses.shifts
        if self.classes is not None and poses.classes is not None:
            self.classes[chosen] = poses.classes.to(self.classes)

    def take(self, poses: PoseTable, rows: Tensor) -> None:
        """Start particles ``rows`` (m,) from their best candidates, or from their present poses."""
        self.active[rows] = False
        self.active[rows, 0] = True
        self.rotations[rows] = poses.rotations[rows, None]
        self.origins[rows] = poses.shifts[rows, None]
        if self.classes is not None:
            self.classes[rows] = poses.classes[rows, None].to(self.classes)
        if self.most == 1 or not poses.candidate_losses.shape[1]:
            return
        best = self._distinct(poses, rows)
        # a particle without candidates keeps its pose
        found, place = (best >= 0).nonzero(as_tuple=True)
        into, of = (rows[found], place), (rows[found], best[found, place])
        self.active[into] = True
        self.set_at(into, poses.candidates_at(of))

    def _distinct(self, poses: PoseTable, rows: Tensor) -> Tensor:
        """Return the places of the best candidates, (m, K), −1 where there are fewer."""
        candidates, errors = poses.candidates[rows], poses.candidate_losses[rows]
        if self.classes is None:
            return distinct(candidates, errors, self.most)
        # of two maps the same turn is two modes
        classes, found = poses.candidate_classes[rows], []
        for number in range(poses.n_classes):
            own = errors.masked_fill(classes != number, torch.nan)
            found.append(distinct(candidates, own, self.most))
        places = torch.cat(found, 1)
        none = (places < 0) | ~errors.isfinite().gather(1, places.clamp(min=0))
        order = errors.gather(1, places.clamp(min=0)).masked_fill(none, torch.inf)
        kept = order.topk(self.most, largest=False)
        return places.gather(1, kept.indices).masked_fill(kept.values.isinf(), -1)

    def make_room(self, poses: PoseTable, part: Tensor | None = None) -> None:
        """Make room for them among the candidates of the poses, and forget what stood there.

        Parameters
        ----------
        poses
            The poses. Where there is a single hypothesis, which is the pose, they keep none.
        part
            Particles whose candidates alone are forgotten, bool, (n,), where there is room already;
            by default all.
        """
        if self.most > 1 and part is not None and poses.candidate_losses.shape[1] == self.most:
            poses.forget_candidates(part)
            return
        if self.most > 1:
            poses.with_candidates(self.most)
            return
        # a single hypothesis is the pose itself
        for name in OF_CANDIDATES:
            setattr(poses, name, getattr(poses, name)[:, :0].clone())
