"""What a run has come to, as it is judged: by its held-out particles, by who belongs, by class."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Self

from napari_cryospin.engine.judging.confidence import pose_confidence
from napari_cryospin.engine.judging.evidence import judge

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.judging.evidence import Judgement
    from napari_cryospin.engine.models.volume import Map
    from napari_cryospin.engine.settings import Settings
    from napari_cryospin.engine.state.pose_table import PoseTable
    from napari_cryospin.engine.state.problem import Problem


class Standing:
    """Particles, maps and poses of a run, whatever they came by.

    Attributes
    ----------
    particles, settings, problem
        What the run works on.
    volume, poses
        The first class's map, and the poses.
    used, held_out
        Particles in use, and those that no map learns from, bool, (n,).
    """

    particles: Particles
    settings: Settings
    problem: Problem
    volume: Map
    poses: PoseTable
    used: Tensor
    held_out: Tensor
    # of the run that this is one class of
    _classes: int | None = None

    @property
    def classes(self) -> int:
        """Classes of the run, also where this is one of them."""
        return self._classes or self.settings.model.classes

    def judge(self) -> Judgement | None:
        """Judge the present map by the held-out particles in use."""
        return judge(self.problem, *self.learning_and_held())

    def pose_confidence(self, turns: Tensor | None = None) -> Tensor:
        """Return how sure the map is of the poses of the held-out particles in use, (h,).

        ``turns`` (g, 3, 3) leave the map as it is: the mates of a pose are as right as itself.
        """
        return pose_confidence(self.problem, *self.learning_and_held(), turns)

    @property
    def placed(self) -> Tensor:
        """Particles in use that have been given a pose, bool, (n,); all of them before any has."""
        placed = self.used & self.poses.losses.isfinite()
        return placed if bool(placed.any()) else self.used

    @property
    def members(self) -> Tensor:
        """Particles in use that belong to the map, bool, (n,); all of them where none does."""
        members = self.placed & self.poses.members
        return members if bool(members.any()) else self.placed

    @property
    def outliers(self) -> float | None:
        """Share of the placed particles that do not belong; None where outliers are not sought."""
        members = self.placed & self.poses.members
        share = 1 - float(members.sum() / self.placed.sum().clamp(min=1))
        return share if self.problem.model.outliers else None

    @property
    def main_class(self) -> int:
        """The largest class, from 0."""
        share = self.class_share
        return max(range(len(share)), key=share.__getitem__, default=0)

    @property
    def class_share(self) -> tuple[float, ...]:
        """Share of the particles that belong in each class; none of a single one."""
        return self.poses.class_share(self.members)

    def of_class(self, number: int) -> Self:
        """Return the same run as one class alone sees it: to be judged, and not to go on."""
        alone = copy.copy(self)
        alone.problem = self.problem.of_class(number)
        alone.volume, alone.poses = alone.problem.volume, alone.problem.poses
        alone.used = self.used & (self.poses.classes == number)
        alone.settings = self.settings.model_copy(deep=True)
        alone._classes, alone.settings.model.classes = self.classes, 1
        return alone

    def learning_and_held(self) -> tuple[Tensor, Tensor]:
        """Return the rows of the particles in use that the map learns from, and of the others."""
        learning, held = self.placed & ~self.held_out, self.used & self.held_out
        return learning.nonzero().flatten(), held.nonzero().flatten()
